//! The part of a request that names its fields, `FIELDS numfields field ...`, and the time that it gives them.

use super::super::cx::{Cx, Failure};
use crate::base::number::parse_i64;
use crate::resp::Args;

/// The latest deadline that Redis gives a field.
const DEADLINE_MAX_MS: i64 = (1 << 46) - 1;

pub const NO_POSITIVE_NUMBER: &str = "ERR Number of fields must be a positive integer";

/// The names behind `FIELDS numfields`, which stands at `at` and goes to the end.
///
/// # Errors
/// If it stands elsewhere, or another number of names follows; `no_number` where the number is none above zero.
pub fn fields_at<'a>(args: Args<'a>, at: usize, no_number: &'static str) -> Result<Args<'a>, Failure> {
    if !args.get(at).is_some_and(|word| word.eq_ignore_ascii_case(b"FIELDS")) {
        return Err(Failure::text("ERR Mandatory argument FIELDS is missing or not at the right position"));
    }
    let count = args.get(at + 1).and_then(parse_i64).filter(|count| *count > 0);
    let count = count.ok_or(Failure::text(no_number))?;
    if count != args.len() as i64 - at as i64 - 2 {
        return Err(Failure::text("ERR The `numfields` parameter must match the number of arguments"));
    }
    Ok(args.from(at + 2))
}

/// How a time is told.
#[derive(Clone, Copy)]
pub struct Unit {
    ms: i64,
    /// From now on; else a Unix time.
    is_relative: bool,
}

impl Unit {
    pub const SECONDS: Unit = Unit { ms: 1000, is_relative: true };
    pub const MILLISECONDS: Unit = Unit { ms: 1, is_relative: true };
    pub const UNIX_SECONDS: Unit = Unit { ms: 1000, is_relative: false };
    pub const UNIX_MILLISECONDS: Unit = Unit { ms: 1, is_relative: false };

    /// What an option's name stands for.
    pub fn named(word: &[u8]) -> Option<Unit> {
        let names: [(&[u8], Unit); 4] = [
            (b"EX", Unit::SECONDS),
            (b"PX", Unit::MILLISECONDS),
            (b"EXAT", Unit::UNIX_SECONDS),
            (b"PXAT", Unit::UNIX_MILLISECONDS),
        ];
        names.into_iter().find(|(name, _)| word.eq_ignore_ascii_case(name)).map(|(_, unit)| unit)
    }

    /// A time as a deadline in Unix milliseconds.
    ///
    /// # Errors
    /// If it is no number, below zero, or too far away.
    pub fn deadline(self, cx: &Cx<'_, '_>, word: Option<&[u8]>) -> Result<i64, Failure> {
        let given = word.and_then(parse_i64).ok_or(Failure::NOT_AN_INTEGER)?;
        if given < 0 {
            return Err(Failure::text("ERR invalid expire time, must be >= 0"));
        }
        let base_ms = if self.is_relative { cx.now_ms() } else { 0 };
        let at_ms = given.checked_mul(self.ms).and_then(|ms| ms.checked_add(base_ms));
        at_ms.filter(|at_ms| *at_ms <= DEADLINE_MAX_MS).ok_or_else(|| {
            Failure::owned(format!("ERR invalid expire time in '{}' command", cx.command.full_name))
        })
    }
}

/// Writes a record of the write log: the words of `head`, then how many names follow, then these.
pub fn log_fields(cx: &mut Cx<'_, '_>, head: &[&[u8]], names: &[&[u8]]) {
    let digits = &mut itoa::Buffer::new();
    let count: [&[u8]; 2] = [b"FIELDS", digits.format(names.len()).as_bytes()];
    cx.log(&[head, &count, names].concat());
}
