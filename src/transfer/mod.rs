//! `cloakroom import` and `cloakroom export`: sessions on their way between servers and RDB files.
//!
//! ```text
//! FILE.rdb ------ FileOrigin --+               +-- Target ---- a running server
//!                              +-- records --->|
//! a server ------ LiveOrigin --+               +-- rdb::Writer -- FILE.rdb, or dump.rdb in a data directory
//! ```
//! Everything here is a client: it knows the protocol and RDB, not the keyspace. Records go in batches of bounded size, so memory does not
//! depend on how many keys there are. Writing a record twice does no harm, which is what makes an import resumable.

mod connection;
mod error;
mod export;
mod fetch;
mod import;
mod origin;
mod pace;
mod state;
mod target;
#[cfg(test)]
mod tests;

pub use connection::Address;
pub use error::Error;
pub use export::{ExportOptions, export};
pub use import::{Destination, ImportOptions, Source, import};

/// Keys that go together.
const BATCH_KEYS: usize = 512;
/// A batch ends early when its values take this much.
const BATCH_BYTES: usize = 4 << 20;
