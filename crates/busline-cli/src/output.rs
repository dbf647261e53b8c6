//! The only place that prints: data to stdout, talk to stderr.

use std::fmt::Display;
use std::io::{self, BufWriter, IsTerminal, Write};

use busline::{Error, ErrorKind, Result};
use indicatif::{ProgressBar, ProgressStyle};
use serde::Serialize;

use crate::printable::{printable, printable_json};

/// How data is written.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Form {
    /// One JSON object a line.
    Json,
    /// Lines to read.
    Text,
}

/// Notes on single events that are shown; all are counted.
pub(crate) const NOTES_MAX: u64 = 20;

/// Where a command puts its data and its talk.
///
/// Once nobody reads stdout any more, data is dropped in silence: a broken pipe is success.
pub(crate) struct Output {
    stdout: BufWriter<Box<dyn Write>>,
    form: Form,
    is_terminal: bool,
    is_gone: bool,
    bar: ProgressBar,
    notes: u64,
}

impl Output {
    /// On the process's own stdout and stderr.
    pub(crate) fn new(form: Form) -> Self {
        let stdout = io::stdout();
        let is_terminal = stdout.is_terminal();
        Self {
            stdout: BufWriter::with_capacity(BUFFER_BYTES, Box::new(stdout)),
            form,
            is_terminal,
            is_gone: false,
            bar: ProgressBar::hidden(),
            notes: 0,
        }
    }

    pub(crate) fn form(&self) -> Form {
        self.form
    }

    /// Writes data as this output does, on any thread.
    pub(crate) fn encoder(&self) -> Encoder {
        Encoder { form: self.form, is_terminal: self.is_terminal }
    }

    /// Writes one piece of data: as one line of JSON, or as its text, which may have several lines.
    ///
    /// # Errors
    /// `Unavailable/Output` if stdout takes no more for another reason than a broken pipe.
    pub(crate) fn data<T: Serialize + Display>(&mut self, data: &T) -> Result<()> {
        let bytes = self.encoder().encode(data)?;
        self.write(|stdout| stdout.write_all(&bytes))
    }

    /// Writes bytes as they are.
    pub(crate) fn raw(&mut self, bytes: &[u8]) -> Result<()> {
        self.write(|stdout| stdout.write_all(bytes))
    }

    /// Hands everything over to whoever reads stdout.
    pub(crate) fn flush(&mut self) -> Result<()> {
        self.write(io::Write::flush)
    }

    /// Whether nobody reads stdout any more.
    pub(crate) fn is_gone(&self) -> bool {
        self.is_gone
    }

    /// Says something on stderr.
    pub(crate) fn say(&self, text: &str) {
        self.bar.suspend(|| say(text));
    }

    /// Says something about one event; after [`NOTES_MAX`] of them only that there are more.
    pub(crate) fn note(&mut self, text: &str) {
        self.note_or(text, "further events are only counted; --json shows each");
    }

    /// The same, with what is said in place of the first note that is too many.
    pub(crate) fn note_or(&mut self, text: &str, further: &str) {
        self.notes += 1;
        if self.notes <= NOTES_MAX {
            self.say(text);
        } else if self.notes == NOTES_MAX + 1 {
            self.say(further);
        }
    }

    /// Shows a bar, if stderr is a terminal and no data comes in between.
    pub(crate) fn start_progress(&mut self, bytes: Option<u64>) {
        if !io::stderr().is_terminal() || (self.is_terminal && self.form == Form::Json) {
            return;
        }
        self.bar = match bytes {
            Some(bytes) => ProgressBar::new(bytes).with_style(style("{wide_bar} {percent:>3} %  {msg}")),
            None => ProgressBar::new_spinner().with_style(style("{spinner} {msg}")),
        };
    }

    pub(crate) fn progress(&self, bytes: u64, settled: u64) {
        if !self.bar.is_hidden() {
            self.bar.set_position(bytes);
            self.bar.set_message(format!("{settled} settled"));
        }
    }

    pub(crate) fn end_progress(&mut self) {
        self.bar.finish_and_clear();
        self.bar = ProgressBar::hidden();
    }

    fn write(&mut self, write: impl FnOnce(&mut BufWriter<Box<dyn Write>>) -> io::Result<()>) -> Result<()> {
        if self.is_gone {
            return Ok(());
        }
        let stdout = &mut self.stdout;
        match if self.is_terminal { self.bar.suspend(|| write(stdout)) } else { write(stdout) } {
            Err(error) if error.kind() == io::ErrorKind::BrokenPipe => {
                self.is_gone = true;
                Ok(())
            }
            Err(error) => {
                self.is_gone = true;
                let error = Error::new(ErrorKind::Unavailable, "Output").because(error);
                Err(error.next("see why stdout takes no more").at("print", "stdout"))
            }
            Ok(()) => Ok(()),
        }
    }
}

/// How an output writes data.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Encoder {
    pub(crate) form: Form,
    is_terminal: bool,
}

impl Encoder {
    /// The bytes of one piece of data, with its line end.
    pub(crate) fn encode<T: Serialize + Display>(self, data: &T) -> Result<Vec<u8>> {
        let mut bytes = match self.form {
            Form::Json => self.json(data)?,
            Form::Text => text(data).into_bytes(),
        };
        bytes.push(b'\n');
        Ok(bytes)
    }

    fn json<T: Serialize>(self, data: &T) -> Result<Vec<u8>> {
        let json = serde_json::to_string(data)
            .map_err(|error| Error::new(ErrorKind::Internal, "Encoding").because(error).next("report this"))?;
        let shown = if self.is_terminal { printable_json(&json).into_owned() } else { json };
        Ok(shown.into_bytes())
    }
}

impl Drop for Output {
    /// What is left of a broken pipe must not be tried again.
    fn drop(&mut self) {
        let _ = self.flush();
    }
}

const BUFFER_BYTES: usize = 64 * 1024;

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_bar())
}

/// The text of some data; only its line ends are taken as they are.
fn text(data: &impl Display) -> String {
    data.to_string().split('\n').map(printable).collect::<Vec<_>>().join("\n")
}

/// Says something on stderr; if nobody hears it, there is nobody left to tell.
fn say(text: &str) {
    let _ = writeln!(io::stderr(), "{}", printable(text));
}

/// Says why the command failed.
pub(crate) fn say_error(error: &Error) {
    say(&format!("busline: {error}"));
}

/// Prints the help or the version that was asked for.
pub(crate) fn print_help(help: &clap::Error) {
    let _ = help.print();
}
