//! The connection of a sink's task: opened, lost and opened again, with what keeps it from moving.

use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use busline_core::{BoxFuture, Error, ErrorKind, Result};
use tokio::time::{Instant, Sleep, sleep};

use super::door::Door;
use super::ground::Ground;
use crate::error::unreachable;
use crate::link::Link;

/// Pause before the server is asked again for what it refused, and before a lost connection is replaced.
const PAUSE_MIN: Duration = Duration::from_millis(20);
const PAUSE_MAX: Duration = Duration::from_millis(500);

/// How often clocks are looked at.
const TICK: Duration = Duration::from_millis(50);
const TICK_IDLE: Duration = Duration::from_secs(1);

/// How often the topic's identity is checked while there is something to send.
const IDENTITY: Duration = Duration::from_secs(1);

/// Longest wait for an answer before the connection counts as broken.
pub(crate) const ANSWER_MAX: Duration = Duration::from_secs(5);

pub(crate) struct Session {
    pub(crate) ground: Arc<Ground>,
    pub(crate) door: Arc<Door>,
    pub(crate) link: Option<Link>,
    dialing: Option<BoxFuture<'static, Result<Link>>>,
    checking: Option<BoxFuture<'static, Result<()>>>,
    checked: Instant,
    sent_since_check: bool,
    pause: Duration,
    held: Option<Pin<Box<Sleep>>>,
    trouble: Option<Error>,
    clock: Pin<Box<Sleep>>,
}

/// What a task woke up for.
#[derive(Debug)]
pub(crate) enum Woke {
    /// Something was read.
    Heard,
    /// The connection is gone.
    Broken(Error),
    /// There is a connection again.
    Dialed,
    /// The topic was deleted, or another stands under its name.
    Gone(Error),
    /// Anything else that is worth a look.
    Stirred,
}

impl Session {
    pub(crate) fn new(ground: Arc<Ground>, door: Arc<Door>, link: Link) -> Self {
        Self {
            ground,
            door,
            link: Some(link),
            dialing: None,
            checking: None,
            checked: Instant::now(),
            sent_since_check: false,
            pause: PAUSE_MIN,
            held: None,
            trouble: None,
            clock: Box::pin(sleep(TICK)),
        }
    }

    /// Whether clocks are to be looked at; they are wound up again.
    pub(crate) fn has_ticked(&mut self, now: Instant, idle: bool) -> bool {
        let ticked = self.clock.is_elapsed();
        if ticked {
            let rests = idle && self.door.closing().is_none();
            self.clock.as_mut().reset(now + if rests { TICK_IDLE } else { TICK });
        }
        ticked
    }

    /// Waits for the next thing to do.
    ///
    /// # Cancel safety
    /// Nothing is lost.
    pub(crate) async fn wait(&mut self) -> Woke {
        let door = Arc::clone(&self.door);
        tokio::select! {
            biased;
            driven = drive(&mut self.link) => match driven {
                Ok(()) => Woke::Heard,
                Err(error) => Woke::Broken(unreachable("the connection broke").because(error)),
            },
            dialed = poll_option(&mut self.dialing) => self.dialed(dialed),
            checked = poll_option(&mut self.checking) => self.topic_checked(checked),
            () = door.rung() => {
                // A batch has a deadline to keep, and so has a close: the long rest is over.
                let soon = Instant::now() + TICK;
                if self.clock.deadline() > soon {
                    self.clock.as_mut().reset(soon);
                }
                Woke::Stirred
            }
            () = poll_sleep(&mut self.held) => {
                self.held = None;
                Woke::Stirred
            }
            () = self.clock.as_mut() => Woke::Stirred,
        }
    }

    /// Whether messages may go out now.
    pub(crate) fn may_send(&self) -> bool {
        self.held.is_none() && self.link.as_ref().is_some_and(Link::has_room)
    }

    pub(crate) fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// Something was sent: the topic's identity is to be looked at now and then.
    pub(crate) fn has_sent(&mut self) {
        self.sent_since_check = true;
    }

    /// Something was stored: nothing is wrong.
    pub(crate) fn has_moved(&mut self) {
        self.pause = PAUSE_MIN;
        if self.trouble.is_some() {
            self.set_trouble(None);
        }
    }

