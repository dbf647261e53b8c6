//! The command's thread: writes what handlers have for it.

use busline::Error;
use tokio::sync::oneshot;

use crate::output::Output;

/// What a handler has for the command's thread.
pub(super) enum Said {
    Line(Line),
    Note(String),
    /// No event can be handled any more.
    Unable(Error),
}

/// An event's line; whoever waits for it has gone if it is closed.
pub(super) struct Line {
    pub(super) bytes: Vec<u8>,
    pub(super) written: oneshot::Sender<()>,
}

/// Writes lines, and says so to those who wait for it.
pub(super) struct Lines<'a> {
    pub(super) output: &'a mut Output,
    /// Lines that may still be written.
    pub(super) left: Option<u64>,
    /// Why no line is written any more, other than a broken pipe.
    pub(super) broken: Option<Error>,
}

impl Lines<'_> {
    /// Writes what has come together and flushes it; only then are the events handled.
    pub(super) fn write(&mut self, said: &mut Vec<Said>) {
        let mut waiting = Vec::new();
        for said in said.drain(..) {
            match said {
                Said::Line(line) => self.write_line(line, &mut waiting),
                Said::Note(note) => self.output.note_or(&note, "further failed attempts are not shown"),
                Said::Unable(error) => drop(self.broken.get_or_insert(error)),
            }
        }
        if waiting.is_empty() {
            return;
        }
        if let Err(error) = self.output.flush() {
            self.broken.get_or_insert(error);
        }
        // Of lines that are lost nobody knows how far they came, so their events are not handled.
        if self.takes_more() {
            for written in waiting {
                // Whoever was broken off in this moment has its event again later.
                let _ = written.send(());
            }
        }
    }

    fn write_line(&mut self, line: Line, waiting: &mut Vec<oneshot::Sender<()>>) {
        // An event that was broken off meanwhile comes again, here or elsewhere.
        if line.written.is_closed() || self.left == Some(0) || !self.takes_more() {
            return;
        }
        if let Err(error) = self.output.raw(&line.bytes) {
            self.broken.get_or_insert(error);
            return;
        }
        self.left = self.left.map(|left| left - 1);
        waiting.push(line.written);
    }

    fn takes_more(&self) -> bool {
        self.broken.is_none() && !self.output.is_gone()
    }

    pub(super) fn is_finished(&self) -> bool {
        self.left == Some(0) || !self.takes_more()
    }
}
