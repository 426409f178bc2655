//! The options of SET and GETEX that say when a key goes away.
//!
//! An option may be repeated, and then the last one counts; two different ones exclude each other.

use super::super::cx::{Cx, Failure};
use crate::base::number::parse_i64;
use crate::resp::Args;

/// An option about the deadline.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Timing {
    /// `KEEPTTL`
    Keep,
    /// `PERSIST`
    Persist,
    /// `EX`: seconds from now.
    Seconds,
    /// `PX`: milliseconds from now.
    Milliseconds,
    /// `EXAT`: Unix seconds.
    UnixSeconds,
    /// `PXAT`: Unix milliseconds.
    UnixMilliseconds,
}

impl Timing {
    #[inline]
    fn named(word: &[u8]) -> Option<Timing> {
        let is = |name: &[u8]| word.eq_ignore_ascii_case(name);
        match word.len() {
            2 if is(b"EX") => Some(Timing::Seconds),
            2 if is(b"PX") => Some(Timing::Milliseconds),
            4 if is(b"EXAT") => Some(Timing::UnixSeconds),
            4 if is(b"PXAT") => Some(Timing::UnixMilliseconds),
            7 if is(b"KEEPTTL") => Some(Timing::Keep),
            7 if is(b"PERSIST") => Some(Timing::Persist),
            _ => None,
        }
    }

    fn has_value(self) -> bool {
        !matches!(self, Timing::Keep | Timing::Persist)
    }

    /// Reads the option's value as an absolute deadline in Unix milliseconds.
    ///
    /// # Errors
    /// Redis's texts for a number that is none, not above zero, or out of range.
    #[inline]
    pub fn deadline(self, cx: &Cx<'_, '_>, value: &[u8]) -> Result<i64, Failure> {
        let given = parse_i64(value).ok_or(Failure::NOT_AN_INTEGER)?;
        let factor = if matches!(self, Timing::Seconds | Timing::UnixSeconds) { 1000 } else { 1 };
        let base = if matches!(self, Timing::Seconds | Timing::Milliseconds) { cx.now_ms() } else { 0 };
        let at = given.checked_mul(factor).and_then(|ms| ms.checked_add(base));
        at.filter(|_| given > 0).ok_or_else(|| invalid_expire_time(cx))
    }
}

/// The error for a time that cannot be.
#[cold]
fn invalid_expire_time(cx: &Cx<'_, '_>) -> Failure {
    Failure::owned(format!("ERR invalid expire time in '{}' command", cx.command.full_name))
}

/// What the options of one request say.
#[derive(Clone, Copy, Default)]
pub struct Expiry<'a> {
    pub timing: Option<Timing>,
    value: &'a [u8],
}

impl<'a> Expiry<'a> {
    /// Takes the option at `at`; gives the index behind it. `refused` is the option that only the other command has.
    ///
    /// # Errors
    /// A syntax error if that is no option, lacks its value, or disagrees with an earlier one.
    #[inline]
    pub fn take(&mut self, args: Args<'a>, at: usize, refused: Timing) -> Result<usize, Failure> {
        let timing = Timing::named(args.at(at)).ok_or(Failure::SYNTAX)?;
        if timing == refused || self.timing.is_some_and(|earlier| earlier != timing) {
            return Err(Failure::SYNTAX);
        }
        self.timing = Some(timing);
        if !timing.has_value() {
            return Ok(at + 1);
        }
        self.value = args.get(at + 1).ok_or(Failure::SYNTAX)?;
        Ok(at + 2)
    }

    /// The deadline that the options give, if they give one.
    ///
    /// # Errors
    /// See [`Timing::deadline`].
    #[inline]
    pub fn deadline(&self, cx: &Cx<'_, '_>) -> Result<Option<i64>, Failure> {
        match self.timing {
            Some(timing) if timing.has_value() => timing.deadline(cx, self.value).map(Some),
            _ => Ok(None),
        }
    }
}
