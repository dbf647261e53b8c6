//! One connection of our own to a server: bytes out of a buffer that the caller fills, messages in without a copy.
//!
//! The client library keeps what it could not send and sends it after a reconnect, behind its caller's back. A sink must
//! know that nothing of a broken connection is sent any more, so it owns a link, drops it when it breaks, and encodes its
//! messages straight into the link's buffer: no channel, no allocation and no task for each message.

use std::future::poll_fn;
use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use busline_core::Result;
use serde::Deserialize;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::time::Instant;

use crate::protocol::{self, Message, Op};

/// A byte stream: TCP, or TLS over it.
pub(crate) trait Io: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Io for T {}

/// What the server says about itself.
#[derive(Debug, Clone, Default, Deserialize)]
#[serde(default)]
pub(crate) struct ServerInfo {
    pub(crate) version: String,
    pub(crate) max_payload: usize,
    pub(crate) tls_required: bool,
    pub(crate) nonce: Option<String>,
    pub(crate) connect_urls: Vec<String>,
}

/// Bytes that wait to be sent, above which a caller should stop adding.
pub(crate) const OUT_BYTES_MAX: usize = 256 * 1024;

/// Bytes read at once.
const READ_BYTES: usize = 64 * 1024;

/// Silence after which the server is asked for a sign of life, and after which it counts as gone.
const QUIET: Duration = Duration::from_secs(3);
const DEAD: Duration = Duration::from_secs(8);

/// An open connection.
pub(crate) struct Link {
    io: Box<dyn Io>,
    info: ServerInfo,
    out: Vec<u8>,
    sent: usize,
    /// Bytes that were read and not taken lie from `at` to `end`; the rest is room that is never cleared again.
    input: Vec<u8>,
    at: usize,
    end: usize,
    heard: Instant,
    pinged: bool,
    pongs: u64,
}

/// One thing that the server said.
#[derive(Debug)]
pub(crate) enum Heard<'a> {
    Message(Message<'a>),
    /// A complaint that did not end the connection, such as a permission that is missing.
    Complaint(&'a str),
}

impl std::fmt::Debug for Link {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Link").field("server", &self.info.version).finish_non_exhaustive()
    }
}

impl Link {
    /// A connection whose handshake is done.
    pub(crate) fn new(io: Box<dyn Io>, info: ServerInfo) -> Self {
        let heard = Instant::now();
        Self {
            io,
            info,
            out: Vec::new(),
            sent: 0,
            input: vec![0; READ_BYTES],
            at: 0,
            end: 0,
            heard,
            pinged: false,
            pongs: 0,
        }
    }

    pub(crate) fn info(&self) -> &ServerInfo {
        &self.info
    }

    /// Subscribes to a subject.
    pub(crate) fn subscribe(&mut self, subject: &str, id: u32) {
        self.out.extend_from_slice(format!("SUB {subject} {id}\r\n").as_bytes());
    }

    /// Ends a subscription.
    pub(crate) fn unsubscribe(&mut self, id: u32) {
        self.out.extend_from_slice(format!("UNSUB {id}\r\n").as_bytes());
    }

    /// Adds a message: its subject, the subject for the answer, its header block (empty without headers) and its body.
    pub(crate) fn publish(&mut self, subject: &[u8], reply: &[u8], headers: &[u8], body: &[u8]) {
        protocol::push_message(&mut self.out, &Message { subject, reply, headers, body });
    }

    /// Whether more may be added before what is there has been sent.
    pub(crate) fn has_room(&self) -> bool {
        self.out.len() - self.sent < OUT_BYTES_MAX
    }

    /// Whether something waits to be sent.
    pub(crate) fn is_sending(&self) -> bool {
        self.sent < self.out.len()
    }

    /// Sends what waits and reads what has come, until something was read or the buffer has room again.
    ///
    /// # Errors
    /// The connection is broken.
    ///
    /// # Cancel safety
    /// Nothing is lost: bytes are taken off the buffers only as far as they were moved.
    pub(crate) async fn drive(&mut self) -> io::Result<()> {
        poll_fn(|cx| self.poll_drive(cx)).await
    }

    fn poll_drive(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let was_full = !self.has_room();
        let wrote = self.poll_write(cx)?;
        match self.poll_read(cx) {
            Poll::Pending if wrote && was_full && self.has_room() => Poll::Ready(Ok(())),
            read => read,
        }
    }

    /// Writes as much as the socket takes; gives whether anything went.
    fn poll_write(&mut self, cx: &mut Context<'_>) -> io::Result<bool> {
        let mut wrote = false;
        while self.sent < self.out.len() {
            match Pin::new(&mut self.io).poll_write(cx, &self.out[self.sent..]) {
                Poll::Ready(Ok(0)) => return Err(io::ErrorKind::WriteZero.into()),
                Poll::Ready(Ok(count)) => self.sent += count,
                Poll::Ready(Err(error)) => return Err(error),
                Poll::Pending => return Ok(wrote),
            }
            wrote = true;
        }
        if wrote {
            self.out.clear();
            self.sent = 0;
            // TLS keeps the end of what it was given until it is flushed.
            if let Poll::Ready(Err(error)) = Pin::new(&mut self.io).poll_flush(cx) {
                return Err(error);
            }
        }
        Ok(wrote)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.make_room();
        let mut buffer = ReadBuf::new(&mut self.input[self.end..]);
        ready!(Pin::new(&mut self.io).poll_read(cx, &mut buffer))?;
        let count = buffer.filled().len();
        if count == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.end += count;
        self.heard = Instant::now();
        self.pinged = false;
        Poll::Ready(Ok(()))
    }

