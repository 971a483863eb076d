//! A deadline for the first bytes of a connection, until they say which protocol is spoken.
//!
//! The timers of HTTP/1 and HTTP/2 start only when the protocol is known, and the first letters of HTTP/2's preface can be
//! waited for for ever. Once it is known this refuses nothing: the protocol's own timers hold from there on.

use std::io::{self, ErrorKind};
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Sleep;

/// What a client of HTTP/2 says first (RFC 9113, section 3.4).
const PREFACE: &[u8; 24] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

pub struct Opening<S> {
    stream: S,
    /// How many bytes of the preface have come, as long as nothing else has.
    matched: usize,
    /// `None` once the protocol is known.
    deadline: Option<Pin<Box<Sleep>>>,
}

impl<S> Opening<S> {
    pub fn new(stream: S, within: Duration) -> Self {
        Opening { stream, matched: 0, deadline: Some(Box::pin(tokio::time::sleep(within))) }
    }

    fn take_note(&mut self, came: &[u8]) {
        let expected = &PREFACE[self.matched..];
        self.matched += came.iter().zip(expected).take_while(|(a, b)| a == b).count();
        let is_preface_so_far = came.len() < expected.len() && expected.starts_with(came);
        if !came.is_empty() && !is_preface_so_far {
            self.deadline = None;
        }
    }
}

impl<S: AsyncRead + Unpin> AsyncRead for Opening<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        if let Some(deadline) = &mut self.deadline {
            match &read {
                Poll::Ready(_) => self.take_note(&buffer.filled()[before..]),
                Poll::Pending => {
                    if deadline.as_mut().poll(cx).is_ready() {
                        return Poll::Ready(Err(ErrorKind::TimedOut.into()));
                    }
                }
            }
        }
        read
    }
}

impl<S: AsyncWrite + Unpin> AsyncWrite for Opening<S> {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        slices: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write_vectored(cx, slices)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn is_known_after(pieces: &[&[u8]]) -> bool {
        tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(async {
            let mut opening = Opening::new(tokio::io::empty(), Duration::from_secs(1));
            pieces.iter().for_each(|piece| opening.take_note(piece));
            opening.deadline.is_none()
        })
    }

    #[test]
    fn the_deadline_ends_when_the_protocol_is_known() {
        for (pieces, known) in [
            (&[][..], false),
            (&[&b""[..]], false),
            (&[&b"P"[..]], false),
            (&[&b"P"[..], b"OST /"], true),
            (&[&b"GE"[..]], true),
            (&[&PREFACE[..23]], false),
            (&[&PREFACE[..23], b"\n"], true),
            (&[&PREFACE[..10], &PREFACE[10..], b"more"], true),
            (&[&PREFACE[..10], b"x"], true),
        ] {
            assert_eq!(is_known_after(pieces), known, "{pieces:?}");
        }
    }
}
