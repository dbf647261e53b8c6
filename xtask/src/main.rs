//! Development tasks of the Busline workspace: the whole pipeline, the house rules as tests, the mutations, servers.
//!
//! `cargo xtask` prints what there is. Each task is one module; nothing here is used by the product.

mod brokers;
mod ci;
mod duration;
mod faults;
mod mutate;
mod process;
mod tidy;
mod workspace;

use std::process::ExitCode;

use workspace::Workspace;

const HELP: &str = "\
Development tasks of the Busline workspace.

cargo xtask ci [--long]                         the whole pipeline, the same here and in CI; stops at the first failure
                                                --long: the longer versions (BUSLINE_LONG=1, 10 min of fuzzing)
cargo xtask tidy                                the house rules as tests: arrows, names, mod.rs, macros, docs
cargo xtask mutate [NAME…] [--check] [--list]   break the code on purpose; each mutation must turn its test red
                                                NAME: only these (xtask/mutations/NAME.patch); all when none is named
                                                --check: only see that each patch applies and its header is complete
                                                --list: only show what each breaks and which test must notice
cargo xtask faults nats|kafka [--acked N] [--json FILE]
                                                kills, freezes, cuts and leader changes of real servers, round after
                                                round in release until N records were acked (5,000,000) and judged:
                                                each acked one stored once and in order, each failed one not stored
                                                --json: the runs and their totals
cargo xtask brokers start [KIND…]               real servers on free loopback ports, ready when their URLs are printed
                                                KIND: nats, nats@VERSION, nats-cluster, kafka, kafka-cluster;
                                                nats and kafka when none is named
cargo xtask brokers stop [KIND]                 ends it, or all of them, and removes what it stored
cargo xtask brokers status                      what runs, and where

Before a commit:  cargo xtask tidy
Before a merge:   cargo xtask ci
A CI step:        one entry in xtask/src/ci/steps.rs
A tidy rule:      one file in xtask/src/tidy, named in its rules.rs
A mutation:       git diff > xtask/mutations/NAME.patch, and two lines in front of it:
                      Breaks: P1 order: a failed record does not fail its successors
                      Test: -p busline-core --test conformance publish_order_prefix
                  The test arguments are those of cargo test.
";

/// What a wrong command line exits with, as the `busline` command does.
const USAGE: u8 = 2;

fn main() -> ExitCode {
    let words: Vec<String> = std::env::args().skip(1).collect();
    let words: Vec<&str> = words.iter().map(String::as_str).collect();
    let Some((task, rest)) = words.split_first() else {
        print!("{HELP}");
        return ExitCode::SUCCESS;
    };
    let done = match (*task, rest) {
        ("help" | "--help" | "-h", _) | (_, ["--help" | "-h", ..]) => {
            print!("{HELP}");
            Ok(true)
        }
        ("ci", []) => Workspace::find().and_then(|workspace| ci::run(&workspace, false)),
        ("ci", ["--long"]) => Workspace::find().and_then(|workspace| ci::run(&workspace, true)),
        ("tidy", []) => Workspace::find().and_then(|workspace| tidy::run(&workspace)),
        ("mutate", rest) => match mutate::Request::parse(rest) {
            Ok(request) => Workspace::find().and_then(|workspace| mutate::run(&workspace, &request)),
            Err(wrong) => return usage(&wrong),
        },
        ("faults", rest) => match faults::Request::parse(rest) {
            Ok(request) => Workspace::find().and_then(|workspace| faults::run(&workspace, &request)),
            Err(wrong) => return usage(&wrong),
        },
        ("brokers", rest) => match brokers::Request::parse(rest) {
            Ok(request) => Workspace::find().and_then(|workspace| brokers::run(&workspace, &request)),
            Err(wrong) => return usage(&wrong),
        },
        _ => return usage(&format!("no task `{}`", words.join(" "))),
    };
    match done {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn usage(wrong: &str) -> ExitCode {
    eprintln!("xtask: {wrong}\n\n{HELP}");
    ExitCode::from(USAGE)
}
