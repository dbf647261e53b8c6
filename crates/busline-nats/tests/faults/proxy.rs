//! A proxy on loopback that cuts connections after a number of bytes, or holds bytes back.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::OwnedReadHalf;
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Handle;
use tokio::sync::watch;
use tokio::task::{JoinHandle, JoinSet};

/// Stands between clients and a server. Ends with the value.
pub(crate) struct Proxy {
    port: u16,
    control: Arc<Control>,
    task: JoinHandle<()>,
}

struct Control {
    server: u16,
    /// Bytes towards the server that may still pass before the connection that carries the next one is cut.
    allowance: AtomicU64,
    cuts: AtomicU64,
    /// What was held back when a connection was cut is sent to the server some time later, over a connection that stays.
    late: AtomicBool,
    /// A cut connection stays on both sides, and nothing passes over it any more.
    half_open: AtomicBool,
    /// What the server says is lost.
    muted: AtomicBool,
    /// Nothing passes towards the server meanwhile.
    holding: watch::Sender<bool>,
    /// What was held back.
    held: Mutex<Vec<u8>>,
    /// Raised to cut every connection.
    epoch: watch::Sender<u64>,
}

/// The time by which late bytes are late.
const LATE: Duration = Duration::from_millis(150);

impl Proxy {
    pub(crate) async fn start(server: u16) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let port = listener.local_addr().expect("an address").port();
        let control = Arc::new(Control {
            server,
            allowance: AtomicU64::new(u64::MAX),
            cuts: AtomicU64::new(0),
            late: AtomicBool::new(false),
            half_open: AtomicBool::new(false),
            muted: AtomicBool::new(false),
            holding: watch::channel(false).0,
            held: Mutex::default(),
            epoch: watch::channel(0).0,
        });
        let accepting = Arc::clone(&control);
        let task = Handle::current().spawn(async move {
            // Ends what it carries when it ends itself.
            let mut carried = JoinSet::new();
            while let Ok((client, _)) = listener.accept().await {
                carried.spawn(carry(client, Arc::clone(&accepting)));
            }
        });
        Self { port, control, task }
    }

    pub(crate) fn port(&self) -> u16 {
        self.port
    }

    /// Cuts the connection that carries the byte after the next `bytes` towards the server.
    pub(crate) fn cut_after(&self, bytes: u64) {
        self.control.allowance.store(bytes, Ordering::Release);
    }

    /// Whether bytes beyond a cut still reach the server, late, over the old connection.
    pub(crate) fn let_late_bytes_through(&self, through: bool) {
        self.control.late.store(through, Ordering::Release);
    }

    /// Whether a cut is one that neither side notices, as when a machine between them is gone.
    pub(crate) fn leave_half_open(&self, half_open: bool) {
        self.control.half_open.store(half_open, Ordering::Release);
    }

    /// Loses what the server says from now on, until every connection is cut after this was called with `false`.
    pub(crate) fn mute(&self, mute: bool) {
        self.control.muted.store(mute, Ordering::Release);
    }

    /// Keeps what clients send until this is called with `false`.
    pub(crate) fn hold_back(&self, hold: bool) {
        self.control.holding.send_replace(hold);
    }

    /// Whether these bytes are among what was held back.
    pub(crate) fn has_held(&self, bytes: &[u8]) -> bool {
        let held = self.control.held.lock().unwrap_or_else(PoisonError::into_inner);
        held.windows(bytes.len()).any(|window| window == bytes)
    }

    /// Cuts every connection now.
    pub(crate) fn cut_all(&self) {
        self.control.epoch.send_modify(|epoch| *epoch += 1);
        self.control.cuts.fetch_add(1, Ordering::AcqRel);
    }

    pub(crate) fn cuts(&self) -> u64 {
        self.control.cuts.load(Ordering::Acquire)
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        self.cut_all();
        self.task.abort();
    }
}

async fn carry(client: TcpStream, control: Arc<Control>) {
    let Ok(server) = TcpStream::connect(("127.0.0.1", control.server)).await else { return };
    drop(client.set_nodelay(true));
    drop(server.set_nodelay(true));
    let (mut from_client, mut to_client) = client.into_split();
    let (mut from_server, mut to_server) = server.into_split();
    let mut epoch = control.epoch.subscribe();
    epoch.borrow_and_update();
    let mut holding = control.holding.subscribe();
    let mut kept = Vec::new();
    let mut up = vec![0_u8; 16 * 1024];
    let mut down = vec![0_u8; 64 * 1024];
    loop {
        tokio::select! {
            read = from_client.read(&mut up) => {
                let Ok(count @ 1..) = read else { return };
                if *holding.borrow() {
                    control.held.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(&up[..count]);
                    kept.extend_from_slice(&up[..count]);
                    continue;
                }
                if to_server.write_all(&std::mem::take(&mut kept)).await.is_err() {
                    return;
                }
                let passes = control.pass(count as u64);
                if to_server.write_all(&up[..passes]).await.is_err() {
                    return;
                }
                if passes < count && control.half_open.load(Ordering::Acquire) {
                    return swallow(from_client, from_server).await;
                }
                if passes < count {
                    // The client sees the end at once; what it sent after the cut may arrive all the same.
                    drop((from_client, to_client));
                    if control.late.load(Ordering::Acquire) {
                        tokio::time::sleep(LATE).await;
                        drop(to_server.write_all(&up[passes..count]).await);
                        tokio::time::sleep(LATE).await;
                    }
                    return;
                }
            }
            read = from_server.read(&mut down) => {
                let Ok(count @ 1..) = read else { return };
                if control.muted.load(Ordering::Acquire) {
                    continue;
                }
                if to_client.write_all(&down[..count]).await.is_err() {
                    return;
                }
            }
            _ = holding.changed() => {
                if !*holding.borrow() && to_server.write_all(&std::mem::take(&mut kept)).await.is_err() {
                    return;
                }
            }
            _ = epoch.changed() => {
                if control.half_open.load(Ordering::Acquire) {
                    swallow(from_client, from_server).await;
                }
                return;
            }
        }
    }
}

/// Takes what both sides send, until the client gives the connection up; the other halves are open until then.
async fn swallow(mut client: OwnedReadHalf, mut server: OwnedReadHalf) {
    let (mut up, mut down) = (vec![0_u8; 16 * 1024], vec![0_u8; 64 * 1024]);
    loop {
        tokio::select! {
            read = client.read(&mut up) => if !matches!(read, Ok(1..)) { return },
            read = server.read(&mut down) => if !matches!(read, Ok(1..)) { return },
        }
    }
}

impl Control {
    /// How many of these bytes may pass; fewer than all means a cut.
    fn pass(&self, count: u64) -> usize {
        let allowed = self.allowance.load(Ordering::Acquire);
        if allowed == u64::MAX {
            return count as usize;
        }
        if count <= allowed {
            self.allowance.store(allowed - count, Ordering::Release);
            return count as usize;
        }
        self.allowance.store(u64::MAX, Ordering::Release);
        self.cuts.fetch_add(1, Ordering::AcqRel);
        allowed as usize
    }
}