    /// Moves what was not taken to the front when the end is near, and grows only for a message that is longer.
    fn make_room(&mut self) {
        if self.at == self.end {
            (self.at, self.end) = (0, 0);
        }
        if self.input.len() - self.end < READ_BYTES / 4 && self.at > 0 {
            self.input.copy_within(self.at..self.end, 0);
            self.end -= self.at;
            self.at = 0;
        }
        if self.input.len() - self.end < READ_BYTES / 4 {
            self.input.resize(self.input.len() * 2, 0);
        }
    }

    /// Asks a server for a sign of life that has been silent.
    ///
    /// # Errors
    /// It has been silent for too long.
    pub(crate) fn check_alive(&mut self, now: Instant) -> io::Result<()> {
        let quiet = now.saturating_duration_since(self.heard);
        if quiet > DEAD && self.pinged {
            return Err(io::ErrorKind::TimedOut.into());
        }
        if quiet > QUIET && !self.pinged {
            self.out.extend_from_slice(b"PING\r\n");
            self.pinged = true;
        }
        Ok(())
    }

    /// Whether nothing at all was heard for so long.
    pub(crate) fn is_mute(&self, now: Instant, silence: Duration) -> bool {
        now.saturating_duration_since(self.heard) > silence
    }

    /// The next thing that was read whole, or `None`.
    ///
    /// # Errors
    /// `Corrupt/Protocol`; the connection is to be dropped.
    pub(crate) fn next(&mut self) -> Result<Option<Heard<'_>>> {
        loop {
            let Some(found) = protocol::parse(&self.input[self.at..self.end])? else { return Ok(None) };
            let input = &self.input[self.at..];
            self.at += found.length;
            match found.op {
                Op::Ping => self.out.extend_from_slice(b"PONG\r\n"),
                Op::Pong => self.pongs += 1,
                Op::Ok => {}
                Op::Info(text) => {
                    if let Ok(info) = serde_json::from_slice(&input[text]) {
                        self.info = info;
                    }
                }
                Op::Complaint(text) => {
                    return Ok(Some(Heard::Complaint(std::str::from_utf8(&input[text]).unwrap_or(""))));
                }
                Op::Message { subject, reply, headers, body } => {
                    return Ok(Some(Heard::Message(Message {
                        subject: &input[subject],
                        reply: &input[reply],
                        headers: &input[headers],
                        body: &input[body],
                    })));
                }
            }
        }
    }

    /// Whether the server has answered a PING.
    pub(crate) fn has_heard_pong(&self) -> bool {
        self.pongs > 0
    }

    /// Adds raw bytes, for the handshake.
    pub(crate) fn push(&mut self, bytes: &[u8]) {
        self.out.extend_from_slice(bytes);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(input: &[u8]) -> Link {
        let (near, _far) = tokio::io::duplex(64);
        let mut link = Link::new(Box::new(near), ServerInfo::default());
        feed(&mut link, input);
        link
    }

    fn feed(link: &mut Link, bytes: &[u8]) {
        link.make_room();
        link.input[link.end..link.end + bytes.len()].copy_from_slice(bytes);
        link.end += bytes.len();
    }

    fn runtime() -> tokio::runtime::Runtime {
        tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
    }

    #[test]
    fn messages_are_cut_out_of_the_bytes_as_they_come() {
        let _guard = runtime();
        let whole =
            b"PING\r\nMSG a.1 1 2\r\nhi\r\nHMSG b 1 r 12 14\r\nNATS/1.0\r\n\r\nxy\r\n-ERR 'no'\r\nMSG c 1 0\r\n\r\n";
        let mut seen = Vec::new();
        let mut link = link(b"");
        for byte in whole {
            feed(&mut link, &[*byte]);
            while let Some(heard) = link.next().expect("legal") {
                seen.push(match heard {
                    Heard::Complaint(text) => text.trim().to_owned(),
                    Heard::Message(m) => {
                        format!("{}|{}|{}", String::from_utf8_lossy(m.subject), m.headers.len(), m.body.len())
                    }
                });
            }
        }
        assert_eq!(seen, ["a.1|0|2", "b|12|2", "'no'", "c|0|0"]);
        assert_eq!(link.out, b"PONG\r\n");
    }

    #[test]
    fn a_message_longer_than_the_buffer_is_read_whole() {
        let mut link = link(b"");
        let body = vec![b'x'; 3 * READ_BYTES];
        let whole = [format!("MSG a 1 {}\r\n", body.len()).as_bytes(), &body, b"\r\nPING\r\n"].concat();
        for chunk in whole.chunks(5_000) {
            feed(&mut link, chunk);
            while let Some(heard) = link.next().expect("legal") {
                assert!(matches!(heard, Heard::Message(message) if message.body == body));
            }
        }
        assert_eq!((link.at, link.out.as_slice()), (link.end, &b"PONG\r\n"[..]));
    }
}
