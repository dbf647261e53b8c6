//! Busline driver: an embedded, durable log in one SQLite file.
