//! The wire protocol: requests in, replies out. Knows nothing of data types, clients or commands.

mod output;
mod reply;
mod request;

pub use output::Output;
pub use reply::{Protocol, Reply};
pub use request::{ArgRange, Args, Limits, ParseError, Parser, Step};
