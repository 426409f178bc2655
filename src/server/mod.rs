//! Everything that has a socket, a thread or a timer: the event loops, accepting, signals, the cron.

mod batch;
mod connection;
mod event_loop;
mod listen;
mod run;

pub use run::{StartError, run};
