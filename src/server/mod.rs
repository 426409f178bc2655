//! Everything that has a socket, a thread or a timer: the event loops, accepting, signals, the log.

mod batch;
mod connection;
mod control;
mod drain;
mod event_loop;
mod hold;
mod housekeeping;
mod listen;
mod load;
mod log_writer;
mod logging;
mod messages;
mod migrate;
mod persistence;
mod reload;
mod run;
mod save;
mod scheduling;
mod store;
#[cfg(test)]
mod store_tests;
mod system;

pub(crate) use connection::limits;
pub use logging::{LogError, Logging};
pub use run::{Launch, StartError, run};
