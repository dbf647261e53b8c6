//! The subscribing engine: many keys at once, one key strictly in order.
//!
//! ```text
//!  Source ─ records ─→ reader ─→ Lanes (a queue for each key) ─→ workers ─→ handler
//!     ↑                            │ finished prefix     ↑         │
//!     └──── commits ── tender ←────┘                     └─ ends ──┘
//! ```

mod builder;
mod engine;
mod guarded;
mod handler;
mod lanes;
mod progress;
mod reader;
mod retry;
mod settings;
mod subscribe;
mod tender;
mod watchdog;
mod worker;

pub(crate) use subscribe::SubscriptionCore;

pub use builder::SubscriptionBuilder;
pub use engine::SubscriptionStats;
pub use handler::{Delivery, Handler, HandlerError, Verdict};
pub use retry::Retry;
pub use settings::SubscriptionSettings;
pub use subscribe::{Blocked, Left, Subscription};
