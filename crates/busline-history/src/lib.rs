//! What happened in a run of an event bus, and the judges of it.
