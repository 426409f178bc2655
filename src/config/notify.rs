//! Flags of `notify-keyspace-events`: which keyspace events are published, and on which channels.
//!
//! Owns the letters, their meaning, and the order in which CONFIG GET shows them. The letters come from the
//! Redis documentation page "Redis keyspace notifications"; the order was read from
//! redis-server 7.0.15 and 8.2.3.

use std::fmt;
use std::ops::BitOr;

/// A set of event classes and channel kinds. Empty means that nothing is published.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct NotifyFlags(u32);

impl NotifyFlags {
    /// `K`: publish on `__keyspace@<db>__:<key>`.
    pub const KEYSPACE: NotifyFlags = NotifyFlags(1);
    /// `E`: publish on `__keyevent@<db>__:<event>`.
    pub const KEYEVENT: NotifyFlags = NotifyFlags(1 << 1);
    /// `g`: commands on keys of any type, such as DEL, EXPIRE, RENAME.
    pub const GENERIC: NotifyFlags = NotifyFlags(1 << 2);
    /// `$`: string commands.
    pub const STRING: NotifyFlags = NotifyFlags(1 << 3);
    /// `l`: list commands.
    pub const LIST: NotifyFlags = NotifyFlags(1 << 4);
    /// `s`: set commands.
    pub const SET: NotifyFlags = NotifyFlags(1 << 5);
    /// `h`: hash commands.
    pub const HASH: NotifyFlags = NotifyFlags(1 << 6);
    /// `z`: sorted set commands.
    pub const SORTED_SET: NotifyFlags = NotifyFlags(1 << 7);
    /// `x`: a key's time passed.
    pub const EXPIRED: NotifyFlags = NotifyFlags(1 << 8);
    /// `e`: a key was evicted because of `maxmemory`.
    pub const EVICTED: NotifyFlags = NotifyFlags(1 << 9);
    /// `t`: stream commands.
    pub const STREAM: NotifyFlags = NotifyFlags(1 << 10);
    /// `m`: a command asked for a key that does not exist. Not part of `A`.
    pub const KEY_MISS: NotifyFlags = NotifyFlags(1 << 11);
    /// `d`: events of module types.
    pub const MODULE: NotifyFlags = NotifyFlags(1 << 12);
    /// `n`: a new key was added to the keyspace. Not part of `A`.
    pub const NEW_KEY: NotifyFlags = NotifyFlags(1 << 13);
    /// `o`: a value was overwritten. Since Redis 8.2, not part of `A`; nothing publishes such an event here.
    pub const OVERWRITTEN: NotifyFlags = NotifyFlags(1 << 14);
    /// `c`: a key's type was changed. Since Redis 8.2, not part of `A`; there is one type.
    pub const TYPE_CHANGED: NotifyFlags = NotifyFlags(1 << 15);
    /// `A`: the classes `g$lshzxetd`.
    pub const ALL: NotifyFlags = NotifyFlags(
        NotifyFlags::GENERIC.0
            | NotifyFlags::STRING.0
            | NotifyFlags::LIST.0
            | NotifyFlags::SET.0
            | NotifyFlags::HASH.0
            | NotifyFlags::SORTED_SET.0
            | NotifyFlags::EXPIRED.0
            | NotifyFlags::EVICTED.0
            | NotifyFlags::STREAM.0
            | NotifyFlags::MODULE.0,
    );

    /// The flags that `letters` name, in any order and any number of times; `None` when a letter has no
    /// meaning.
    pub fn parse(letters: &[u8]) -> Option<NotifyFlags> {
        let mut flags = NotifyFlags::default();
        for &letter in letters {
            flags = flags | NotifyFlags::from_letter(letter)?;
        }
        Some(flags)
    }

    /// True when every flag of `other` is set.
    pub const fn contains(self, other: NotifyFlags) -> bool {
        self.0 & other.0 == other.0
    }

