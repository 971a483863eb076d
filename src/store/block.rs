//! Raw lines as blocks: each line with its length before it, about 1 MiB together, compressed. Any byte may stand in a line.

use super::StoreError;
use super::error::inconsistent;

/// Raw bytes after which a block is closed. One line may be larger: it then is a block of its own.
const RAW_BYTES: usize = 1 << 20;
/// Level 1 gives most of the gain at a fifth of the cost of the default.
const ZSTD_LEVEL: i32 = 1;

pub(super) struct Block {
    /// Position of its first line in the delivery, from 1.
    pub first_line: u32,
    pub line_count: u32,
    pub packed: Vec<u8>,
}

pub(super) fn pack(lines: &[Vec<u8>]) -> std::io::Result<Vec<Block>> {
    let mut blocks = Vec::new();
    let mut first = 0;
    while first < lines.len() {
        let mut raw = Vec::new();
        let mut end = first;
        while end < lines.len() && (end == first || raw.len() + lines[end].len() < RAW_BYTES) {
            raw.extend((lines[end].len() as u32).to_le_bytes());
            raw.extend(&lines[end]);
            end += 1;
        }
        let packed = zstd::bulk::compress(&raw, ZSTD_LEVEL)?;
        blocks.push(Block { first_line: first as u32 + 1, line_count: (end - first) as u32, packed });
        first = end;
    }
    Ok(blocks)
}

pub(super) fn unpack(packed: &[u8], line_count: usize) -> Result<Vec<Vec<u8>>, StoreError> {
    let raw = zstd::stream::decode_all(packed).map_err(|e| inconsistent("block", e))?;
    let mut lines = Vec::with_capacity(line_count.min(raw.len()));
    let mut rest = raw.as_slice();
    while let Some((length, after)) = rest.split_first_chunk::<4>() {
        let length = u32::from_le_bytes(*length) as usize;
        let (line, after) =
            after.split_at_checked(length).ok_or_else(|| inconsistent("block", "a line is cut"))?;
        lines.push(line.to_vec());
        rest = after;
    }
    if !rest.is_empty() || lines.len() != line_count {
        let what = format!("it holds {} lines, not {line_count}", lines.len());
        return Err(inconsistent("block", what));
    }
    Ok(lines)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn round_trip(lines: &[Vec<u8>]) -> Vec<Vec<u8>> {
        let blocks = pack(lines).unwrap();
        let mut next = 1;
        for block in &blocks {
            assert_eq!(block.first_line, next);
            next += block.line_count;
        }
        blocks.iter().flat_map(|b| unpack(&b.packed, b.line_count as usize).unwrap()).collect()
    }

    #[test]
    fn lines_come_back_whatever_bytes_they_hold() {
        let lines = vec![b"a".to_vec(), vec![], b"nul \0 and \xff\xfe".to_vec(), b"\n".to_vec()];
        assert_eq!(round_trip(&lines), lines);
        assert_eq!(round_trip(&[]), Vec::<Vec<u8>>::new());
    }

    #[test]
    fn much_is_cut_into_blocks_and_a_huge_line_is_not() {
        let lines: Vec<Vec<u8>> = (0..5u8).map(|n| vec![n; 700_000]).chain([vec![9; 3 << 20]]).collect();
        assert_eq!(pack(&lines).unwrap().len(), 6);
        assert_eq!(round_trip(&lines), lines);
    }

    #[test]
    fn a_damaged_block_is_an_error_that_names_the_table() {
        let packed = pack(&[b"one".to_vec()]).unwrap().remove(0).packed;
        assert!(unpack(&packed, 2).unwrap_err().to_string().contains("table block"));
        assert!(unpack(&packed[..5], 1).is_err());
    }
}
