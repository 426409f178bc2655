//! What keeps the data while the server runs: the open data directory and the work on it (loading, the write log's thread, saves and reloads).
//!
//! Four places share the word "snapshot" and "log"; each owns one side of it:
//!
//! ```text
//! storage      the format: files of the data directory, byte by byte; no state of a running server
//! snapshot     the state:  which save runs, how the last one went, how far loading has come
//! write_log    the state:  the log's buffer and its offsets
//! persistence  the work:   threads that load, write, save; the order in which files come and go
//! ```
//! It knows no sockets and no event loops; what clients must hear goes through their mailboxes.

mod end;
mod flush;
mod helpers;
mod import;
mod load;
mod log_writer;
mod redis_log;
mod reload;
mod save;
mod start;
#[cfg(test)]
mod step_tests;
mod store;
#[cfg(test)]
mod store_tests;
mod threads;
mod trial;
mod visit;

pub use end::{EndTask, end_log};
pub use load::LoadError;
pub use log_writer::LogTask;
pub use reload::LOADED_SOON;
pub use save::{SaveTask, Saver};
pub use start::Loader;
pub use store::{Store, StoreError};
pub use threads::{Persistence, look, open_store};
pub use trial::load_for_trial;
pub use visit::Visitor;
