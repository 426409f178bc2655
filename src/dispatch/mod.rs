//! From a request to its effects: admission, locks, the command's function, and what follows when the locks are released.

mod admit;
mod execute;
mod expire;
mod leave;
mod memory;
mod record;
mod replay;
mod slow;
mod transaction;
mod wake;

#[cfg(test)]
mod tests;

pub use execute::{EMPTY, Prepared, execute, prepare, refuse};
pub use expire::expire_round;
pub use leave::forget_client;
pub use memory::{client_memory_limit, evict_clients, relieve};
pub use record::append_expired;
pub use replay::{NO_DATABASE, replay};
pub use wake::wake;
