//! A proxy in front of a broker, which can be cut and closed, and can be slow or behind.
//!
//! It reads the broker's answers whole and puts its own port where the broker names its own, so that clients stay with it.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{Shutdown, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Condvar, Mutex};
use std::thread;
use std::time::Duration;

/// Longest request or answer that is passed on, in bytes.
const MESSAGE_MAX: usize = 64 << 20;

pub(crate) struct Proxy {
    port: u16,
    shared: Arc<Shared>,
}

struct Shared {
    broker: u16,
    /// Nobody is let through.
    shut: AtomicBool,
    /// Answers of the broker are thrown away.
    swallows: AtomicBool,
    /// What each answer takes longer, in milliseconds.
    slower_ms: AtomicU64,
    /// Questions for a group's coordinator are held up, and what follows on their connections.
    hides_coordinators: Mutex<bool>,
    shown: Condvar,
    /// Answers to deletions of topics are thrown away.
    loses_deletions: AtomicBool,
    /// How many answers about topics are to be those of before.
    outdated: AtomicUsize,
    /// The last answer to each question about topics, by the question.
    answered: Mutex<HashMap<Vec<u8>, Vec<u8>>>,
    ended: AtomicBool,
    open: Mutex<Vec<TcpStream>>,
}

/// Requests on their way on one connection, by correlation id.
type Asked = Mutex<HashMap<[u8; 4], Request>>;

impl Proxy {
    /// In front of the broker at this port of the loopback.
    pub(crate) fn start(broker: u16) -> io::Result<Self> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let port = listener.local_addr()?.port();
        let shared = Arc::new(Shared {
            broker,
            shut: AtomicBool::new(false),
            swallows: AtomicBool::new(false),
            slower_ms: AtomicU64::new(0),
            hides_coordinators: Mutex::default(),
            shown: Condvar::new(),
            loses_deletions: AtomicBool::new(false),
            outdated: AtomicUsize::new(0),
            answered: Mutex::default(),
            ended: AtomicBool::new(false),
            open: Mutex::default(),
        });
        let accepting = Arc::clone(&shared);
        thread::spawn(move || accepting.accept(&listener, port));
        Ok(Self { port, shared })
    }

    pub(crate) fn bootstrap(&self) -> String {
        format!("127.0.0.1:{}", self.port)
    }

    /// Breaks every connection off, in the middle of whatever it carries.
    pub(crate) fn cut(&self) {
        self.shared.cut();
    }

    /// Breaks every connection off and takes no new one.
    pub(crate) fn shut(&self) {
        self.shared.shut.store(true, Ordering::SeqCst);
        self.shared.cut();
    }

    pub(crate) fn open(&self) {
        self.shared.shut.store(false, Ordering::SeqCst);
    }

    /// Whether the broker's answers are thrown away from now on: requests arrive all the same.
    pub(crate) fn swallow(&self, swallows: bool) {
        self.shared.swallows.store(swallows, Ordering::SeqCst);
    }

    /// Each answer takes so many milliseconds longer from now on, one after the other.
    pub(crate) fn slow_down(&self, ms: u64) {
        self.shared.slower_ms.store(ms, Ordering::SeqCst);
    }

    /// Whether questions for a group's coordinator are held up from now on. Those held reach the broker afterwards.
    pub(crate) fn hide_coordinators(&self, hides: bool) {
        *self.shared.hides_coordinators.lock().expect("no panic") = hides;
        self.shared.shown.notify_all();
    }

    /// Whether answers to deletions of topics are thrown away from now on: topics are deleted all the same.
    pub(crate) fn lose_deletions(&self, loses: bool) {
        self.shared.loses_deletions.store(loses, Ordering::SeqCst);
    }

    /// Gives the next so many questions about topics the answer that the same question had before, as a broker that is
    /// behind would.
    pub(crate) fn be_outdated(&self, answers: usize) {
        self.shared.outdated.store(answers, Ordering::SeqCst);
    }

    /// How many such answers are left to give.
    pub(crate) fn outdated(&self) -> usize {
        self.shared.outdated.load(Ordering::SeqCst)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::SeqCst);
        self.shut();
        self.hide_coordinators(false);
        // Wakes the thread that accepts.
        drop(TcpStream::connect(("127.0.0.1", self.port)));
    }
}

impl Shared {
    fn accept(self: &Arc<Self>, listener: &TcpListener, port: u16) {
        for client in listener.incoming() {
            if self.ended.load(Ordering::SeqCst) {
                return;
            }
            let Ok(client) = client else { continue };
            if !self.shut.load(Ordering::SeqCst) {
                drop(self.connect(client, port));
            }
        }
    }

