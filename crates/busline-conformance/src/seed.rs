//! The seed of a random run.

/// The one in `BUSLINE_SEED`, or a random one; printed, so that the run can be repeated.
#[must_use]
pub fn seed() -> u64 {
    let given = std::env::var("BUSLINE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("seed {seed} (set BUSLINE_SEED to run it again)");
    seed
}
