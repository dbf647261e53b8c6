//! Development tasks of the Busline workspace.
fn main() {}
