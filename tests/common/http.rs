//! As much HTTP/1.1 as a test needs, over a plain socket: so that a broken connection, a half-written answer and a killed
//! server look like what they are, not like a client library's idea of them.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

/// Longer than anything here may take; only a hang meets it.
const PATIENCE: Duration = Duration::from_secs(60);

#[derive(Debug, Clone)]
pub struct Answer {
    pub status: u16,
    head: String,
    pub body: Vec<u8>,
}

impl Answer {
    pub fn text(&self) -> String {
        String::from_utf8_lossy(&self.body).into_owned()
    }

    pub fn json(&self) -> serde_json::Value {
        serde_json::from_slice(&self.body).unwrap_or_else(|e| panic!("no JSON ({e}): {}", self.text()))
    }

    pub fn header(&self, name: &str) -> Option<&str> {
        let mut lines = self.head.lines().skip(1).filter_map(|line| line.split_once(':'));
        lines.find(|(key, _)| key.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim())
    }
}

pub fn get(to: SocketAddr, path: &str) -> io::Result<Answer> {
    send(to, "GET", path, &[], &[])
}

pub fn post(to: SocketAddr, path: &str, body: &[u8]) -> io::Result<Answer> {
    send(to, "POST", path, &[], body)
}

/// One request on a connection of its own. An error means that no whole answer came: nobody knows what became of it.
pub fn send(
    to: SocketAddr,
    method: &str,
    path: &str,
    headers: &[(&str, &str)],
    body: &[u8],
) -> io::Result<Answer> {
    let mut stream = TcpStream::connect(to)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.set_nodelay(true)?;
    let mut request = format!("{method} {path} HTTP/1.1\r\nhost: {to}\r\nconnection: close\r\n");
    for (name, value) in headers {
        request.push_str(&format!("{name}: {value}\r\n"));
    }
    request.push_str(&format!("content-length: {}\r\n\r\n", body.len()));
    stream.write_all(request.as_bytes())?;
    // A server that refuses a body early closes while we still write: its answer is what counts.
    let written = stream.write_all(body);
    read_answer(&mut stream).map_err(|error| written.err().unwrap_or(error))
}

/// The answer to a request that asked for the connection to be closed.
pub fn read_answer(stream: &mut TcpStream) -> io::Result<Answer> {
    let mut bytes = Vec::new();
    match stream.read_to_end(&mut bytes) {
        Ok(_) => parse(&bytes),
        // Closed with bytes of ours unread: what had come before is the answer, if it is whole.
        Err(error) => parse(&bytes).map_err(|_| error),
    }
}

fn parse(bytes: &[u8]) -> io::Result<Answer> {
    let cut = || io::Error::new(io::ErrorKind::UnexpectedEof, "the answer ends before its end");
    let end = bytes.windows(4).position(|four| four == b"\r\n\r\n").ok_or_else(cut)?;
    let head = String::from_utf8_lossy(&bytes[..end]).into_owned();
    let status = head.split(' ').nth(1).and_then(|code| code.parse().ok()).ok_or_else(cut)?;
    let mut answer = Answer { status, head, body: Vec::new() };
    let rest = &bytes[end + 4..];
    answer.body = if answer.header("transfer-encoding").is_some_and(|value| value.contains("chunked")) {
        chunks(rest).ok_or_else(cut)?
    } else {
        rest.to_vec()
    };
    let announced = answer.header("content-length").and_then(|value| value.parse::<usize>().ok());
    if announced.is_some_and(|length| length != answer.body.len()) { Err(cut()) } else { Ok(answer) }
}

fn chunks(mut rest: &[u8]) -> Option<Vec<u8>> {
    let mut body = Vec::new();
    loop {
        let line_end = rest.windows(2).position(|two| two == b"\r\n")?;
        let line = std::str::from_utf8(&rest[..line_end]).ok()?;
        let size = usize::from_str_radix(line.split(';').next()?.trim(), 16).ok()?;
        rest = &rest[line_end + 2..];
        if size == 0 {
            return Some(body);
        }
        body.extend_from_slice(rest.get(..size)?);
        rest = rest.get(size + 2..)?;
    }
}
