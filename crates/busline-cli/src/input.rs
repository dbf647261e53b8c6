//! Lines from a file or stdin, of bounded size, read on a thread of their own.

use std::fs::File;
use std::io::{self, Read};

use busline::{Error, ErrorKind, Result};
use bytes::{Bytes, BytesMut};
use tokio::sync::mpsc;

/// Longest line, in bytes: twice the largest record, since escapes and white space take room only here.
pub(crate) const LINE_BYTES_MAX: usize = 2 * 1024 * 1024;

/// What one read asks for.
const READ_BYTES: usize = 64 * 1024;

/// Chunks that wait between the reader and whoever publishes.
const CHUNKS_WAITING_MAX: usize = 4;

/// Where lines come from, opened.
pub(crate) struct Input {
    source: Box<dyn Read + Send>,
    /// The size of a regular file; it may grow meanwhile.
    pub(crate) bytes: Option<u64>,
}

impl Input {
    /// Opens a file, or stdin for `-`.
    ///
    /// # Errors
    /// `NotFound/File`; `Denied/File` for a folder and for what may not be read.
    pub(crate) fn open(path: &str) -> Result<Self> {
        if path == "-" {
            return Ok(Self { source: Box::new(io::stdin()), bytes: None });
        }
        Self::file(path).map_err(|error| error.at("read", path))
    }

    fn file(path: &str) -> Result<Self> {
        let file = File::open(path).map_err(|error| match error.kind() {
            io::ErrorKind::NotFound => {
                Error::new(ErrorKind::NotFound, "File").cause("no such file").next("correct the path")
            }
            _ => Error::new(ErrorKind::Denied, "File").because(error).next("grant access to the file"),
        })?;
        let found = file.metadata().map_err(unreadable)?;
        if found.is_dir() {
            return Err(Error::new(ErrorKind::Denied, "File").cause("it is a folder").next("name a file"));
        }
        Ok(Self { source: Box::new(file), bytes: found.is_file().then_some(found.len()) })
    }

    /// Starts reading; the chunks come until the end of the input or the first error.
    ///
    /// A read of stdin cannot be interrupted, so the thread is left alone: it ends with its next chunk once nobody takes
    /// chunks, or with the process.
    pub(crate) fn start(self) -> mpsc::Receiver<Result<Chunk>> {
        let (sender, receiver) = mpsc::channel(CHUNKS_WAITING_MAX);
        let mut lines = Lines::new(self.source);
        std::thread::spawn(move || {
            while let Some(chunk) = lines.read_chunk().transpose() {
                let failed = chunk.is_err();
                if sender.blocking_send(chunk.map_err(unreadable)).is_err() || failed {
                    break;
                }
            }
        });
        receiver
    }
}

fn unreadable(error: io::Error) -> Error {
    Error::new(ErrorKind::Unavailable, "Input").because(error).next("check the input and publish the rest")
}

/// The lines that one read made complete.
#[derive(Debug)]
pub(crate) struct Chunk {
    pub(crate) lines: Vec<Line>,
    /// Bytes of the input read by then.
    pub(crate) bytes_read: u64,
}

/// One line without its end.
#[derive(Debug)]
pub(crate) struct Line {
    /// Counted from 1.
    pub(crate) number: u64,
    /// The line, or `TooLarge/Record`.
    pub(crate) content: Result<Bytes>,
}

/// Splits what it reads; at most one line and one read are held.
struct Lines<R> {
    source: R,
    read: Box<[u8]>,
    /// The beginning of a line whose end was not read yet.
    begun: BytesMut,
    /// Bytes of a line over the limit, which are counted and not kept.
    passed_over: Option<u64>,
    number: u64,
    bytes_read: u64,
    ended: bool,
}

impl<R: Read> Lines<R> {
    fn new(source: R) -> Self {
        Self {
            source,
            read: vec![0; READ_BYTES].into(),
            begun: BytesMut::new(),
            passed_over: None,
            number: 0,
            bytes_read: 0,
            ended: false,
        }
    }

