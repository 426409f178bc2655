//! Who serves: everything that has a socket, an event loop, a timer or a signal. What is kept is `persistence`'s.

mod batch;
mod connection;
mod control;
mod door;
mod drain;
mod ending;
mod event_loop;
mod hold;
mod housekeeping;
mod intake;
mod listen;
mod logging;
mod messages;
mod migrate;
mod run;
mod sending;
mod supervision;
mod turn;
mod unsent;

pub(crate) use connection::limits;
pub use logging::{LogError, Logging};
pub use run::{Launch, StartError, run};
