//! What lies inside a value of several elements: hashes, lists, sets, sorted sets, streams.
//!
//! A small collection is one run of records in the entry's own block. A large one is a [`Tree`]: leaves of at most some kilobytes, in an order that is
//! all that differs between types ([`Order`]), below inner nodes that count the records and know the earliest deadline of each branch. So a rank, a
//! range by rank and a member drawn at random take O(log n) for every type, a leaf is what a snapshot captures of a value that changes, and nothing
//! is ever converted or resized as a whole.

mod arena;
mod block;
pub mod element;
mod hashed;
mod integers;
mod leaf;
mod order;
mod packed;
mod scored;
mod sorted_set;
pub mod stream;
pub mod text;
mod tree;
#[cfg(test)]
mod tree_tests;

pub use block::Block;
pub use hashed::{ByHash, DEADLINE_MAX_MS, Field, Name, Shape, due_of};
pub use integers::Integers;
pub use leaf::Leaf;
pub use order::{ByPosition, Index, Order};
pub use packed::{Packed, Splice, Spot};
pub use scored::{Bound, ByScore, Draft, Scored};
pub use sorted_set::{Set, SortedSet};
pub use text::Text;
pub use tree::{Capture, Limits, NoCapture, Place, Tree};
