//! The list of cases, and how one is run.

use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
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
                threads_that_block_share_the_order_with_tasks,
            } alone {}
            publish_outcome {
                an_unanswered_envelope_is_indeterminate_by_its_deadline,
                what_was_never_handed_over_fails_by_its_deadline,
                a_late_answer_changes_nothing,
                a_forgotten_batch_is_indeterminate,
                a_sink_that_panics_ends_its_publisher,
                a_sink_that_panics_later_fails_what_waits,
                each_failure_reaches_the_handler_once_with_its_envelope,
                a_failure_of_any_size_reaches_the_handler,
                a_busy_handler_loses_no_outcome,
                an_overdue_failure_keeps_its_room_for_the_handler,
                a_panicking_handler_is_counted,
                every_waiting_receipt_is_woken,
                a_receipt_that_moves_leaves_the_others_awake,
                a_receipt_outlives_the_runtime_of_its_publisher,
            } alone {}
            publish_window {
                any_burst_passes_any_window,
                a_full_window_waits_and_gives_back,
                the_window_counts_bytes,
                all_room_comes_back,
                waiting_publishers_are_served_in_order,
                waiting_for_room_has_no_deadline,
            } alone {}
            publish_durability {
                an_ack_says_where_and_how_safely,
                an_impossible_durability_is_refused_at_open,
                required_positions_are_given_or_refused,
                what_was_acked_is_there_after_reopening,
                an_interrupted_backend_goes_on,
            } alone {}
            publish_duplicates {
                two_publishes_of_one_id_are_two_records,
                an_accepted_envelope_is_stored_at_most_once,
                deduplication_is_offered_or_refused,
            } alone {}
            publish_batch {
                an_empty_batch_sends_nothing,
                a_large_batch_keeps_its_order,
                a_batch_over_the_byte_window_is_split,
                a_bad_envelope_holds_back_its_own_key,
                a_failure_in_the_middle_leaves_no_hole,
                one_id_twice_in_a_batch_is_two_records,
                a_batch_over_the_limit_is_refused_whole,
                an_atomic_batch_is_seen_whole,
                a_bad_atomic_batch_stores_none,
                an_atomic_batch_behind_a_failure_fails_whole,
                an_atomic_batch_on_its_way_behind_a_failure_has_one_outcome,
                an_atomic_batch_behind_an_overdue_envelope_has_one_outcome,
                an_atomic_batch_has_one_outcome,
            } alone {}
            publish_cancel {
                a_dropped_publish_was_accepted_whole_or_not_at_all,
                a_dropped_wait_passes_its_room_on,
                a_dropped_receipt_changes_nothing,
                a_dropped_batch_call_keeps_a_beginning,
                a_dropped_atomic_call_is_all_or_nothing,
                a_dropped_close_goes_on_when_called_again,
                a_close_dropped_while_the_sink_ends_waits_again,
                a_dropped_open_leaves_nothing,
            } alone {}
            publish_close {
                flush_waits_for_what_was_accepted_before_it,
                close_in_the_middle_settles_everything,
                close_refuses_who_waits_for_room,
                room_given_before_the_close_accepts_nothing_after_it,
                close_gives_no_outcome_twice,
                close_returns_by_its_deadline_when_nothing_answers,
                a_sink_that_does_not_end_is_named,
                a_stuck_failure_handler_is_named,
                close_is_idempotent,
                close_takes_any_deadline,
                the_end_of_the_last_handle_settles_what_was_accepted,
                closing_the_bus_closes_its_publishers,
                close_needs_no_runtime,
            } alone {
                nothing_is_left_after_close,
                two_buses_leave_nothing_in_either_order,
                the_end_of_the_runtime_leaves_nothing,
            }
            consume_order {
                a_failing_event_holds_its_key_only,
                a_disturbed_run_keeps_the_order_of_each_key,
                members_that_come_and_go_keep_the_order,
                a_quiet_run_hands_each_event_over_once,
                batches_keep_the_order_of_each_key,
                a_batch_without_its_verdicts_runs_again,
                a_handover_in_quiet_repeats_nothing,
                a_partition_is_kept_until_its_handlers_end,
            } alone {}
            consume_handlers {
                sixty_four_keys_of_one_partition_run_at_once,
                handlers_that_were_quick_meet_too,
                room_that_returns_is_used_at_once,
                concurrency_is_a_bound,
                a_key_in_backoff_holds_no_slot,
                retries_wait_their_backoff,
                attempts_restart_with_the_member,
                a_key_out_of_attempts_waits_and_is_named,
                a_skipped_event_is_passed_over,
                panics_and_timeouts_are_attempts,
                a_blocked_handler_keeps_its_key_and_is_reported,
                a_blocked_handler_keeps_no_other_key,
                as_many_blocked_handlers_as_threads_are_told,
                close_from_inside_a_handler_is_refused_at_once,
                others_flow_while_a_key_fails,
            } alone {}
            consume_progress {
                progress_is_the_finished_prefix,
                a_lost_commit_loses_no_event,
                what_was_not_committed_comes_again,
                a_slow_handler_costs_lag_not_memory,
                the_bytes_in_flight_are_bounded,
                a_waiting_key_stops_its_partition_at_ahead_max,
                an_undecodable_record_holds_its_partition,
                a_second_subscription_is_refused_unless_asked_for,
            } alone {}
            consume_positions {
                a_group_starts_where_it_is_told,
                the_start_is_committed_before_the_first_record,
                a_paused_partition_waits,
                a_pause_stops_what_waits_already,
                pauses_at_any_moment_lose_nothing,
                a_seek_back_repeats_from_there,
                a_seek_forgets_what_was_handed_over,
                seeks_at_any_moment_keep_the_order,
                a_seek_far_back_goes_on_to_the_end,
                a_group_with_members_cannot_be_moved,
                a_group_is_not_moved_beyond_the_end,
                a_gap_is_seen,
                an_interrupted_backend_goes_on,
            } alone {}
            consume_close {
                close_lets_running_handlers_end,
                close_returns_by_its_deadline,
                a_stuck_handler_is_named,
                close_in_every_state_is_quick,
                a_dropped_close_goes_on_when_called_again,
                close_takes_any_deadline,
                the_end_of_the_last_handle_leaves_the_group,
            } alone {
                nothing_is_left_after_close,
            }
            consume_deaths {
                a_death_at_any_step_of_parking_keeps_all_in_order,
                a_death_at_any_step_of_a_replay_keeps_all_in_order,
                a_death_while_a_key_is_released_keeps_all_in_order,
            } alone {}
            consume_parking {
                a_key_out_of_attempts_is_parked_and_later_records_queue_behind,
                a_handler_parks_at_once,
                a_parked_record_is_whole_and_has_its_diagnosis,
                progress_waits_for_the_parking_ack,
                a_failed_parking_is_told_and_made_again,
                a_sink_that_panics_parks_at_another_try,
                a_failed_write_is_not_passed_by_those_behind,
                the_parked_set_outlives_its_member,
                the_parked_set_moves_with_its_partition,
                the_record_policy_parks_the_record_alone,
                a_bad_record_is_parked_alone,
                a_full_partition_waits_for_room,
                parking_can_be_turned_off,
                a_seek_keeps_what_is_parked,
                a_trim_while_it_is_read_parks_nothing_again,
                a_topic_with_parked_records_is_deleted_only_when_told,
                a_group_with_parked_records_is_deleted_only_when_told,
                groups_that_differ_in_dots_and_underscores_park_beside_each_other,
            } alone {}
            consume_replay {
                a_replayed_key_runs_in_order_and_flows_again,
                a_replay_beside_live_events_keeps_the_order,
                a_replay_that_fails_leaves_its_key,
                a_filter_chooses_keys,
                a_rate_bounds_a_replay,
                what_is_discarded_never_runs,
                a_replay_that_is_stopped_ends_what_runs,
                a_replay_that_is_broken_off_loses_nothing,
                two_replays_share_the_work,
                a_group_that_is_moved_back_runs_what_was_replayed,
                what_is_replayed_is_trimmed,
            } alone {}
            topics {
                bad_names_are_refused_with_their_reason,
                legal_names_are_topics_of_their_own,
                names_that_collide_are_refused,
                a_missing_topic_is_made_only_when_told,
                the_default_topic_has_four_partitions_and_no_retention,
                mismatches_are_listed_field_by_field,
                an_update_never_changes_the_partition_count,
                a_spec_out_of_range_is_refused,
                a_topic_made_again_is_another_one,
            } alone {}
            retention {
                the_newest_records_are_kept,
                age_counts_from_when_a_record_was_stored,
                nothing_unread_is_deleted_silently,
                a_read_gives_what_a_deletion_leaves,
                what_a_limit_deletes_unread_is_counted,
                a_limit_out_of_range_is_refused,
            } alone {}
            health {
                a_bus_that_works_is_healthy,
                failing_publishes_are_told,
                standing_still_is_told,
                a_topic_that_feeds_itself_is_told,
                a_closed_bus_is_down,
            } alone {}
            meaning {
                what_is_published_is_read_back,
                the_record_limit_is_exact,
                the_largest_record_is_stored,
                bad_envelopes_are_refused_by_name,
                bad_settings_are_refused_at_open,
                opening_needs_a_runtime,
                an_offer_agrees_with_the_capabilities,
                groups_are_offered_or_unsupported,
                a_read_keeps_its_bounds,
                trim_deletes_below_its_offset,
                a_time_leads_to_an_offset,
                no_payload_is_printed,
                errors_say_what_the_caller_can_do,
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
const CASE_MAX: Duration = Duration::from_secs(180);

/// Runs a case on a runtime of its own.
#[doc(hidden)]
pub fn run_case(case: impl Future<Output = ()>) {
    // Idle threads of the blocking pool are the runtime's own; they must not look like something that was left.
    let keep_alive = Duration::from_millis(10);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .thread_keep_alive(keep_alive)
        .enable_all()
        .build()
        .expect("a runtime");
    let run = || runtime.block_on(async { tokio::time::timeout(CASE_MAX, case).await });
    let outcome = catch_unwind(AssertUnwindSafe(run));
    // A case that failed may have left a thread that waits for ever; the end of the runtime must not wait for it.
    runtime.shutdown_background();
    match outcome {
        Ok(ended) => ended.expect("a case ends within its longest time"),
        Err(panic) => resume_unwind(panic),
    }
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    /// The names of the functions in the files of cases.
    fn written() -> BTreeSet<String> {
        let mut found = BTreeSet::new();
        for group in GROUPS {
            let path = format!("{}/src/{group}.rs", env!("CARGO_MANIFEST_DIR"));
            let text = std::fs::read_to_string(path).expect("a file of cases");
            let names = text.lines().filter_map(|line| line.strip_prefix("pub async fn ")?.split('(').next());
            found.extend(names.map(str::to_owned));
        }
        found
    }

    /// The names in the list of this file.
    fn listed() -> BTreeSet<String> {
        let list = include_str!("cases.rs").lines().skip_while(|line| !line.contains("macro_rules! case_list"));
        let names = list.take_while(|line| *line != "}").filter_map(|line| line.trim().strip_suffix(','));
        names.map(str::to_owned).collect()
    }

    const GROUPS: [&str; 20] = [
        "consume_close",
        "consume_deaths",
        "consume_handlers",
        "consume_order",
        "consume_parking",
        "consume_positions",
        "consume_progress",
        "consume_replay",
        "health",
        "meaning",
        "publish_batch",
        "publish_cancel",
        "publish_close",
        "publish_durability",
        "publish_duplicates",
        "publish_order",
        "publish_outcome",
        "publish_window",
        "retention",
        "topics",
    ];

    #[test]
    fn every_case_that_is_written_is_run() {
        assert_eq!(listed(), written());
    }
}
