//! Runs of keys as bytes: sorted pairs of a key and a call's number, in chunks, with a filter that nearly always knows when a key
//! is not among them.
//!
//! A run is written once and never changed. A call that changes gets a new number, so that no pair ever becomes wrong: one that
//! leads to a number that is gone leads nowhere. Of a key 48 bits are kept: what is found is a superset, as with the whole of it.

use super::StoreError;
use super::error::inconsistent;

/// A key's 48 bits, and the number of a call.
pub(super) type Pair = (u64, i64);

/// Pairs per chunk: what is read to find one.
const CHUNK: usize = 512;
/// Bits of the filter per key: about one of 200 keys that are not there seems to be.
const FILTER_BITS: usize = 12;
/// Words of a block of the filter: one line of the processor's cache.
const BLOCK: usize = 8;
/// Words of a piece of the filter: what is read of one that is not in memory.
const PIECE: usize = 16 * BLOCK;
/// Bits that a key sets in its block.
const PROBES: u32 = 6;

/// The bits of a key that are kept. Keys need not be hashes: multiplying spreads what stands in their low bits.
pub(super) fn short(key: i64) -> u64 {
    (key as u64).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16
}

/// A run as it is written.
pub(super) struct Written {
    pub base: i64,
    pub firsts: Vec<u64>,
    pub filter: Filter,
    pub chunks: Vec<Vec<u8>>,
}

/// `pairs`: sorted, each once.
pub(super) fn write(pairs: &[Pair]) -> Written {
    let base = pairs.iter().map(|(_, number)| *number).min().unwrap_or(0);
    Written {
        base,
        firsts: pairs.chunks(CHUNK).map(|chunk| chunk[0].0).collect(),
        filter: Filter::of(pairs),
        chunks: pairs.chunks(CHUNK).map(|chunk| encode(chunk, base)).collect(),
    }
}

/// Each key as its distance from the one before; of equal keys the numbers likewise.
fn encode(pairs: &[Pair], base: i64) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(pairs.len() * 7);
    let (mut key, mut number) = (0, base);
    for (at, pair) in pairs.iter().enumerate() {
        put(&mut bytes, pair.0 - key);
        let from = if at > 0 && pair.0 == key { number } else { base };
        put(&mut bytes, (pair.1 - from) as u64);
        (key, number) = *pair;
    }
    bytes
}

pub(super) fn decode(bytes: &[u8], base: i64) -> Result<Vec<Pair>, StoreError> {
    let mut pairs: Vec<Pair> = Vec::with_capacity(CHUNK);
    let mut rest = bytes;
    while !rest.is_empty() {
        let (Some(step), Some(ahead)) = (take(&mut rest), take(&mut rest)) else {
            return Err(inconsistent("key_chunk", "a chunk is cut"));
        };
        let (key, number) = pairs.last().copied().unwrap_or((0, base));
        let from = if step == 0 && !pairs.is_empty() { number } else { base };
        pairs.push((key.wrapping_add(step), from.wrapping_add(ahead as i64)));
    }
    Ok(pairs)
}

/// Seven bits a byte, the lowest first, the eighth says that more follow.
fn put(bytes: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
}

fn take(rest: &mut &[u8]) -> Option<u64> {
    let mut value = 0;
    for shift in (0..64).step_by(7) {
        let (byte, after) = rest.split_first()?;
        *rest = after;
        value |= u64::from(byte & 0x7f) << shift;
        if byte & 0x80 == 0 {
            return Some(value);
        }
    }
    None
}

/// Numbers of calls, sorted, as bytes.
pub(super) fn encode_numbers(numbers: &[i64]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(numbers.len() * 2);
    let mut before = 0;
    for number in numbers {
        put(&mut bytes, (number - before) as u64);
        before = *number;
    }
    bytes
}

pub(super) fn decode_numbers(bytes: &[u8]) -> Result<Vec<i64>, StoreError> {
    let (mut numbers, mut rest, mut number) = (Vec::new(), bytes, 0_i64);
    while !rest.is_empty() {
        let ahead = take(&mut rest).ok_or_else(|| inconsistent("key_run", "a list of numbers is cut"))?;
        number = number.wrapping_add(ahead as i64);
        numbers.push(number);
    }
    Ok(numbers)
}

/// Whole numbers of eight bytes each.
pub(super) fn words_to_bytes(words: &[u64]) -> Vec<u8> {
    words.iter().flat_map(|word| word.to_le_bytes()).collect()
}

pub(super) fn words_of_bytes(bytes: &[u8]) -> Vec<u64> {
    bytes.as_chunks::<8>().0.iter().map(|word| u64::from_le_bytes(*word)).collect()
}

/// The chunks of a run in which a key may stand, by the first key of each.
pub(super) fn chunks_with(firsts: &[u64], key: u64) -> std::ops::Range<usize> {
    firsts.partition_point(|first| *first < key).saturating_sub(1)
        ..firsts.partition_point(|first| *first <= key)
}

/// The numbers under any of the keys; both lists are sorted.
pub(super) fn collect(pairs: &[Pair], keys: &[u64], numbers: &mut Vec<i64>) {
    for key in keys {
        let from = pairs.partition_point(|pair| pair.0 < *key);
        numbers.extend(pairs[from..].iter().take_while(|pair| pair.0 == *key).map(|pair| pair.1));
    }
}