    /// True when at least one flag of `other` is set.
    pub const fn intersects(self, other: NotifyFlags) -> bool {
        self.0 & other.0 != 0
    }

    /// True when nothing is to be published: no class is set, or no kind of channel is.
    pub const fn is_silent(self) -> bool {
        let channels = NotifyFlags::KEYSPACE.0 | NotifyFlags::KEYEVENT.0;
        self.0 & channels == 0 || self.0 & !channels == 0
    }

    fn from_letter(letter: u8) -> Option<NotifyFlags> {
        if letter == b'A' {
            return Some(NotifyFlags::ALL);
        }
        CLASSES.iter().chain(CHANNELS).find(|(known, _)| *known == letter as char).map(|(_, flag)| *flag)
    }
}

/// Writes the letters as CONFIG GET shows them: `A` or the single classes, then `K`, `E` and `m`.
/// As in Redis, `n`, `o` and `c` do not show beside `A`.
impl fmt::Display for NotifyFlags {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let classes: &[(char, NotifyFlags)] =
            if self.contains(NotifyFlags::ALL) { &[('A', NotifyFlags::ALL)] } else { CLASSES };
        for (letter, flag) in classes.iter().chain(CHANNELS) {
            if self.contains(*flag) {
                write!(out, "{letter}")?;
            }
        }
        Ok(())
    }
}

impl BitOr for NotifyFlags {
    type Output = NotifyFlags;

    fn bitor(self, other: NotifyFlags) -> NotifyFlags {
        NotifyFlags(self.0 | other.0)
    }
}

/// Event classes, in the order of CONFIG GET.
const CLASSES: &[(char, NotifyFlags)] = &[
    ('g', NotifyFlags::GENERIC),
    ('$', NotifyFlags::STRING),
    ('l', NotifyFlags::LIST),
    ('s', NotifyFlags::SET),
    ('h', NotifyFlags::HASH),
    ('z', NotifyFlags::SORTED_SET),
    ('x', NotifyFlags::EXPIRED),
    ('e', NotifyFlags::EVICTED),
    ('t', NotifyFlags::STREAM),
    ('d', NotifyFlags::MODULE),
    ('n', NotifyFlags::NEW_KEY),
    ('o', NotifyFlags::OVERWRITTEN),
    ('c', NotifyFlags::TYPE_CHANGED),
];

/// Letters that follow the classes, `A` or not.
const CHANNELS: &[(char, NotifyFlags)] =
    &[('K', NotifyFlags::KEYSPACE), ('E', NotifyFlags::KEYEVENT), ('m', NotifyFlags::KEY_MISS)];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_are_normalised_as_redis_shows_them() {
        for (given, shown) in [
            ("Egx", "gxE"),
            ("KEA", "AKE"),
            ("KEg$lshzxetdmn", "AKEm"),
            ("g$lshzxetd", "A"),
            ("nmAEK", "AKEm"),
            ("A$n", "A"),
            ("gn", "gn"),
            ("KEcon", "nocKE"),
            ("KEAo", "AKE"),
            ("g$lshzxetdc", "A"),
            ("tdme", "etdm"),
            ("", ""),
        ] {
            let flags = NotifyFlags::parse(given.as_bytes()).expect(given);
            assert_eq!(flags.to_string(), shown, "{given}");
        }
        assert_eq!(NotifyFlags::parse(b"Kq"), None);
    }

    #[test]
    fn silence_needs_a_class_or_a_channel_to_be_missing() {
        let flags = |letters: &[u8]| NotifyFlags::parse(letters).expect("known letters");
        assert!(flags(b"").is_silent());
        assert!(flags(b"KE").is_silent());
        assert!(flags(b"gx").is_silent());
        assert!(!flags(b"Ex").is_silent());
        assert!(flags(b"Ex").contains(NotifyFlags::EXPIRED));
        assert!(!flags(b"Ex").contains(NotifyFlags::ALL));
        assert!(flags(b"Ex").intersects(NotifyFlags::ALL));
    }
}
