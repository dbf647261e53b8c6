//! An event bus for domain events with the same promises on every backend.
