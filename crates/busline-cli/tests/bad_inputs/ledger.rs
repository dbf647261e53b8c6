//! Where each of the hundred entries is held: tests by name, in whichever crate, and what this surface
//! cannot meet.

use std::collections::HashSet;
use std::path::{Path, PathBuf};

use Note::NotApplicable;

/// What a row says of its entries besides its tests.
enum Note {
    None,
    /// This surface cannot meet it, or not all of it, for this reason.
    NotApplicable(&'static str),
}

/// Entries, the tests that hold them, and the note.
type Row = (&'static [u32], &'static [&'static str], Note);

const NO_TENANTS: &str = "feature absent: tenants beyond an attribute of the envelope";
const NO_CODECS: &str = "feature absent: payload codecs";
const NO_CONFIGURATION: &str = "feature absent: configuration files";
const NO_NETWORK: &str = "no backend on a network is part of this surface";

const LEDGER: &[Row] = &[
    // Names
    (
        &[1, 2, 3, 4, 5, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23, 27, 28],
        &["bad_names_are_refused_with_their_reason", "a_bad_name_is_refused_wherever_it_stands"],
        Note::None,
    ),
    (
        &[6],
        &["bad_names_are_refused_with_their_reason"],
        NotApplicable("on the command line: an argument cannot hold NUL"),
    ),
    (
        &[21, 22, 26, 29],
        &[
            "legal_names_are_topics_of_their_own",
            "odd_names_that_are_legal_are_topics_and_groups_of_their_own",
            "topic_and_group_too_long_together_are_refused",
        ],
        Note::None,
    ),
    (
        &[24],
        &["bad_paths_are_refused_before_anything_is_made", "a_bad_path_of_the_bus_is_refused_and_nothing_is_made"],
        Note::None,
    ),
    (&[25], &["names_that_collide_are_refused", "names_that_collide_are_refused_in_both_directions"], Note::None),
    (&[27], &[], NotApplicable("a surrogate in a JSON topic spec: nothing takes such a spec")),
    (&[29], &["a_bad_name_is_refused_wherever_it_stands"], Note::None),
    (&[30], &["bad_names_are_refused_with_their_reason"], NotApplicable(NO_TENANTS)),
    (&[31], &[], NotApplicable(NO_TENANTS)),
    // Envelope
    (
        &[32, 33, 34, 35, 37, 38, 39, 40, 42, 44],
        &["bad_envelopes_are_refused_by_name", "a_bad_event_is_refused_before_a_file_is_made"],
        Note::None,
    ),
    (
        &[32, 33, 34, 35, 37, 43, 44, 47, 48, 52, 53, 54, 71, 77, 81, 82, 88],
        &["bad_lines_are_told_by_name_and_good_ones_between_them_are_stored"],
        Note::None,
    ),
    (
        &[33, 34, 37, 41, 43, 45],
        &["what_is_published_is_read_back", "odd_events_that_are_legal_come_back_as_they_were"],
        Note::None,
    ),
    (
        &[36],
        &["two_publishes_of_one_id_are_two_records", "deduplication_is_offered_or_refused"],
        NotApplicable("deduplicate: neither memory nor SQLite offers it"),
    ),
    (&[41], &["a_topic_is_copied_through_a_pipe_with_headers_and_odd_payloads"], Note::None),
    (
        &[43],
        &[
            "times_out_of_range_or_without_offset_are_refused",
            "times_that_could_not_be_read_back_are_refused_in_publishing",
            "event_versions_and_times_of_flat_records_are_checked",
            "a_bad_event_is_refused_before_a_file_is_made",
        ],
        Note::None,
    ),
    (
        &[44],
        &["fields_of_another_type_stay_as_attributes_where_an_event_can_do_without"],
        NotApplicable("a trace that starts anew: no spans yet"),
    ),
    // Payload
    (
        &[45, 52],
        &[
            "payloads_say_json_only_if_they_are",
            "text_that_is_not_utf8_is_passed_on_and_not_published",
            "bad_lines_are_told_by_name_and_good_ones_between_them_are_stored",
        ],
        Note::None,
    ),
    (
        &[46, 47, 48],
        &[
            "the_record_limit_is_exact",
            "the_largest_record_is_stored",
            "bad_envelopes_are_refused_by_name",
            "the_largest_line_is_stored_and_one_byte_more_is_not",
        ],
        Note::None,
    ),
    (&[49, 55, 56], &[], NotApplicable(NO_CODECS)),
    (
        &[50],
        &[
            "a_line_of_100_mb_is_not_held_and_the_rest_goes_on",
            "lengths_over_what_is_there_are_named_and_take_no_memory",
        ],
        NotApplicable("frames: no backend on a network"),
    ),
    (&[51], &[], NotApplicable("Kafka")),
    (&[53, 88], &["deep_payloads_are_kept_raw_and_deep_envelopes_are_too_large"], Note::None),
    (&[53, 54, 62, 71], &["odd_lines_that_are_legal_are_stored"], Note::None),
    (&[54], &["numbers_and_duplicates_of_the_envelope_are_refused_those_of_the_payload_kept"], Note::None),
    (
        &[57],
        &[
            "a_flipped_byte_of_a_payload_is_named_with_topic_partition_and_offset",
            "a_record_with_a_wrong_checksum_is_named_with_its_place",
        ],
        Note::None,
    ),
    // Batch
    (&[58], &["an_empty_batch_sends_nothing", "a_closed_or_empty_input_is_done"], Note::None),
    (&[59, 60, 61], &["a_bad_atomic_batch_stores_none"], Note::None),
    (&[59], &["a_batch_over_the_limit_is_refused_whole"], NotApplicable("1,001 atomic items: NATS")),
    (&[60], &["a_bad_envelope_holds_back_its_own_key"], Note::None),
    (&[61], &["a_batch_over_the_byte_window_is_split"], Note::None),
    (&[62], &["one_id_twice_in_a_batch_is_two_records"], Note::None),
    (&[63], &["a_failure_in_the_middle_leaves_no_hole"], Note::None),
    // Configuration
    (&[64], &["what_a_single_event_may_not_be_is_refused_before_a_file_is_made"], NotApplicable(NO_CONFIGURATION)),
    (
        &[65],
        &[
            "a_line_that_cannot_be_parsed_is_named",
            "a_line_that_says_what_cannot_be_is_refused",
            "bad_settings_are_refused_at_open",
            "contradictions_and_ranges_are_refused",
        ],
        NotApplicable("lease below three beats: the beat follows from the lease"),
    ),
    (
        &[66],
        &[
            "bad_urls_are_refused_by_name_and_show_no_secret",
            "a_line_that_says_what_cannot_be_is_refused",
            "a_bad_url_makes_no_file_whichever_command_reads_it",
        ],
        NotApplicable("users, hosts, ports and lists of servers: no backend on a network"),
    ),
    (&[67], &[], NotApplicable(NO_NETWORK)),
    (&[68], &[], NotApplicable(NO_CONFIGURATION)),
    (
        &[69],
        &["an_impossible_durability_is_refused_at_open", "a_spec_out_of_range_is_refused"],
        NotApplicable("streams and brokers: no backend on a network"),
    ),
    // Command line
    (
        &[70],
        &[
            "a_line_that_cannot_be_parsed_is_named",
            "flags_end_at_two_dashes_and_a_value_may_begin_with_one",
            "no_flag_of_a_single_event_goes_with_a_file",
        ],
        Note::None,
    ),
    (&[71], &["a_closed_or_empty_input_is_done", "a_line_of_100_mb_is_not_held_and_the_rest_goes_on"], Note::None),
    (
        &[72],
        &[
            "a_broken_pipe_is_success",
            "a_reader_that_goes_away_is_success_and_loses_nothing",
            "output_is_plain_at_any_width_and_without_a_terminal",
            "output_that_goes_nowhere_is_told",
        ],
        Note::None,
    ),
    (&[73], &["a_result_file_is_never_written_over_or_through_a_link"], NotApplicable("--force: no command has it")),
    (
        &[74],
        &["a_line_that_says_what_cannot_be_is_refused", "a_bad_url_is_named_and_its_secret_is_not_shown"],
        Note::None,
    ),
    (
        &[75],
        &[
            "outcomes_come_while_the_input_stays_open",
            "ctrl_c_lets_what_runs_end_and_is_committed",
            "ctrl_c_twice_stops_a_reader_that_nobody_listens_to",
            "ctrl_c_twice_kills_the_programs",
            "ctrl_c_twice_counts_what_has_no_outcome",
        ],
        Note::None,
    ),
    (
        &[76],
        &[
            "terminal_escapes_are_shown_not_sent",
            "terminal_escapes_in_names_keys_files_and_errors_are_shown_escaped",
            "terminal_escapes_are_shown_and_ordinary_text_is_not_touched",
        ],
        Note::None,
    ),
    // Decoders
    (&[77], &["every_prefix_is_truncated"], Note::None),
    (&[78, 83], &["lengths_over_what_is_there_are_named_and_take_no_memory"], Note::None),
    (&[79, 80], &[], NotApplicable("the stored form has no counts and no varints")),
    (&[81, 82], &["what_is_no_envelope_or_damaged_is_named"], Note::None),
    (&[82], &["other_versions_of_cloudevents_are_unsupported"], NotApplicable("the stored form has no reserved bits")),
    (
        &[84],
        &["a_clock_that_goes_back_changes_no_order"],
        NotApplicable("offsets that decrease: the offset is the key under which SQLite keeps a record"),
    ),
    (
        &[85],
        &[
            "a_missing_record_is_damage_and_not_skipped",
            "a_record_past_the_end_refuses_the_publish_definitely",
            "a_topic_without_one_of_its_partitions_opens_no_publisher",
            "a_group_that_has_finished_more_than_there_is_is_damage",
            "an_index_that_disagrees_with_its_table_is_damage",
            "a_cycle_of_pages_is_damage",
        ],
        Note::None,
    ),
    (
        &[86, 87],
        &[
            "what_is_no_file_of_ours_is_refused_by_name_and_left_as_it_was",
            "what_is_no_file_of_ours_is_refused_and_not_changed",
        ],
        Note::None,
    ),
    (
        &[86],
        &[
            "a_sparse_file_longer_than_any_database_is_damage",
            "a_cell_larger_than_its_page_is_damage",
            "what_a_file_claims_takes_no_memory",
        ],
        Note::None,
    ),
    (&[89], &[], NotApplicable(NO_NETWORK)),
    // Misuse
    (&[90], &["closing_the_bus_closes_its_publishers", "a_closed_bus_is_down", "close_is_idempotent"], Note::None),
    (&[91], &["a_second_subscription_is_refused_unless_asked_for"], Note::None),
    (
        &[92],
        &["a_commit_under_an_old_generation_is_fenced"],
        NotApplicable("commit behind the committed offset: no call of the API commits"),
    ),
    (
        &[93],
        &[
            "a_topic_that_feeds_itself_is_told",
            "a_topic_feeds_itself_if_its_handlers_publish_as_much_as_they_handle",
            "a_slow_handler_costs_lag_not_memory",
        ],
        Note::None,
    ),
    (&[94], &["close_from_inside_a_handler_is_refused_at_once"], Note::None),
    (
        &[95],
        &[
            "a_blocked_handler_keeps_its_key_and_is_reported",
            "a_blocked_handler_keeps_no_other_key",
            "as_many_blocked_handlers_as_threads_are_told",
        ],
        NotApplicable(
            "other keys while every thread is blocked: handlers run on the caller's runtime, which then polls nothing; \
             it is told, and they go on with the first thread that returns. The event type: the log names topic and \
             partition",
        ),
    ),
    (&[96], &["opening_needs_a_runtime", "close_needs_no_runtime"], Note::None),
    (&[97], &["a_receipt_outlives_the_runtime_of_its_publisher"], Note::None),
    (
        &[98],
        &[
            "a_forked_child_is_told_and_its_parent_goes_on",
            "a_child_forked_while_a_batch_is_in_flight_waits_for_nothing",
        ],
        NotApplicable("memory: a child has its own copy, and shares nothing"),
    ),
    (&[99], &["the_end_of_the_last_handle_leaves_the_group"], Note::None),
    (
        &[100],
        &[
            "a_value_that_cannot_be_written_is_refused_whatever_its_code_does",
            "panics_and_timeouts_are_attempts",
            "a_panicking_handler_is_counted",
        ],
        Note::None,
    ),
];

const ENTRIES: u32 = 100;

#[test]
fn every_entry_is_held_or_says_why_not() {
    for entry in 1..=ENTRIES {
        let rows = || LEDGER.iter().filter(|(entries, ..)| entries.contains(&entry));
        assert!(rows().count() > 0, "entry {entry} has no row");
        for (_, _, note) in rows() {
            match note {
                NotApplicable(reason) => println!("{entry:>3}  not applicable: {reason}"),
                Note::None => {}
            }
        }
        let tests: Vec<_> = rows().flat_map(|(_, tests, _)| *tests).copied().collect();
        if !tests.is_empty() {
            println!("{entry:>3}  {}", tests.join(", "));
        }
    }
}

#[test]
fn every_test_that_is_named_exists() {
    let mut sources = Vec::new();
    collect(&Path::new(env!("CARGO_MANIFEST_DIR")).join(".."), &mut sources);
    let functions: HashSet<String> = sources.iter().flat_map(functions_of).collect();
    for (entries, tests, _) in LEDGER {
        for test in *tests {
            assert!(functions.contains(*test), "entries {entries:?}: no test '{test}'");
        }
    }
}

fn collect(folder: &Path, sources: &mut Vec<PathBuf>) {
    for found in std::fs::read_dir(folder).expect("a folder") {
        let path = found.expect("a name").path();
        if path.is_dir() {
            collect(&path, sources);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            sources.push(path);
        }
    }
}

fn functions_of(source: &PathBuf) -> Vec<String> {
    let text = std::fs::read_to_string(source).expect("a source");
    let heads = text.lines().filter_map(|line| line.split_once("fn "));
    heads.filter_map(|(_, rest)| rest.split_once('(')).map(|(name, _)| name.to_string()).collect()
}
