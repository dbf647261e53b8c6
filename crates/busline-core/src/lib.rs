//! Words, contracts and engines of the Busline event bus.
