//! An earlier benchmark beside this one: what got worse.
//!
//! ```text
//! earlier  reads the file of `--json` and says whether it can be compared
//! change   one figure before and now, judged with the noise of both
//! compare  every figure that both have
//! ```

mod change;
mod compare;
mod earlier;

pub use change::{Change, Trend};
pub use compare::BaselineReport;
pub(crate) use compare::compare;
pub(crate) use earlier::Earlier;
pub use earlier::check_baseline;
