//! What the bytes of a value are. It stands in the header of an entry and in its record in a snapshot.

/// See the module's text. The three kinds of strings differ in what OBJECT ENCODING must still know of one whose bytes do not tell.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Default)]
#[repr(u8)]
pub enum Kind {
    /// A string, and its bytes tell: a number is an `int`, a short string is `embstr`.
    #[default]
    String = 0,
    /// The string is `raw`, because it was changed in place.
    Raw = 1,
    /// The string looks like a number and is none.
    Text = 2,
    List = 3,
    Set = 4,
    SortedSet = 5,
    Hash = 6,
    Stream = 7,
}

impl Kind {
    /// Kinds of collections.
    pub const COLLECTIONS: [Kind; 5] = [Kind::List, Kind::Set, Kind::SortedSet, Kind::Hash, Kind::Stream];

    /// The kind with these low three bits.
    #[inline]
    pub const fn from_bits(bits: u8) -> Kind {
        match bits & 7 {
            0 => Kind::String,
            1 => Kind::Raw,
            2 => Kind::Text,
            3 => Kind::List,
            4 => Kind::Set,
            5 => Kind::SortedSet,
            6 => Kind::Hash,
            _ => Kind::Stream,
        }
    }

    #[inline]
    pub const fn is_string(self) -> bool {
        (self as u8) < Kind::List as u8
    }

    /// What TYPE says.
    pub const fn type_name(self) -> &'static str {
        match self {
            Kind::String | Kind::Raw | Kind::Text => "string",
            Kind::List => "list",
            Kind::Set => "set",
            Kind::SortedSet => "zset",
            Kind::Hash => "hash",
            Kind::Stream => "stream",
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_kind_is_its_bits() {
        for bits in 0..8 {
            assert_eq!(Kind::from_bits(bits) as u8, bits);
            assert_eq!(Kind::from_bits(bits).is_string(), Kind::from_bits(bits).type_name() == "string");
        }
    }
}