    fn connect(self: &Arc<Self>, client: TcpStream, port: u16) -> io::Result<()> {
        let broker = TcpStream::connect(("127.0.0.1", self.broker))?;
        client.set_nodelay(true)?;
        broker.set_nodelay(true)?;
        let mut open = self.open.lock().expect("no panic");
        open.retain(|stream| stream.peer_addr().is_ok());
        open.extend([client.try_clone()?, broker.try_clone()?]);
        drop(open);
        let (from_client, to_broker) = (client.try_clone()?, broker.try_clone()?);
        let asked = Arc::new(Asked::default());
        let (shared, asking) = (Arc::clone(self), Arc::clone(&asked));
        thread::spawn(move || {
            drop(shared.ask(&from_client, &to_broker, &asking));
            drop(to_broker.shutdown(Shutdown::Both));
        });
        let shared = Arc::clone(self);
        thread::spawn(move || {
            drop(shared.answer(&broker, &client, port, &asked));
            drop(client.shutdown(Shutdown::Both));
            drop(broker.shutdown(Shutdown::Both));
        });
        Ok(())
    }

    fn ask(&self, client: &TcpStream, mut broker: &TcpStream, asked: &Asked) -> io::Result<()> {
        loop {
            let message = read(client)?;
            let request = Request::of(&message);
            if request == Request::Coordinator {
                let hides = self.hides_coordinators.lock().expect("no panic");
                drop(self.shown.wait_while(hides, |hides| *hides).expect("no panic"));
            }
            if let Some(id) = message.get(8..12) {
                asked.lock().expect("no panic").insert(id.try_into().expect("four bytes"), request);
            }
            broker.write_all(&message)?;
        }
    }

    fn answer(&self, broker: &TcpStream, mut client: &TcpStream, port: u16, asked: &Asked) -> io::Result<()> {
        loop {
            let mut answer = read(broker)?;
            let request = answer.get(4..8).and_then(|id| asked.lock().expect("no panic").remove(id));
            if self.swallows.load(Ordering::SeqCst) {
                continue;
            }
            match request {
                Some(Request::Deletion) if self.loses_deletions.load(Ordering::SeqCst) => continue,
                Some(Request::Topics(question)) => answer = self.of_topics(question, answer),
                _ => {}
            }
            replace(&mut answer, self.broker, port);
            self.be_slow();
            client.write_all(&answer)?;
        }
    }

    #[expect(clippy::disallowed_methods, reason = "what it does is to be slow")]
    fn be_slow(&self) {
        thread::sleep(Duration::from_millis(self.slower_ms.load(Ordering::SeqCst)));
    }

    /// The broker's answer about topics, or the one before.
    fn of_topics(&self, question: Vec<u8>, answer: Vec<u8>) -> Vec<u8> {
        let mut answered = self.answered.lock().expect("no panic");
        if let Some(before) = answered.get(&question)
            && self.outdated.fetch_update(Ordering::SeqCst, Ordering::SeqCst, |left| left.checked_sub(1)).is_ok()
        {
            let mut before = before.clone();
            before[4..8].copy_from_slice(&answer[4..8]);
            return before;
        }
        answered.insert(question, answer.clone());
        answer
    }

    fn cut(&self) {
        for stream in self.open.lock().expect("no panic").drain(..) {
            drop(stream.shutdown(Shutdown::Both));
        }
    }
}

/// One request or answer whole, with its size before it.
fn read(mut stream: &TcpStream) -> io::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let length = u32::from_be_bytes(size) as usize;
    if length > MESSAGE_MAX {
        return Err(io::Error::other("not of Kafka's protocol"));
    }
    let mut message = vec![0; size.len() + length];
    message[..size.len()].copy_from_slice(&size);
    stream.read_exact(&mut message[size.len()..])?;
    Ok(message)
}

/// What a request asks for, as far as the proxy does something about it.
#[derive(Debug, PartialEq, Eq)]
enum Request {
    /// With all that tells it from other questions.
    Topics(Vec<u8>),
    Coordinator,
    Deletion,
    Other,
}

impl Request {
    /// # Source
    /// The Kafka protocol: size, key of the request, its version, correlation id, name of the client.
    fn of(message: &[u8]) -> Self {
        match message.get(4..6) {
            Some([0, 3]) => Self::Topics(message.get(12..).unwrap_or_default().to_vec()),
            Some([0, 10]) => Self::Coordinator,
            Some([0, 20]) => Self::Deletion,
            _ => Self::Other,
        }
    }
}

/// Puts one port in the place of the other wherever it follows the host.
fn replace(answer: &mut [u8], from: u16, to: u16) {
    const HOST: &[u8] = b"127.0.0.1";
    let mut at = 0;
    while let Some(found) = answer[at..].windows(HOST.len()).position(|bytes| bytes == HOST) {
        let place = at + found + HOST.len();
        if let Some(port) = answer.get_mut(place..place + 4)
            && *port == u32::from(from).to_be_bytes()
        {
            port.copy_from_slice(&u32::from(to).to_be_bytes());
        }
        at = place;
    }
}
