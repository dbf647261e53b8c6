//! Who the client is and who the server is, on real servers: each way of both opens the door, each wrong one has its
//! name, and no secret is ever printed.

mod certificates;
mod door;
mod keys;
mod listener;
mod passwords;
mod permissions;
mod requests;
mod revoked;
mod tokens;
