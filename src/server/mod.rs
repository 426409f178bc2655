//! Everything that has a socket, a thread or a timer: the event loops, accepting, signals, the log.

mod batch;
mod connection;
mod control;
mod drain;
mod event_loop;
mod listen;
mod logging;
mod run;
mod system;

pub(crate) use event_loop::limits;
pub use logging::{LogError, Logging};
pub use run::{Launch, StartError, run};
