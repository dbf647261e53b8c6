//! The list of cases, and how one is run.

use std::future::Future;
use std::process::Command;
use std::time::Duration;

/// Makes one test of each case of the suite for a driver.
///
/// Takes an expression that makes a fresh [`Harness`](crate::Harness). The tests are named `<group>::<clause>`; put two
/// calls into modules of their own.
///
/// # Examples
/// ```ignore
/// busline_conformance::conformance!(MemoryHarness::default());
/// ```
#[macro_export]
macro_rules! conformance {
    ($harness:expr) => {
        $crate::case_list!($crate::case_tests, $harness);
    };
}

/// Hands the list of all cases to the macro `$with`. Cases behind `alone` count what their process holds, so they run in
/// a process of their own.
#[doc(hidden)]
#[macro_export]
macro_rules! case_list {
    ($with:path, $harness:expr) => {
        $with! { $harness;
            publish_order {
                a_quiet_run_keeps_the_order_of_each_key,
                a_disturbed_run_keeps_the_order_of_each_key,
                a_disturbed_run_with_many_batches_in_flight_keeps_the_order,
                nothing_behind_a_failed_envelope_is_acked,
                a_key_flows_again_after_its_failure_was_reported,
                what_waits_behind_an_unanswered_envelope_fails,
                an_unanswered_record_breaks_its_own_key_only,
                an_overdue_envelope_breaks_its_key_in_all_batches_in_flight,
                a_batch_on_its_way_to_the_sink_is_behind_a_failure_too,
            } alone {}
            publish_outcome {
            } alone {}
        }
    };
}

/// The tests of a list of cases.
#[doc(hidden)]
#[macro_export]
macro_rules! case_tests {
    ($harness:expr; $($group:ident { $($case:ident),* $(,)? } alone { $($lone:ident),* $(,)? })*) => {
        $(
            mod $group {
                #[allow(unused_imports, reason = "the harness is named in the caller's words")]
                use super::*;

                $(
                    #[test]
                    fn $case() {
                        $crate::run_case(async { $crate::$group::$case($harness).await });
                    }
                )*
                $(
                    #[test]
                    fn $lone() {
                        let name = concat!(module_path!(), "::", stringify!($lone));
                        $crate::run_case_alone(name, async { $crate::$group::$lone($harness).await });
                    }
                )*
            }
        )*
    };
}

/// Longest time of one case; one that takes longer is stuck.
const CASE_MAX: Duration = Duration::from_secs(60);

/// Runs a case on a runtime of its own.
#[doc(hidden)]
pub fn run_case(case: impl Future<Output = ()>) {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_time()
        .build()
        .expect("a runtime");
    let outcome = runtime.block_on(async { tokio::time::timeout(CASE_MAX, case).await });
    // A case that failed may have left a thread that waits for ever.
    runtime.shutdown_background();
    outcome.expect("a case ends within a minute");
}

/// Says in the child that it is the child.
const ALONE: &str = "BUSLINE_CONFORMANCE_ALONE";

/// Runs a case in a process of its own, where nothing else opens or ends threads and descriptors.
#[doc(hidden)]
pub fn run_case_alone(name: &str, case: impl Future<Output = ()>) {
    if std::env::var_os(ALONE).is_some() {
        return run_case(case);
    }
    let (_, test) = name.split_once("::").expect("a test's path begins with its crate");
    let program = std::env::current_exe().expect("the path of this program");
    let output = Command::new(program)
        .args([test, "--exact", "--nocapture", "--test-threads=1"])
        .env(ALONE, "1")
        .output()
        .expect("this test can run itself");
    let (out, err) = (String::from_utf8_lossy(&output.stdout), String::from_utf8_lossy(&output.stderr));
    println!("{out}\n{err}");
    assert!(output.status.success(), "{test} failed in its own process");
    assert!(out.contains("1 passed"), "{test} did not run in its own process");
}
