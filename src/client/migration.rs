//! MIGRATE while it is under way: what the control thread sends to another server, and what it then tells the client's event loop.
//!
//! The values are copies. The keys stay where they are and in use until the other server has them; then those that have not changed are
//! deleted, see `command/generic/migrate.rs`.

/// A key on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct MovedKey {
    pub key: Vec<u8>,
    pub value: Vec<u8>,
    /// Unix milliseconds.
    pub expire_at_ms: Option<i64>,
}

/// What is to be sent, and where to.
#[derive(Debug)]
pub struct MigrationOrder {
    pub host: String,
    pub port: u16,
    /// The words behind AUTH, if there are any: a password, or a user and a password.
    pub credentials: Vec<Vec<u8>>,
    /// The database over there.
    pub database: i64,
    /// How long each of connecting, writing and reading may take.
    pub timeout_ms: u64,
    /// Keys that are there may be replaced.
    pub replace: bool,
    pub keys: Vec<MovedKey>,
    /// The time of the request, from which the remaining time of keys counts.
    pub now_ms: i64,
    /// The client that waits.
    pub loop_index: usize,
    pub place: usize,
    pub id: u64,
}

/// How it went.
#[derive(Debug, Default)]
pub struct MigrationResult {
    /// Keys that the other server has confirmed.
    pub arrived: Vec<MovedKey>,
    /// What the client is told if not all of them were.
    pub error: Option<Vec<u8>>,
}
