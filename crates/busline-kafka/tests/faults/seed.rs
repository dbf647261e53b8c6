//! The dice of a run.

use rand::SeedableRng;
use rand::rngs::StdRng;

/// Of a seed that is printed, or of the one in the environment.
pub(crate) fn dice() -> StdRng {
    let given = std::env::var("BUSLINE_SEED").ok().and_then(|text| text.parse().ok());
    let seed = given.unwrap_or_else(rand::random);
    println!("seed {seed} (set BUSLINE_SEED to run it again)");
    StdRng::seed_from_u64(seed)
}
