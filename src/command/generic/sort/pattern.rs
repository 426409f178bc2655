//! Patterns of BY and GET: which key they name for an element, and what is found there.

use crate::base::quote::up_to_zero;
use crate::command::cx::{Cx, Failure};
use crate::keyspace::Kind;
use crate::keyspace::values::Fields;
use crate::resp::Reply;

/// `prefix*suffix`, or `prefix*suffix->field`; `#` is the element itself.
pub struct Pattern<'a> {
    word: &'a [u8],
    /// What stands before and behind the place of the element, if there is one.
    around: Option<(&'a [u8], &'a [u8])>,
    field: Option<&'a [u8]>,
}

impl<'a> Pattern<'a> {
    pub fn of(word: &'a [u8]) -> Pattern<'a> {
        let Some(star) = up_to_zero(word).iter().position(|byte| *byte == b'*') else {
            return Pattern { word, around: None, field: None };
        };
        let (before, behind) = (&word[..star], &word[star + 1..]);
        // An arrow without a field behind it belongs to the name.
        let arrow = behind.windows(2).position(|pair| pair == b"->").filter(|at| at + 2 < behind.len());
        match arrow {
            Some(at) => {
                Pattern { word, around: Some((before, &behind[..at])), field: Some(&behind[at + 2..]) }
            }
            None => Pattern { word, around: Some((before, behind)), field: None },
        }
    }

    /// Whether it names a key.
    pub fn is_open(&self) -> bool {
        self.around.is_some()
    }

    /// The key that it names for an element; empty if it names none.
    pub fn key(&self, element: &[u8]) -> Vec<u8> {
        self.around.map_or(Vec::new(), |(before, behind)| [before, element, behind].concat())
    }

    /// Shows what is found for an element: a string, a field of a hash, or nothing.
    pub fn look<T>(
        &self,
        cx: &mut Cx<'_, '_>,
        element: &[u8],
        see: impl FnOnce(&mut Reply<'_>, Option<&[u8]>) -> T,
    ) -> Result<T, Failure> {
        if self.word == b"#" {
            return Ok(see(&mut cx.reply, Some(element)));
        }
        if !self.is_open() {
            return Ok(see(&mut cx.reply, None));
        }
        let name = self.key(element);
        let key = cx.further(&name)?;
        let Some(position) = cx.access(key) else { return Ok(see(&mut cx.reply, None)) };
        let (keyspace, expired_ms) = (&cx.services().keyspace, cx.state.expired_ms);
        let (entry, reply) = cx.entry_and_reply(key, position);
        let Some(field) = self.field else {
            return Ok(see(reply, entry.is_string().then(|| entry.value())));
        };
        let fields = (entry.kind() == Kind::Hash).then(|| Fields::of(keyspace, entry));
        let found = fields.and_then(|fields| fields.get(field)).filter(|field| !field.is_due(expired_ms));
        let room = &mut itoa::Buffer::new();
        Ok(see(reply, found.map(|field| field.value.bytes(room))))
    }
}