/// A Bloom filter, all bits of a key in one block.
pub(super) struct Filter(pub Vec<u64>);

impl Filter {
    fn of(pairs: &[Pair]) -> Filter {
        let distinct = pairs.chunk_by(|a, b| a.0 == b.0).count();
        let blocks = (distinct * FILTER_BITS).div_ceil(BLOCK * 64).max(1);
        let mut filter = Filter(vec![0; blocks * BLOCK]);
        for key in pairs.chunk_by(|a, b| a.0 == b.0).map(|same| same[0].0) {
            let (block, bits) = place(key, blocks);
            for (word, bit) in bits {
                filter.0[block + word] |= bit;
            }
        }
        filter
    }

    /// False only if the key is not there.
    pub(super) fn may_hold(&self, key: u64) -> bool {
        let (block, mut bits) = place(key, self.blocks());
        bits.all(|(word, bit)| self.0.get(block + word).is_some_and(|held| held & bit != 0))
    }

    pub(super) fn blocks(&self) -> usize {
        self.0.len() / BLOCK
    }

    /// In order, as bytes.
    pub(super) fn pieces(&self) -> impl Iterator<Item = Vec<u8>> {
        self.0.chunks(PIECE).map(words_to_bytes)
    }
}

/// In which piece of a filter of so many blocks a key would be.
pub(super) fn piece_of(key: u64, blocks: usize) -> usize {
    place(key, blocks).0 / PIECE
}

/// Of that piece: false only if the key is not there.
pub(super) fn piece_may_hold(piece: &[u64], key: u64, blocks: usize) -> bool {
    let (block, mut bits) = place(key, blocks);
    bits.all(|(word, bit)| piece.get(block % PIECE + word).is_some_and(|held| held & bit != 0))
}

/// The first word of a key's block, and which bits of which of its words the key sets.
fn place(key: u64, blocks: usize) -> (usize, impl Iterator<Item = (usize, u64)> + use<>) {
    let blocks = blocks as u64;
    let mut hash = key.wrapping_mul(0xd6e8_feb8_6659_fd93);
    hash ^= hash >> 32;
    let block = ((hash & 0xffff_ffff) * blocks) >> 32;
    let bits = hash.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let of_probe = move |probe: u32| ((bits >> (probe * 9 + 10)) & 0x1ff) as usize;
    let places = (0..PROBES).map(move |probe| (of_probe(probe) / 64, 1 << (of_probe(probe) % 64)));
    (block as usize * BLOCK, places)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #[test]
        fn every_pair_is_found_under_its_key_again(
            some in prop::collection::btree_set((0_i64..3_000, 5_i64..90_000), 1..3_000),
        ) {
            let mut pairs: Vec<Pair> = some.iter().map(|(key, number)| (short(*key), *number)).collect();
            pairs.sort_unstable();
            let run = write(&pairs);
            let chunks: Vec<Vec<Pair>> = run.chunks.iter().map(|c| decode(c, run.base).unwrap()).collect();
            prop_assert_eq!(&chunks.concat(), &pairs);
            for (key, number) in pairs {
                prop_assert!(run.filter.may_hold(key));
                let mut found = Vec::new();
                chunks_with(&run.firsts, key).for_each(|at| collect(&chunks[at], &[key], &mut found));
                prop_assert!(found.contains(&number));
            }
        }

        #[test]
        fn numbers_come_back(numbers in prop::collection::btree_set(0_i64..i64::MAX, 0..50)) {
            let numbers: Vec<i64> = numbers.into_iter().collect();
            prop_assert_eq!(decode_numbers(&encode_numbers(&numbers)).unwrap(), numbers);
        }
    }

    #[test]
    fn the_filter_knows_of_nearly_all_other_keys_that_they_are_not_there() {
        let mut pairs: Vec<Pair> = (0..50_000).map(|n| (short(n), n)).collect();
        pairs.sort_unstable();
        let filter = write(&pairs).filter;
        assert!(filter.0.len() * 64 <= 51_000 * FILTER_BITS);
        let wrong = (1_000_000..1_100_000).filter(|n| filter.may_hold(short(*n))).count();
        assert!(wrong < 1_000, "{wrong} of 100,000");
    }

    #[test]
    fn a_piece_of_the_filter_says_what_the_whole_says() {
        let mut pairs: Vec<Pair> = (0..5_000).map(|n| (short(n), n)).collect();
        pairs.sort_unstable();
        let filter = write(&pairs).filter;
        let pieces: Vec<Vec<u64>> = filter.pieces().map(|piece| words_of_bytes(&piece)).collect();
        assert!(pieces.len() > 5);
        for key in (0..20_000).map(short) {
            let piece = &pieces[piece_of(key, filter.blocks())];
            assert_eq!(piece_may_hold(piece, key, filter.blocks()), filter.may_hold(key));
        }
    }

    #[test]
    fn a_chunk_that_is_cut_is_no_chunk() {
        let bytes = encode(&[(5, 1), (900_000, 7)], 1);
        assert!(decode(&bytes[..bytes.len() - 1], 1).is_err());
    }
}
