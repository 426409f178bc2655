//! Everything that has a socket, a thread or a timer: the event loops, accepting, signals, the cron.

mod batch;
mod connection;
mod event_loop;
mod listen;
mod run;

pub(crate) use event_loop::limits;
pub use run::{StartError, run};
