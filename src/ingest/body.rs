//! From the bytes of an upload to its decompressed body: gzip of many members, zstd, or plain.
//!
//! What the bytes say counts more than what `Content-Encoding` says, since senders and proxies get the header wrong in both
//! directions and no JSON begins like a compressed file. Decompression stops at the limit: a bomb costs no more than the limit.
//! It refuses to drop anything: where a stream breaks, what came out before is kept, and so is the body as it was sent.

use flate2::bufread::MultiGzDecoder;
use std::io::{BufReader, ErrorKind, Read};

const GZIP: [u8; 2] = [0x1f, 0x8b];
const ZSTD: [u8; 4] = [0x28, 0xb5, 0x2f, 0xfd];
/// A compressed file that is sent with compression is compressed twice; nobody means more than that.
const MAX_LAYERS: usize = 2;
const STEP_BYTES: usize = 64 * 1024;

/// A body as far as it could be decompressed.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Body {
    pub bytes: Vec<u8>,
    pub broken: Option<BrokenBody>,
}

/// Where a compressed stream could not be read on.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BrokenBody {
    /// The compressed bytes of the layer that broke, whole: the evidence of what cannot be read.
    pub compressed: Vec<u8>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BodyError {
    #[error(
        "the upload is larger than {limit_bytes} bytes after decompression: send smaller uploads (Logpush: \
         max_upload_bytes) or raise --max-decompressed-bytes"
    )]
    TooLarge { limit_bytes: usize },
    #[error("Content-Encoding {0:?} is not read here: send gzip, zstd or no compression")]
    UnknownEncoding(String),
}

/// Undoes the compression. `limit_bytes` holds for the output of every layer.
pub fn decompress(
    raw: Vec<u8>,
    content_encoding: Option<&str>,
    limit_bytes: usize,
) -> Result<Body, BodyError> {
    if let Some(unknown) = content_encoding.and_then(unknown_encoding) {
        return Err(BodyError::UnknownEncoding(unknown.chars().take(40).collect()));
    }
    let mut bytes = raw;
    for _ in 0..MAX_LAYERS {
        let (inner, whole) = if bytes.starts_with(&GZIP) {
            read_up_to(MultiGzDecoder::new(&bytes[..]), limit_bytes)?
        } else if bytes.starts_with(&ZSTD) {
            match zstd::stream::read::Decoder::with_buffer(BufReader::new(&bytes[..])) {
                Ok(decoder) => read_up_to(decoder, limit_bytes)?,
                Err(_) => (Vec::new(), false),
            }
        } else {
            break;
        };
        if !whole {
            return Ok(Body { bytes: inner, broken: Some(BrokenBody { compressed: bytes }) });
        }
        bytes = inner;
    }
    if bytes.len() > limit_bytes {
        return Err(BodyError::TooLarge { limit_bytes });
    }
    Ok(Body { bytes, broken: None })
}

fn unknown_encoding(header: &str) -> Option<&str> {
    let known =
        |e: &str| ["gzip", "x-gzip", "zstd", "identity", ""].iter().any(|k| e.eq_ignore_ascii_case(k));
    header.split(',').map(str::trim).find(|e| !known(e))
}

/// Reads to the end or to the first error (`false`); more than the limit is refused without being read.
fn read_up_to(mut from: impl Read, limit_bytes: usize) -> Result<(Vec<u8>, bool), BodyError> {
    let (mut bytes, mut step) = (Vec::new(), vec![0; STEP_BYTES]);
    loop {
        match from.read(&mut step) {
            Ok(0) => {
                bytes.shrink_to_fit();
                return Ok((bytes, true));
            }
            Ok(read) if bytes.len() + read > limit_bytes => return Err(BodyError::TooLarge { limit_bytes }),
            Ok(read) => {
                make_room(&mut bytes, read, limit_bytes);
                bytes.extend_from_slice(&step[..read]);
            }
            Err(error) if error.kind() == ErrorKind::Interrupted => {}
            Err(_) => return Ok((bytes, false)),
        }
    }
}

/// In few, large leaps, never beyond the limit: room that is not written to takes no memory, while each smaller block that was left
/// behind may be kept by the allocator for a while. Growing by doubling came to three times the limit.
fn make_room(bytes: &mut Vec<u8>, for_bytes: usize, limit_bytes: usize) {
    if bytes.capacity() - bytes.len() < for_bytes {
        let more = (bytes.capacity() * 7).max(for_bytes);
        bytes.reserve_exact(more.min(limit_bytes - bytes.len()));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use flate2::{Compression, write::GzEncoder};
    use std::io::Write;

    const LIMIT: usize = 1 << 20;

    fn gzip(text: &[u8]) -> Vec<u8> {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
        encoder.write_all(text).unwrap();
        encoder.finish().unwrap()
    }

    fn whole(raw: Vec<u8>, encoding: Option<&str>) -> Vec<u8> {
        let body = decompress(raw, encoding, LIMIT).unwrap();
        assert_eq!(body.broken, None);
        body.bytes
    }

    #[test]
    fn both_members_of_a_two_member_gzip_are_read() {
        let raw = [gzip(b"{\"a\":1}\n"), gzip(b"{\"a\":2}\n")].concat();
        assert_eq!(whole(raw, Some("gzip")), b"{\"a\":1}\n{\"a\":2}\n");
    }

    #[test]
    fn the_bytes_count_more_than_the_header() {
        assert_eq!(whole(gzip(b"{}"), None), b"{}");
        assert_eq!(whole(b"{}".to_vec(), Some("gzip")), b"{}");
        assert_eq!(whole(zstd::encode_all(&b"{}"[..], 1).unwrap(), None), b"{}");
        assert_eq!(whole(gzip(&gzip(b"{}")), Some("gzip")), b"{}");
    }

    #[test]
    fn a_cut_gzip_keeps_what_came_out_and_the_body_as_it_was_sent() {
        let text: Vec<u8> =
            (0..20_000u32).flat_map(|i| format!("{{\"n\":{}}}\n", i * 7919).into_bytes()).collect();
        let mut raw = gzip(&text);
        raw.truncate(raw.len() / 2);
        let body = decompress(raw.clone(), Some("gzip"), LIMIT).unwrap();
        assert!(!body.bytes.is_empty() && text.starts_with(&body.bytes));
        assert_eq!(body.broken.unwrap().compressed, raw);
    }

    #[test]
    fn a_bomb_is_refused_at_the_limit() {
        for bomb in [gzip(&vec![0; 8 << 20]), zstd::encode_all(&vec![0; 8 << 20][..], 1).unwrap()] {
            let error = decompress(bomb, None, LIMIT).unwrap_err();
            assert_eq!(error, BodyError::TooLarge { limit_bytes: LIMIT });
        }
    }

    #[test]
    fn exactly_the_limit_is_accepted() {
        let text = vec![b' '; LIMIT];
        assert_eq!(whole(gzip(&text), None).len(), LIMIT);
        assert_eq!(whole(text, None).len(), LIMIT);
    }

    #[test]
    fn an_encoding_that_is_not_known_is_named() {
        let error = decompress(b"x".to_vec(), Some("br"), LIMIT).unwrap_err();
        assert!(error.to_string().contains("\"br\""), "{error}");
    }
}
