//! Opening while the bus closes, and closing where there is no runtime.

use std::pin::pin;
use std::sync::Arc;
use std::task::{Context, Poll, Wake, Waker};
use std::thread::Thread;
use std::time::Duration;

use busline_core::{
    BoxFuture, Bus, Delivery, Driver, HandlerError, Layer, Layered, MemoryDriver, Result, Sink, SinkRequest,
};
use tokio::sync::Semaphore;

const CLOSE: Duration = Duration::from_secs(5);

/// Gives a sink that it has opened when it is let.
#[derive(Debug)]
struct Gate {
    came: Arc<Semaphore>,
    may_go: Arc<Semaphore>,
}

impl Layer for Gate {
    fn sink<'a>(&'a self, inner: &'a dyn Driver, request: SinkRequest) -> BoxFuture<'a, Result<Arc<dyn Sink>>> {
        Box::pin(async move {
            let sink = inner.sink(request).await;
            self.came.add_permits(1);
            self.may_go.acquire().await.expect("never closed").forget();
            sink
        })
    }
}

/// A publisher that is being opened while its bus closes is no publisher, and nothing of it is left.
#[tokio::test(flavor = "multi_thread")]
async fn a_publisher_is_not_opened_on_a_bus_that_has_closed_meanwhile() {
    let (came, may_go) = (Arc::new(Semaphore::new(0)), Arc::new(Semaphore::new(0)));
    let gate = Gate { came: Arc::clone(&came), may_go: Arc::clone(&may_go) };
    let bus = Bus::new(Arc::new(Layered::new(Arc::new(MemoryDriver::new()), gate)));
    let (opened, ()) = tokio::join!(bus.publisher("orders").open(), async {
        came.acquire().await.expect("never closed").forget();
        bus.close(CLOSE).await.expect("closes");
        may_go.add_permits(1);
    });
    assert_eq!(opened.expect_err("the bus is closed").code(), "Closed/Bus");
}

/// As a close of a publisher, that of a subscription may be awaited by any executor.
#[test]
fn a_subscription_is_closed_where_there_is_no_runtime() {
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_time().build().expect("builds");
    let handle = async |_: Delivery| Ok::<(), HandlerError>(());
    let bus = Bus::new(Arc::new(MemoryDriver::new()));
    let subscription = runtime.block_on(bus.subscribe("orders", "billing").handle(handle)).expect("subscribes");
    let left = block_on(subscription.close(CLOSE)).expect("closes");
    assert!(left.left.is_empty(), "{:?}", left.left);
}

struct Unpark(Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

/// An executor without timers.
fn block_on<T>(future: impl Future<Output = T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let (mut future, mut context) = (pin!(future), Context::from_waker(&waker));
    loop {
        if let Poll::Ready(output) = future.as_mut().poll(&mut context) {
            return output;
        }
        std::thread::park();
    }
}
