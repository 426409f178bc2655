//! What HRANDFIELD, SRANDMEMBER and ZRANDMEMBER have in common: how many elements are drawn.

use super::cx::{Cx, Failure};
use crate::resp::Reply;

/// What is drawn. Every element is as likely as any other, whatever the form of its collection.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Draw {
    /// One, which is the reply.
    One,
    /// So many independent draws.
    Repeated(u64),
    /// So many different ones, at most all.
    Distinct(u64),
}

impl Draw {
    /// Reads the count behind the key, and the word that may stand behind it; says whether that is there.
    ///
    /// # Errors
    /// If the count is none, or out of range, or something else stands behind it.
    pub fn read(cx: &Cx<'_, '_>, word: Option<&str>) -> Result<(Draw, bool), Failure> {
        if cx.args.len() == 2 {
            return Ok((Draw::One, false));
        }
        if word.is_none() && cx.args.len() > 3 {
            return Err(Failure::SYNTAX);
        }
        let count = cx.integer(2)?;
        if count == i64::MIN {
            let (min, max) = (-i64::MAX, i64::MAX);
            let text = format!("ERR value is out of range, value must between {min} and {max}");
            return Err(Failure::owned(text));
        }
        let has_word = match (cx.args.get(3), word) {
            (None, _) => false,
            (Some(given), Some(word))
                if cx.args.len() == 4 && given.eq_ignore_ascii_case(word.as_bytes()) =>
            {
                true
            }
            _ => return Err(Failure::SYNTAX),
        };
        // Twice as many words must be a number.
        if has_word && count.abs() > i64::MAX / 2 {
            return Err(Failure::text("ERR value is out of range"));
        }
        let many = count.unsigned_abs();
        Ok((if count < 0 { Draw::Repeated(many) } else { Draw::Distinct(many) }, has_word))
    }

    /// The reply where there is nothing to draw from.
    pub fn answer_nothing(self, reply: &mut Reply<'_>) {
        match self {
            Draw::One => reply.null(),
            Draw::Repeated(_) | Draw::Distinct(_) => reply.array(0),
        }
    }
}
