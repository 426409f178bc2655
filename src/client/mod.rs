//! Clients: what a connection knows about itself ([`Client`], owned by its event loop), what others may know about it
//! ([`ClientInfo`], in the registry), and how other threads reach it ([`Mailbox`]).

mod delivery;
mod info;
mod kill;
mod mailbox;
mod migration;
mod muted;
mod registry;
mod reload;
mod session;

pub use delivery::{Delivery, Parcel};
pub use info::{ClientFlags, ClientInfo, is_valid_name};
pub use kill::{Acknowledgement, Acknowledgements};
pub use mailbox::{Mailbox, Message, Taken};
pub use migration::{Luggage, MigrationOrder, MigrationResult, MovedKey};
pub use registry::Clients;
pub use reload::{QuietPoint, Reload, ReloadOrder, ReloadResult};
pub use session::{
    Blocked, Client, Closing, Gates, NO_LOG, Parked, QueuedRequest, Sighting, Transaction, Unfinished,
    WatchedKey, Withheld,
};
