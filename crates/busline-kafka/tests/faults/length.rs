//! How long a run is: a short one, unless the environment asks for more.

/// How often a fault is repeated: `BUSLINE_FAULT_ROUNDS`, or the short run's number.
pub(crate) fn rounds(short: u32) -> u32 {
    asked("BUSLINE_FAULT_ROUNDS").unwrap_or(short)
}

/// How many records are acked before and after each fault, at least: `BUSLINE_FAULT_RECORDS`, or the short run's number.
pub(crate) fn records(short: u64) -> u64 {
    asked("BUSLINE_FAULT_RECORDS").unwrap_or(short)
}

fn asked<T: std::str::FromStr>(variable: &str) -> Option<T> {
    std::env::var(variable).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{variable}={text} is no number")))
}
