//! What is done for one event: its program, if there is one, and its line.

use std::sync::Arc;

use busline::{Delivery, Error, ErrorKind, Handler, HandlerError, Result};
use tokio::sync::{mpsc, oneshot};

use super::lines::{Line, Said};
use crate::commands::subscribe::{Content, RecordView};
use crate::event::{HeaderText, one_line};
use crate::exec::{Exec, Failure};
use crate::interrupt::Stop;
use crate::output::{Encoder, Form};
use crate::watched::{Step, Watch};

/// Handles an event: runs the program, if there is one, and has the line written.
pub(super) struct Deliver {
    pub(super) encoder: Encoder,
    pub(super) exec: Option<Exec>,
    pub(super) attempts_max: u32,
    pub(super) watch: Arc<Watch>,
    pub(super) said: mpsc::Sender<Said>,
    pub(super) stop: Stop,
}

impl Handler for Deliver {
    async fn handle(&self, delivery: Delivery) -> std::result::Result<(), HandlerError> {
        let _handling = self.stop.handling();
        let run = Run::begin(&self.watch, delivery)?;
        let outcome = self.deliver(&run.delivery).await;
        run.end(match &outcome {
            Ok(()) => Step::Handled,
            Err(Failure::TimedOut) => Step::TimedOut,
            Err(_) => Step::Failed,
        })?;
        outcome.map_err(|failure| failure.verdict())
    }
}

impl Deliver {
    async fn deliver(&self, delivery: &Delivery) -> std::result::Result<(), Failure> {
        if let Some(exec) = &self.exec
            && let Err(failure) = self.execute(exec, delivery).await
        {
            self.tell(delivery, &failure).await;
            return Err(failure);
        }
        let bytes = self.line(delivery).map_err(Failure::Unable)?;
        let (written, is_written) = oneshot::channel();
        let line = Said::Line(Line { bytes, written });
        self.said.send(line).await.map_err(|_| Failure::Unable(not_written()))?;
        is_written.await.map_err(|_| Failure::Unable(not_written()))
    }

    async fn execute(&self, exec: &Exec, delivery: &Delivery) -> std::result::Result<(), Failure> {
        let envelope = one_line(&delivery.envelope, delivery.topic()).map_err(Failure::Unable)?;
        exec.run(delivery, format!("{envelope}\n").as_bytes()).await
    }

    fn line(&self, delivery: &Delivery) -> Result<Vec<u8>> {
        let Delivery { envelope, partition, offset, attempt, .. } = delivery;
        self.encoder.encode(&RecordView {
            topic: delivery.topic().as_str(),
            partition: *partition,
            offset: *offset,
            attempt: *attempt,
            headers: envelope.headers.iter().map(HeaderText::of).collect(),
            content: match self.encoder.form {
                Form::Json => Content::Json { envelope: one_line(envelope, delivery.topic())? },
                Form::Text => Content::Text(Box::new(envelope.clone())),
            },
        })
    }

    async fn tell(&self, delivery: &Delivery, failure: &Failure) {
        let Delivery { envelope, partition, offset, attempt, .. } = delivery;
        let why = match failure {
            Failure::Exit(status) => status.to_string(),
            Failure::TimedOut => "killed, it ran too long".into(),
            Failure::Unable(error) => return drop(self.said.send(Said::Unable(error.clone())).await),
        };
        let (topic, key, max) = (delivery.topic(), &envelope.aggregate_id, self.attempts_max);
        let note = format!("{topic}/{partition}/{offset} key {key}: attempt {attempt} of {max} failed: {why}");
        drop(self.said.send(Said::Note(note)).await);
    }
}

fn not_written() -> Error {
    Error::new(ErrorKind::Closed, "Output").cause("stdout takes no more").next("read all of it")
}

/// One run of the handler, in the history; one that is dropped before its end was cancelled.
struct Run<'a> {
    watch: &'a Watch,
    delivery: Delivery,
    is_open: bool,
}

impl<'a> Run<'a> {
    fn begin(watch: &'a Watch, delivery: Delivery) -> Result<Self> {
        watch.step(&delivery, Step::Begun)?;
        Ok(Self { watch, delivery, is_open: true })
    }

    fn end(mut self, step: Step) -> Result<()> {
        self.is_open = false;
        self.watch.step(&self.delivery, step)
    }
}

impl Drop for Run<'_> {
    fn drop(&mut self) {
        if self.is_open {
            // Nobody is left to be told; the history then lacks the end of a run that counts for nothing.
            drop(self.watch.step(&self.delivery, Step::Cancelled));
        }
    }
}