    pub(crate) fn trouble(&self) -> Option<&Error> {
        self.trouble.as_ref()
    }

    pub(crate) fn set_trouble(&mut self, trouble: Option<Error>) {
        self.door.set_trouble(trouble.clone());
        self.trouble = trouble;
    }

    /// Sends nothing for a moment; twice as long each time until something is stored again.
    pub(crate) fn hold(&mut self) {
        if self.held.is_none() {
            self.held = Some(Box::pin(sleep(self.pause)));
            self.pause = (self.pause * 2).min(PAUSE_MAX);
        }
    }

    /// The same, and asks whether the topic is still there.
    pub(crate) fn hold_and_check(&mut self) {
        self.hold();
        self.check_topic();
    }

    /// Gives the connection up with everything in its buffers, and opens another one.
    pub(crate) fn lose_link(&mut self, error: Error) {
        tracing::debug!("a sink of {} lost its connection: {error}", self.ground.topic.name);
        self.set_trouble(Some(error));
        self.link = None;
        self.dial(Duration::ZERO);
    }

    fn dial(&mut self, pause: Duration) {
        let ground = Arc::clone(&self.ground);
        self.dialing = Some(Box::pin(async move {
            sleep(pause).await;
            ground.dial().await
        }));
    }

    fn dialed(&mut self, dialed: Result<Link>) -> Woke {
        self.dialing = None;
        match dialed {
            Ok(link) => {
                self.link = Some(link);
                self.set_trouble(None);
                Woke::Dialed
            }
            Err(error) => {
                self.set_trouble(Some(error));
                self.dial(self.pause);
                self.pause = (self.pause * 2).min(PAUSE_MAX);
                Woke::Stirred
            }
        }
    }

    /// Asks whether the topic is still the one that the sink was opened on.
    pub(crate) fn check_topic(&mut self) {
        if self.checking.is_none() {
            self.checking = Some(Box::pin(Arc::clone(&self.ground).check_topic()));
            self.sent_since_check = false;
            self.checked = Instant::now();
        }
    }

    fn topic_checked(&mut self, checked: Result<()>) -> Woke {
        self.checking = None;
        match checked {
            Ok(()) => {}
            Err(error) if error.kind() == ErrorKind::NotFound => {
                self.set_trouble(Some(error.clone()));
                return Woke::Gone(error);
            }
            Err(error) => self.set_trouble(Some(error)),
        }
        Woke::Stirred
    }

    /// Asks a silent server for a sign of life, and for the topic's identity now and then.
    ///
    /// # Errors
    /// The connection is to be given up.
    pub(crate) fn look_at_clocks(&mut self, now: Instant) -> Result<()> {
        if self.sent_since_check && now.saturating_duration_since(self.checked) >= IDENTITY {
            self.check_topic();
        }
        let alive = self.link.as_mut().map_or(Ok(()), |link| link.check_alive(now));
        alive.map_err(|error| unreachable("the server is silent").because(error))
    }

    /// Whether the sink is closed and its time is over, or `settled`.
    pub(crate) fn is_over(&self, now: Instant, settled: bool) -> bool {
        self.door.closing().is_some_and(|by| settled || by <= now)
    }
}

/// Whether an answer is missing for too long.
pub(crate) fn is_long(since: Instant, now: Instant) -> bool {
    now.saturating_duration_since(since) > ANSWER_MAX
}

async fn drive(link: &mut Option<Link>) -> std::io::Result<()> {
    match link {
        Some(link) => link.drive().await,
        None => std::future::pending().await,
    }
}

/// Awaits a future that may not be there.
async fn poll_option<T>(future: &mut Option<BoxFuture<'static, T>>) -> T {
    std::future::poll_fn(|cx| poll_in(future, cx)).await
}

/// Polls a future that may not be there.
pub(crate) fn poll_in<T>(future: &mut Option<BoxFuture<'static, T>>, cx: &mut Context<'_>) -> Poll<T> {
    future.as_mut().map_or(Poll::Pending, |future| future.as_mut().poll(cx))
}

async fn poll_sleep(sleep: &mut Option<Pin<Box<Sleep>>>) {
    match sleep {
        Some(sleep) => sleep.as_mut().await,
        None => std::future::pending().await,
    }
}
