//! Fuzz bodies of the decoders: replayed over the corpus, then over seeded random changes of it.
//!
//! Each body is a plain `fn(&[u8])`, so that any fuzzer can drive it too. `BUSLINE_FUZZ_SECONDS` (default 2)
//! bounds each random run, `BUSLINE_SEED` repeats one.

use std::path::PathBuf;
use std::time::{Duration, Instant};

use busline_conformance::seed;
use busline_core::{Envelope, Error, Format, Wire, decode};
use bytes::Bytes;
use rand::prelude::*;

type Body = fn(&[u8]);

fn read(format: Format, bytes: &[u8]) -> Result<Envelope, Error> {
    format.decode(&Bytes::copy_from_slice(bytes), || "topic/0/1".into())
}

/// Whatever the bytes: no panic, and an error is one line with a next step.
fn decode_never_panics(format: Format, bytes: &[u8]) -> Option<Envelope> {
    match read(format, bytes) {
        Ok(envelope) => Some(envelope),
        Err(error) => {
            let shown = error.to_string();
            assert!(!shown.contains('\n') && shown.contains("; ") && shown.len() < 1_000, "{shown}");
            None
        }
    }
}

/// What was read is written in either form and read again as the same.
fn survives(envelope: &Envelope) {
    for wire in [Wire::CloudEvents, Wire::Flat] {
        let mut out = Vec::new();
        wire.encode(envelope, "/default", &mut out);
        let again = decode(&out.into(), || "topic/0/1".into());
        let source = envelope.source.clone().or((wire == Wire::CloudEvents).then(|| "/default".into()));
        match again {
            Ok(again) => assert_eq!(again, Envelope { source, ..envelope.clone() }),
            // Only a stored id may be too long to be given, and this one is short.
            Err(error) => panic!("{wire}: {error}"),
        }
    }
}

fn cloudevents(bytes: &[u8]) {
    if let Some(envelope) = decode_never_panics(Format::CloudEvents, bytes) {
        survives(&envelope);
    }
}

fn flat(bytes: &[u8]) {
    if let Some(envelope) = decode_never_panics(Format::Flat, bytes) {
        survives(&envelope);
    }
}

/// The forms are told apart by their members alone, and a space in front, which keeps the fast path away,
/// changes nothing.
fn detection(bytes: &[u8]) {
    let found = decode_never_panics(Format::Auto, bytes);
    let spaced = [b" ", bytes].concat();
    assert_eq!(found, read(Format::Auto, &spaced).ok());
    if let Some(envelope) = found {
        let insisted = [Format::CloudEvents, Format::Flat].map(|format| read(format, bytes).ok());
        assert!(insisted.contains(&Some(envelope)));
    }
}

const BODIES: [Body; 3] = [cloudevents, flat, detection];

fn corpus() -> Vec<Vec<u8>> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("tests");
    let mut paths: Vec<_> = ["corpus/cloudevents", "corpus/flat", "golden"]
        .into_iter()
        .flat_map(|name| std::fs::read_dir(folder.join(name)).expect("a corpus folder"))
        .map(|entry| entry.expect("a corpus file").path())
        .collect();
    paths.sort();
    paths.iter().map(|path| std::fs::read(path).expect("a corpus file")).collect()
}

#[test]
fn the_corpus_is_replayed() {
    for bytes in corpus() {
        BODIES.iter().for_each(|body| body(&bytes));
        for end in 0..bytes.len() {
            BODIES.iter().for_each(|body| body(&bytes[..end]));
        }
    }
}

#[test]
fn random_changes_of_the_corpus_are_replayed() {
    let seconds = number_of("BUSLINE_FUZZ_SECONDS").unwrap_or(2);
    let (corpus, mut random) = (corpus(), StdRng::seed_from_u64(seed()));
    let end = Instant::now() + Duration::from_secs(seconds);
    let mut runs = 0_u64;
    while Instant::now() < end {
        let bytes = changed(&corpus, &mut random);
        BODIES.iter().for_each(|body| body(&bytes));
        runs += 1;
    }
    println!("{runs} inputs");
}

fn number_of(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

/// One input of the corpus with one to four changes.
fn changed(corpus: &[Vec<u8>], random: &mut StdRng) -> Vec<u8> {
    let mut bytes = corpus.choose(random).expect("a corpus").clone();
    for _ in 0..random.random_range(1..=4) {
        change(&mut bytes, corpus, random);
    }
    bytes
}

fn change(bytes: &mut Vec<u8>, corpus: &[Vec<u8>], random: &mut StdRng) {
    const PIECES: [&str; 14] =
        ["\"", "\\", "{", "}", "[", ",", ":", "null", "1e400", "\\u0000", "\\ud800", "é", "attribute_", ",\"id\":\"\""];
    let at = random.random_range(0..=bytes.len());
    let until = (at + random.random_range(1..40)).min(bytes.len());
    match random.random_range(0..5) {
        0 if at < bytes.len() => bytes[at] = random.random(),
        1 => drop(bytes.drain(at..until)),
        2 => drop(bytes.splice(at..at, PIECES.choose(random).expect("a piece").bytes())),
        3 => {
            let piece = bytes[at..until].to_vec();
            let to = random.random_range(0..=bytes.len());
            bytes.splice(to..to, piece);
        }
        _ => {
            let other = corpus.choose(random).expect("a corpus");
            let from = random.random_range(0..=other.len());
            let to = (from + random.random_range(1..60)).min(other.len());
            bytes.splice(at..at, other[from..to].iter().copied());
        }
    }
}
