//! The promises of Busline as tests that every driver runs.
