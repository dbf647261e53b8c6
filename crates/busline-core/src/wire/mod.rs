//! How an envelope is written into a record's body, and read from it.
//!
//! Two forms, both JSON objects: CloudEvents and the flat one. `docs/wire-format.md` is their description.
//!
//! ```text
//! form             tells the forms apart, offers both directions
//! ├── fast         reads the layout we write, or declines
//! ├── cloudevents  writes and reads the one form
//! └── flat         writes and reads the other
//!     ├── payload      data as JSON, as text, as base64
//!     ├── attributes   further attributes: their names and values
//!     ├── fields       what both forms read alike
//!     └── members      splits a body into its members
//! below all: json_text (text between quotes), json_scan (where a value ends), depth (how deep one may be)
//! ```

mod attributes;
mod cloudevents;
mod depth;
mod fast;
mod fields;
mod flat;
mod form;
mod json_scan;
mod json_text;
mod members;
mod payload;

#[cfg(test)]
mod tests;

pub(crate) use attributes::check_json;
pub(crate) use cloudevents::is_own_attribute;
pub use depth::JSON_DEPTH_MAX;
pub use form::{Format, Wire, decode, key_of};
