//! Which files an import reads, and how their bytes become lines.
//!
//! The order is by path, and a file's compression is told by its first bytes, not by its name, so that the same tree always
//! gives the same lines in the same order. It refuses to decide what a line means; that is `decode`'s work.

use anyhow::{Context, Result, bail};
use std::fs::File;
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

/// What a directory walk takes. A file that is named on the command line is taken whatever it is called.
const EXTENSIONS: [&str; 5] = ["jsonl", "ndjson", "json", "log", "txt"];
const COMPRESSIONS: [&str; 3] = ["gz", "zst", "zstd"];

/// One thing to read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub enum Input {
    Stdin,
    File { path: PathBuf, size_bytes: u64 },
}

impl Input {
    pub fn size_bytes(&self) -> u64 {
        match self {
            Input::Stdin => 0,
            Input::File { size_bytes, .. } => *size_bytes,
        }
    }

    pub fn name(&self) -> String {
        match self {
            Input::Stdin => "standard input".to_owned(),
            Input::File { path, .. } => path.display().to_string(),
        }
    }

    /// The file's name without `.jsonl`, `.gz` and the like, where that may name a proxy.
    pub fn stem(&self) -> Option<&str> {
        let Input::File { path, .. } = self else { return None };
        let mut name = path.file_name()?.to_str()?;
        for endings in [&COMPRESSIONS[..], &EXTENSIONS[..]] {
            if let Some((stem, ending)) = name.rsplit_once('.')
                && endings.contains(&ending)
            {
                name = stem;
            }
        }
        let proxy_char = |c: u8| c.is_ascii_alphanumeric() || b"-_.:".contains(&c);
        (!name.is_empty() && name.bytes().all(proxy_char)).then_some(name)
    }
}

/// What the walk found, and how many files it left alone because of their names.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Found {
    pub inputs: Vec<Input>,
    pub skipped_files: u64,
}

/// Resolves what stands on the command line: files as they are, directories with everything below them, `-`.
pub fn find(paths: &[PathBuf]) -> Result<Found> {
    let mut found = Found::default();
    for path in paths {
        if path.as_os_str() == "-" {
            found.inputs.push(Input::Stdin);
            continue;
        }
        let about = std::fs::metadata(path).with_context(|| format!("cannot read {}", path.display()))?;
        if about.is_dir() {
            walk(path, &mut found)?;
        } else {
            found.inputs.push(Input::File { path: path.clone(), size_bytes: about.len() });
        }
    }
    if found.inputs.is_empty() {
        bail!(
            "there is nothing to import: a directory is searched for files that end in {}, compressed (.gz, .zst) or not; \
             name a file itself to have it read whatever it is called",
            EXTENSIONS.map(|e| format!(".{e}")).join(", ")
        );
    }
    Ok(found)
}

/// Linked directories are not followed (they may lead back up); linked files are read.
fn walk(directory: &Path, found: &mut Found) -> Result<()> {
    let cannot_read = || format!("cannot read the directory {}", directory.display());
    let mut entries = std::fs::read_dir(directory)
        .with_context(cannot_read)?
        .collect::<std::io::Result<Vec<_>>>()
        .with_context(cannot_read)?;
    entries.sort_by_key(std::fs::DirEntry::file_name);
    for entry in entries {
        let path = entry.path();
        let hidden = entry.file_name().as_encoded_bytes().starts_with(b".");
        if hidden {
            continue;
        }
        if entry.file_type()?.is_dir() {
            walk(&path, found)?;
            continue;
        }
        let about = std::fs::metadata(&path).with_context(|| format!("cannot read {}", path.display()))?;
        if about.is_file() && is_log_name(&path) {
            found.inputs.push(Input::File { path, size_bytes: about.len() });
        } else if about.is_file() {
            found.skipped_files += 1;
        }
    }
    Ok(())
}

fn is_log_name(path: &Path) -> bool {
    let extension = |p: &Path| p.extension().and_then(|e| e.to_str()).map(str::to_ascii_lowercase);
    match extension(path) {
        Some(e) if COMPRESSIONS.contains(&e.as_str()) => {
            extension(Path::new(path.file_stem().unwrap_or_default()))
                .is_some_and(|e| EXTENSIONS.contains(&e.as_str()))
        }
        Some(e) => EXTENSIONS.contains(&e.as_str()),
        None => false,
    }
}