    /// The next complete lines, at least one; `None` at the end.
    fn read_chunk(&mut self) -> io::Result<Option<Chunk>> {
        let mut lines = Vec::new();
        while lines.is_empty() && !self.ended {
            match self.source.read(&mut self.read) {
                Ok(0) => {
                    self.ended = true;
                    if !self.begun.is_empty() || self.passed_over.is_some() {
                        lines.push(self.finish_line());
                    }
                }
                Ok(length) => self.split(length, &mut lines),
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok((!lines.is_empty()).then_some(Chunk { lines, bytes_read: self.bytes_read }))
    }

    fn split(&mut self, length: usize, lines: &mut Vec<Line>) {
        self.bytes_read += length as u64;
        let mut from = 0;
        while let Some(at) = memchr::memchr(b'\n', &self.read[from..length]) {
            self.take(from, from + at);
            lines.push(self.finish_line());
            from += at + 1;
        }
        self.take(from, length);
    }

    /// Adds a piece of the last read to the line that has begun.
    fn take(&mut self, from: usize, to: usize) {
        let piece = &self.read[from..to];
        match &mut self.passed_over {
            Some(bytes) => *bytes += piece.len() as u64,
            // One more for the carriage return, which is not part of the line.
            None if self.begun.len() + piece.len() > LINE_BYTES_MAX + 1 => {
                self.passed_over = Some((self.begun.len() + piece.len()) as u64);
                self.begun = BytesMut::new();
            }
            None => self.begun.extend_from_slice(piece),
        }
    }

    fn finish_line(&mut self) -> Line {
        self.number += 1;
        let mut line = self.begun.split();
        if line.last() == Some(&b'\r') {
            line.truncate(line.len() - 1);
        }
        let bytes = self.passed_over.take().unwrap_or(line.len() as u64);
        let content = if bytes > LINE_BYTES_MAX as u64 { Err(too_large(bytes)) } else { Ok(line.freeze()) };
        Line { number: self.number, content }
    }
}

fn too_large(bytes: u64) -> Error {
    Error::new(ErrorKind::TooLarge, "Record")
        .cause(format!("a line of {bytes} bytes where {LINE_BYTES_MAX} are allowed"))
        .next("store the data elsewhere and publish a reference to it")
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Gives a few bytes at a time.
    struct Dribble<'a>(&'a [u8], usize);

    impl Read for Dribble<'_> {
        fn read(&mut self, out: &mut [u8]) -> io::Result<usize> {
            let length = self.1.min(self.0.len()).min(out.len());
            out[..length].copy_from_slice(&self.0[..length]);
            self.0 = &self.0[length..];
            Ok(length)
        }
    }

    fn lines_of(source: impl Read) -> Vec<(u64, std::result::Result<String, String>)> {
        let mut lines = Lines::new(source);
        let mut found = Vec::new();
        while let Some(chunk) = lines.read_chunk().expect("reads") {
            for line in chunk.lines {
                let content = match line.content {
                    Ok(bytes) => Ok(String::from_utf8_lossy(&bytes).into_owned()),
                    Err(error) => Err(error.to_string()),
                };
                found.push((line.number, content));
            }
        }
        found
    }

    #[track_caller]
    fn splits(text: &str, expected: &[&str]) {
        for step in [1, 2, 3, 1_000] {
            let found = lines_of(Dribble(text.as_bytes(), step));
            let expected: Vec<_> = (1..).zip(expected.iter().map(|line| Ok((*line).to_owned()))).collect();
            assert_eq!(found, expected, "{text:?} by {step} bytes");
        }
    }

    #[test]
    fn every_kind_of_line_end_is_taken_off() {
        splits("", &[]);
        splits("a", &["a"]);
        splits("a\n", &["a"]);
        splits("a\r\nb\nc\r", &["a", "b", "c"]);
        splits("\n\r\n\n", &["", "", ""]);
        splits("a\rb\n", &["a\rb"]);
    }

    #[test]
    fn a_line_at_the_limit_passes_and_one_above_does_not() {
        let limit = "x".repeat(LINE_BYTES_MAX);
        for end in ["", "\n", "\r\n"] {
            assert_eq!(lines_of(format!("{limit}{end}").as_bytes()), [(1, Ok(limit.clone()))]);
        }
        for end in ["", "\n", "\r\n"] {
            let found = lines_of(format!("{limit}x{end}").as_bytes());
            assert!(found[0].1.as_ref().is_err_and(|error| error.starts_with("TooLarge/Record: a line of 209715")));
        }
    }

    #[test]
    fn a_line_of_100_mb_is_not_held_and_the_rest_goes_on() {
        let source = io::Cursor::new("a\n").chain(io::repeat(b'x').take(100_000_000)).chain(io::Cursor::new("\nb\n"));
        let mut lines = Lines::new(source);
        let mut held_max = 0;
        let mut found = Vec::new();
        while let Some(chunk) = lines.read_chunk().expect("reads") {
            held_max = held_max.max(lines.begun.capacity());
            found.extend(chunk.lines);
        }
        assert!(held_max <= 2 * LINE_BYTES_MAX, "{held_max} bytes held");
        assert_eq!(found[0].content.as_ref().expect("first"), "a");
        let error = found[1].content.as_ref().expect_err("second");
        assert_eq!(
            error.to_string(),
            "TooLarge/Record: a line of 100000000 bytes where 2097152 are allowed; store the data elsewhere and publish \
             a reference to it"
        );
        assert_eq!(found[2].content.as_ref().expect("third"), "b");
        assert_eq!(found[2].number, 3);
    }
}
