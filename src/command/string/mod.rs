//! Commands on strings, a file for each family.
//!
//! A value is always bytes in its entry. Numbers are read from them and printed back, and what OBJECT ENCODING says is derived from
//! them; only an edit in place (APPEND, SETRANGE) leaves a mark.

mod condition;
mod expiry;
mod get;
mod lcs;
mod number;
mod range;
mod set;
mod several;

pub use condition::ROWS as CONDITION_ROWS;
pub use get::ROWS as GET_ROWS;
pub use lcs::ROWS as LCS_ROWS;
pub use number::ROWS as NUMBER_ROWS;
pub use range::ROWS as RANGE_ROWS;
pub use set::ROWS as SET_ROWS;
pub use several::ROWS as SEVERAL_ROWS;
