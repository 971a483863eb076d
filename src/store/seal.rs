//! The seal of a backup: its last bytes, a mark and the SHA-256 of all bytes before. Whoever opens the file as a database does not
//! see it, since the database says itself where it ends.
//!
//! It tells of damage, not of malice: whoever can write the file can seal it again. Against that stands the root of the evidence.

use sha2::{Digest, Sha256};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom, Write};

const MARK: &[u8; 19] = b"calltrail backup 1\n";
const SEAL_BYTES: u64 = MARK.len() as u64 + 32;
const PIECE_BYTES: usize = 1 << 20;

/// A file whose seal is whole: so many bytes of a database, with this hash.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Sealed {
    bytes: u64,
    sha256: [u8; 32],
}

#[derive(Debug, PartialEq, Eq)]
pub(super) enum Seal {
    Whole(Sealed),
    /// The bytes before it are not those that were sealed.
    Broken,
    /// It is no backup, or its end is missing.
    Missing,
}

/// Seals what the file holds; it is on disk when this returns.
pub(super) fn put_on(file: &mut File) -> io::Result<()> {
    file.rewind()?;
    let (_, sha256) = copy(file, &mut io::sink())?;
    file.write_all(MARK)?;
    file.write_all(&sha256)?;
    file.sync_all()
}

pub(super) fn look_at(file: &mut File) -> io::Result<Seal> {
    let Some(bytes) = file.metadata()?.len().checked_sub(SEAL_BYTES) else { return Ok(Seal::Missing) };
    let (mut mark, mut recorded) = ([0; MARK.len()], [0; 32]);
    file.seek(SeekFrom::Start(bytes))?;
    file.read_exact(&mut mark)?;
    file.read_exact(&mut recorded)?;
    if mark != *MARK {
        return Ok(Seal::Missing);
    }
    file.rewind()?;
    let (_, sha256) = copy(&mut file.take(bytes), &mut io::sink())?;
    Ok(if sha256 == recorded { Seal::Whole(Sealed { bytes, sha256 }) } else { Seal::Broken })
}

/// The database without its seal. An error when it is not what was sealed, any more.
pub(super) fn take_off(sealed: Sealed, from: &mut File, to: &mut File) -> io::Result<()> {
    from.rewind()?;
    let copied = copy(&mut from.take(sealed.bytes), to)?;
    if copied != (sealed.bytes, sealed.sha256) {
        return Err(io::Error::other("the backup has changed while it was read"));
    }
    to.sync_all()
}

/// To the end; how many bytes, and their hash.
fn copy(from: &mut impl Read, to: &mut impl Write) -> io::Result<(u64, [u8; 32])> {
    let (mut piece, mut hasher, mut bytes) = (vec![0; PIECE_BYTES], Sha256::new(), 0);
    loop {
        let read = match from.read(&mut piece) {
            Ok(0) => return Ok((bytes, hasher.finalize().into())),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        hasher.update(&piece[..read]);
        to.write_all(&piece[..read])?;
        bytes += read as u64;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_sealed_comes_back_and_any_flipped_byte_is_seen() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"a database").unwrap();
        put_on(&mut file).unwrap();
        let Seal::Whole(sealed) = look_at(&mut file).unwrap() else { panic!("just sealed") };
        let mut plain = tempfile::tempfile().unwrap();
        take_off(sealed, &mut file, &mut plain).unwrap();
        assert_eq!(plain.metadata().unwrap().len(), 10);

        let length = file.metadata().unwrap().len();
        for at in 0..length {
            let mut byte = [0];
            file.seek(SeekFrom::Start(at)).unwrap();
            file.read_exact(&mut byte).unwrap();
            let write = |file: &mut File, byte: u8| {
                file.seek(SeekFrom::Start(at)).unwrap();
                file.write_all(&[byte]).unwrap();
            };
            write(&mut file, byte[0] ^ 1);
            assert!(!matches!(look_at(&mut file).unwrap(), Seal::Whole(_)), "byte {at}");
            write(&mut file, byte[0]);
        }
        assert_eq!(look_at(&mut file).unwrap(), Seal::Whole(sealed));
        file.set_len(length - 1).unwrap();
        assert_eq!(look_at(&mut file).unwrap(), Seal::Missing);
    }
}
