//! Histograms as text. Two texts one after the other are the histogram of both together, so that a database adds up any number of
//! them by joining strings, and one answer row carries what it takes to tell quantiles.
//!
//! A bucket and its count, again and again: each a number in base 32, lowest digit first, as characters from `0` on; a digit that is
//! followed by another has 32 more. Counts may be negative: they are doubled, and negative ones made odd (zigzag).

use super::StoreError;
use super::error::inconsistent;
use crate::model::Histogram;

const FIRST: u8 = b'0';
const MORE: u64 = 32;

pub(super) fn write(histogram: &Histogram) -> String {
    let mut text = String::new();
    for (bucket, count) in histogram.buckets() {
        write_number(&mut text, bucket as u64);
        write_number(&mut text, ((count << 1) ^ (count >> 63)) as u64);
    }
    text
}

fn write_number(text: &mut String, mut number: u64) {
    loop {
        let digit = number % MORE;
        number /= MORE;
        let digit = if number > 0 { digit + MORE } else { digit };
        text.push(char::from(FIRST + digit as u8));
        if number == 0 {
            return;
        }
    }
}

pub(super) fn read(text: &str) -> Result<Histogram, StoreError> {
    let mut histogram = Histogram::default();
    let mut bytes = text.bytes();
    while let Some(first) = bytes.next() {
        let (bucket, count) = number(Some(first), &mut bytes)
            .and_then(|bucket| Some((bucket, number(bytes.next(), &mut bytes)?)))
            .ok_or_else(|| inconsistent("statistic", "durations end in the middle of a number"))?;
        histogram.add_to_bucket(bucket as usize, (count >> 1) as i64 ^ -((count & 1) as i64));
    }
    Ok(histogram)
}

fn number(first: Option<u8>, rest: &mut impl Iterator<Item = u8>) -> Option<u64> {
    let (mut number, mut shift, mut next) = (0_u64, 0, first);
    loop {
        let digit = u64::from(next?.checked_sub(FIRST)?);
        if digit >= 2 * MORE || shift > 60 {
            return None;
        }
        number |= (digit % MORE) << shift;
        if digit < MORE {
            return Some(number);
        }
        (shift, next) = (shift + 5, rest.next());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(durations: &[(i64, i64)]) -> Histogram {
        let mut histogram = Histogram::default();
        durations.iter().for_each(|(us, times)| histogram.add(*us, *times));
        histogram
    }

    #[test]
    fn what_is_written_is_read_and_joined_texts_add_up() {
        let (a, b) = (of(&[(0, 1), (70_000, 16), (1 << 42, i64::MAX)]), of(&[(70_000, 5), (31, -3)]));
        assert_eq!(read(&write(&a)).unwrap(), a);
        assert_eq!(read(&write(&b)).unwrap(), b);
        let mut both = a.clone();
        both.merge(&b);
        assert_eq!(read(&(write(&a) + &write(&b))).unwrap(), both);
        assert_eq!(read("").unwrap(), Histogram::default());
    }

    #[test]
    fn a_bucket_of_few_calls_takes_three_characters_that_people_can_print() {
        let text = write(&of(&[(70_000, 1), (90_000, 15)]));
        assert_eq!(text.len(), 6, "{text}");
        assert!(text.bytes().all(|b| b.is_ascii_graphic()), "{text}");
    }

    #[test]
    fn what_is_no_histogram_is_refused() {
        for text in ["1", "p", "pp", "1P", "/", "1é", "oooooooooooooooooo", "1oooooooooooooooooo0"] {
            assert!(read(text).is_err(), "{text}");
        }
    }
}