/// Opens an input for reading, decompressed. `read_bytes` is told how far the file itself has been read.
pub fn open(input: &Input, read_bytes: Arc<AtomicU64>) -> Result<Box<dyn BufRead>> {
    let raw: Box<dyn Read> = match input {
        Input::Stdin => Box::new(std::io::stdin().lock()),
        Input::File { path, .. } => {
            Box::new(File::open(path).with_context(|| format!("cannot read {}", path.display()))?)
        }
    };
    let mut counted = BufReader::with_capacity(256 * 1024, Counted { inner: raw, read_bytes });
    let magic = counted.fill_buf().with_context(|| format!("cannot read {}", input.name()))?;
    Ok(match magic {
        [0x1f, 0x8b, ..] => Box::new(BufReader::new(flate2::bufread::MultiGzDecoder::new(counted))),
        [0x28, 0xb5, 0x2f, 0xfd, ..] => {
            Box::new(BufReader::new(zstd::stream::read::Decoder::with_buffer(counted)?))
        }
        _ => Box::new(counted),
    })
}

struct Counted {
    inner: Box<dyn Read>,
    read_bytes: Arc<AtomicU64>,
}

impl Read for Counted {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = self.inner.read(buffer)?;
        self.read_bytes.fetch_add(count as u64, Ordering::Relaxed);
        Ok(count)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    fn names(found: &Found) -> Vec<String> {
        found
            .inputs
            .iter()
            .map(|i| Path::new(&i.name()).file_name().unwrap().to_str().unwrap().to_owned())
            .collect()
    }

    fn read_all(path: &Path) -> String {
        let input = Input::File { path: path.to_owned(), size_bytes: 0 };
        let mut text = String::new();
        open(&input, Arc::default()).unwrap().read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn a_directory_is_read_in_the_order_of_its_paths_without_what_is_no_log() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir(dir.path().join("b")).unwrap();
        for name in ["c.jsonl", "b/inner.ndjson.gz", "a.log", "README.md", ".hidden.jsonl", "core.gz"] {
            std::fs::write(dir.path().join(name), "x").unwrap();
        }
        let found = find(&[dir.path().to_owned()]).unwrap();
        assert_eq!(names(&found), ["a.log", "inner.ndjson.gz", "c.jsonl"]);
        assert_eq!(found.skipped_files, 2);
    }

    #[test]
    fn an_empty_directory_says_what_would_have_been_read() {
        let dir = tempfile::tempdir().unwrap();
        let error = find(&[dir.path().to_owned()]).unwrap_err().to_string();
        assert!(error.contains(".ndjson"), "{error}");
    }

    #[test]
    fn compression_is_told_by_the_first_bytes_whatever_the_name() {
        let dir = tempfile::tempdir().unwrap();
        let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        gzip.write_all(b"one\n").unwrap();
        let mut two_members = gzip.finish().unwrap();
        two_members.extend_from_slice(&two_members.clone());
        for (name, bytes, text) in [
            ("gzip.log", two_members, "one\none\n"),
            ("zstd.gz", zstd::encode_all(&b"two\n"[..], 1).unwrap(), "two\n"),
            ("plain.gz", b"three\n".to_vec(), "three\n"),
            ("empty.log", Vec::new(), ""),
        ] {
            std::fs::write(dir.path().join(name), bytes).unwrap();
            assert_eq!(read_all(&dir.path().join(name)), text, "{name}");
        }
    }

    #[test]
    fn the_stem_names_the_proxy() {
        let stem = |name: &str| Input::File { path: name.into(), size_bytes: 0 }.stem().map(str::to_owned);
        assert_eq!(stem("mesh/web-sidecar-proxy.jsonl.gz").as_deref(), Some("web-sidecar-proxy"));
        assert_eq!(stem("gw.jsonl").as_deref(), Some("gw"));
        assert_eq!(stem("my log.jsonl"), None);
    }
}
