//! The seed of a random run.

/// The one in `BUSLINE_SEED`, or a random one; printed, so that the run can be repeated.
///
/// # Panics
/// `BUSLINE_SEED` holds no number of 64 bits: the run would not be the one that was asked for.
#[must_use]
pub fn seed() -> u64 {
    let seed = std::env::var("BUSLINE_SEED").map_or_else(|_| rand::random(), |text| parse(&text));
    println!("seed {seed} (set BUSLINE_SEED to run it again)");
    seed
}

fn parse(text: &str) -> u64 {
    text.parse().unwrap_or_else(|_| panic!("BUSLINE_SEED={text} is no number of 64 bits"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_taken_as_it_was_printed() {
        assert_eq!(parse(&u64::MAX.to_string()), u64::MAX);
    }

    #[test]
    #[should_panic(expected = "BUSLINE_SEED=7x is no number")]
    fn what_is_no_seed_is_no_other_seed() {
        parse("7x");
    }
}
