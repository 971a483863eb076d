//! The capture that comes with the project, cut small: lines of one call go to different servers, and not in their order.

use crate::common::project_file;
use flate2::read::MultiGzDecoder;
use std::fs;
use std::io::Read;

const LINES: usize = 40;

pub struct Upload {
    pub source: &'static str,
    pub body: Vec<u8>,
}

impl Upload {
    pub fn lines(&self) -> u64 {
        self.body.iter().filter(|byte| **byte == b'\n').count() as u64
    }
}

pub fn file(name: &str) -> String {
    project_file(&format!("demo/{name}"))
}

/// The first pieces of all files, then the second ones, and so on.
pub fn uploads() -> Vec<Upload> {
    let mut by_turn: Vec<Vec<Upload>> = Vec::new();
    for (folder, source) in [("mesh", "mesh"), ("worker", "logpush"), ("zone", "zone")] {
        let mut files: Vec<_> = fs::read_dir(file(folder)).unwrap().map(|f| f.unwrap().path()).collect();
        files.sort();
        for path in files {
            let mut text = String::new();
            MultiGzDecoder::new(fs::File::open(path).unwrap()).read_to_string(&mut text).unwrap();
            let lines: Vec<&str> = text.lines().collect();
            for (turn, piece) in lines.chunks(LINES).enumerate() {
                let body = (piece.join("\n") + "\n").into_bytes();
                by_turn.resize_with(by_turn.len().max(turn + 1), Vec::new);
                by_turn[turn].push(Upload { source, body });
            }
        }
    }
    by_turn.into_iter().flatten().collect()
}
