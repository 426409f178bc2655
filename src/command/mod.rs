//! Commands: one file for each group, with a table of rows and a function for each row. To add a command, add both.

mod acl;
mod client;
mod cluster;
mod config;
mod connection;
mod cx;
mod debug;
mod deliver;
mod effects;
mod generic;
mod hash;
mod help;
mod info;
mod introspection;
mod keys;
mod list;
mod markdown;
mod memory;
mod module;
mod monitor;
mod persistence;
mod pubsub;
mod records;
mod registry;
mod scanning;
mod server;
mod spec;
mod stream;
mod string;
mod transactions;
mod walk;

pub use connection::REDIS_VERSION;
pub use cx::{Cx, Failure, LOADING, LoopState, Outcome, access_rules, encoding_limits};
pub use deliver::write as write_parcel;
pub use effects::{Deadline, Effects, Event, Record, Records};
pub use hash::EXPIRED_FIELDS;
pub use introspection::docs;
pub use keys::{Located, RequestKeys};
pub use markdown::render_markdown;
pub use monitor::{feed_monitors, leave_monitor, shown_args};
pub use pubsub::{note_subscriptions, publish_behind, publish_events, unsubscribe_all};
#[cfg(test)]
pub use registry::ROWS_OF_TESTS;
pub use registry::{COMMANDS, Command, Commands, KeyPlan, record_named};
pub use spec::{Access, CommandSpec, Effect, Flags, Group, Keys, Run};
pub use transactions::{end_transaction, unwatch_all};
