//! Real servers to work against: started, listed, stopped.

mod kind;
mod request;
mod started;
mod task;

pub(crate) use request::Request;
pub(crate) use task::run;
