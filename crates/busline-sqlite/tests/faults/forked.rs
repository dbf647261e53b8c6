//! Use after a fork: the child is told, and the parent is not disturbed.

#![expect(unsafe_code, reason = "a fork, and the end of a child without what belongs to its parent")]

use std::pin::pin;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use busline_core::{Error, Publisher, Receipt};
use tokio::runtime::Runtime;

use crate::ledger::envelope;
use crate::stage::{Stage, close, publisher, read};

/// Steps of a child, each of which must end so: it can neither print nor panic, so the number of the first that did not
/// is its exit status.
type Steps<'a> = Vec<Box<dyn FnOnce() -> bool + 'a>>;

/// Forks; gives the child's exit status. A child that hangs is killed by its own alarm.
fn in_a_child(steps: Steps<'_>) -> i32 {
    // Until the threads of the bus sleep: what they hold at the fork is held in the child for ever.
    std::thread::park_timeout(Duration::from_millis(20));
    // SAFETY: the child calls nothing but the steps, which take no lock that another thread of the parent holds while it
    // waits for this test, and ends without running anything else.
    let child = unsafe { libc::fork() };
    assert!(child >= 0, "fork");
    if child == 0 {
        // SAFETY: plain system calls.
        unsafe { libc::alarm(20) };
        let failed = steps.into_iter().position(|step| !step()).map_or(0, |at| at as i32 + 1);
        // SAFETY: ends the child at once, without the destructors of what it shares with the parent.
        unsafe { libc::_exit(failed) };
    }
    let mut status = 0;
    // SAFETY: waits for a child that was started above.
    let waited = unsafe { libc::waitpid(child, &raw mut status, 0) };
    assert_eq!(waited, child);
    assert!(libc::WIFEXITED(status), "the child was killed: {status}");
    libc::WEXITSTATUS(status)
}

/// What one look at a future gives.
fn look<T>(future: impl Future<Output = T>) -> Option<T> {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => Some(value),
        Poll::Pending => None,
    }
}

fn is_told<T>(outcome: Option<Result<T, Error>>) -> bool {
    outcome.is_some_and(|outcome| outcome.is_err_and(|error| error.code() == "Closed/ForkedProcess"))
}

/// Whether a publish in the child is told so, by the call or by its receipt.
fn publish_is_told(publisher: &Publisher, version: u64) -> bool {
    is_told(look(publisher.publish_sync(envelope("child", "key", version, 10))))
}

fn runtime() -> Runtime {
    tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().expect("a runtime")
}

#[test]
fn a_forked_child_is_told_and_its_parent_goes_on() {
    let (stage, runtime) = (Stage::new(), runtime());
    let (bus, orders) = runtime.block_on(async {
        let bus = stage.open().await.expect("opens");
        let orders = publisher(&bus, Duration::from_secs(60)).await.expect("opens");
        orders.publish_sync(envelope("parent", "key", 0, 10)).await.expect("acked");
        (bus, orders)
    });
    let topic = orders.topic().name.clone();
    let failed = in_a_child(vec![
        Box::new(|| publish_is_told(&orders, 0)),
        Box::new(|| publish_is_told(&orders, 1)),
        Box::new(|| {
            // A runtime of the child's own: that of the parent has no threads here.
            let own = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
            let told = own.block_on(async {
                is_told(Some(bus.driver().topic(&topic).await))
                    && is_told(Some(bus.driver().delete_topic(&topic).await))
                    && is_told(Some(bus.driver().close(tokio::time::Instant::now()).await))
                    && is_told(Some(bus.publisher("others").open().await))
            });
            std::mem::forget(own);
            told
        }),
    ]);
    assert_eq!(failed, 0, "the step that the child was not told of");
    runtime.block_on(async {
        orders.publish_sync(envelope("parent", "key", 1, 10)).await.expect("the parent goes on");
        let stored: usize = {
            let mut sum = 0;
            for partition in 0..orders.topic().spec.partitions {
                sum += read(&bus, partition).await.expect("readable").len();
            }
            sum
        };
        assert_eq!(stored, 2, "nothing of the child is stored");
        close(&bus).await;
    });
    assert_eq!(stage.files(), ["bus.db"]);
}

#[test]
fn a_child_forked_while_a_batch_is_in_flight_waits_for_nothing() {
    let (stage, runtime) = (Stage::new(), runtime());
    let (bus, orders) = runtime.block_on(async {
        let bus = stage.open().await.expect("opens");
        (bus.clone(), publisher(&bus, Duration::from_secs(60)).await.expect("opens"))
    });
    let lock = stage.plain();
    lock.execute_batch("BEGIN IMMEDIATE").expect("the lock");
    let receipt: Receipt = runtime.block_on(orders.publish(envelope("parent", "key", 0, 10))).expect("accepted");
    let mut receipt = pin!(receipt);
    let failed = in_a_child(vec![
        Box::new(|| {
            let outcome = look(receipt.as_mut());
            let perhaps = outcome.as_ref().is_some_and(|it| it.as_ref().is_err_and(|error| !error.is_definite()));
            perhaps && is_told(outcome)
        }),
        Box::new(|| publish_is_told(&orders, 0)),
    ]);
    assert_eq!(failed, 0, "the step that the child was not told of");
    lock.execute_batch("ROLLBACK").expect("the lock");
    runtime.block_on(async {
        receipt.as_mut().await.expect("the parent's own is acked");
        close(&bus).await;
    });
}
