//! CRC16 of keys and the slot that follows from it.
//!
//! The checksum is CRC-16/XMODEM (polynomial 0x1021, most significant bit first, start 0, no final xor), which the
//! Redis Cluster specification fixes for key slots. Each request's key passes here, so the work is done eight bytes at
//! a time: table `TABLES[zeros]` holds the checksum of each byte followed by that many zero bytes, and because the
//! checksum is linear, eight look-ups xored together advance it by eight bytes.
//!
//! Because the start value is 0, zero bytes in front of the input do not change the result. So an input whose length
//! is no multiple of eight is treated as if it were filled up with zeros at its front: one step for the odd bytes at
//! the beginning, then only whole words, and no byte loop at the end.

/// How many slots the key space of a Redis Cluster has.
pub const SLOTS: u16 = 16384;

const POLYNOMIAL: u16 = 0x1021;

/// `TABLES[zeros][byte]`: the checksum of `byte` and then `zeros` zero bytes. 4 KB, so it stays in the first cache.
static TABLES: [[u16; 256]; 8] = tables();

const fn tables() -> [[u16; 256]; 8] {
    let mut tables = [[0; 256]; 8];
    let mut byte = 0;
    while byte < 256 {
        let mut crc = (byte as u16) << 8;
        let mut zeros = 0;
        while zeros < 8 {
            let mut bit = 0;
            while bit < 8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
                bit += 1;
            }
            tables[zeros][byte] = crc;
            zeros += 1;
        }
        byte += 1;
    }
    tables
}

/// The CRC-16/XMODEM checksum of `bytes`.
pub fn crc16(bytes: &[u8]) -> u16 {
    let (head, words) = bytes.split_at(bytes.len() % 8);
    // Reading the odd bytes as one word that overlaps the next ones is cheaper than collecting them one by one.
    let head_word = match bytes.first_chunk() {
        Some(first) => u64::from_be_bytes(*first).unbounded_shr(64 - 8 * head.len() as u32),
        None => head.iter().fold(0, |word, byte| word << 8 | u64::from(*byte)),
    };
    let mut crc = if head.is_empty() { 0 } else { advance(0, head_word) };
    for word in words.as_chunks().0 {
        crc = advance(crc, u64::from_be_bytes(*word));
    }
    crc
}

/// Advances `crc` by the eight bytes of `word`, the most significant first.
#[inline(always)]
fn advance(crc: u16, word: u64) -> u16 {
    // Only the first two bytes meet the checksum so far. The other look-ups do not wait for the previous word.
    let [_, _, rest @ ..] = word.to_be_bytes();
    let [first, second] = ((word >> 48) as u16 ^ crc).to_be_bytes();
    let look_up = |zeros: usize, byte: u8| TABLES[zeros][usize::from(byte)];
    let rest = (look_up(5, rest[0]) ^ look_up(4, rest[1]))
        ^ (look_up(3, rest[2]) ^ look_up(2, rest[3]))
        ^ (look_up(1, rest[4]) ^ look_up(0, rest[5]));
    (look_up(7, first) ^ look_up(6, second)) ^ rest
}

/// The slot of `key`, below [`SLOTS`]: the checksum of its hash tag, or of the whole key when it has none.
pub fn key_slot(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// The part of `key` between its first `{` and the first `}` after that, when it is not empty (Redis Cluster
/// specification, "Hash tags"). Keys with the same hash tag share a slot.
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    if !has_opening_brace(key) {
        return None;
    }
    let behind_brace = &key[memchr::memchr(b'{', key)? + 1..];
    let length = memchr::memchr(b'}', behind_brace)?;
    (length > 0).then(|| &behind_brace[..length])
}

/// Most keys have no brace, and calling memchr for a short key costs more than to look at all of it here: a test of 16
/// bytes without early exit becomes a few vector instructions. The last block overlaps the one before it.
#[inline]
fn has_opening_brace(key: &[u8]) -> bool {
    let in_block = |block: &[u8; 16]| block.iter().fold(false, |found, byte| found | (*byte == b'{'));
    match key.last_chunk() {
        Some(last) => key.as_chunks().0.iter().fold(in_block(last), |found, block| found | in_block(block)),
        None => key.contains(&b'{'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The definition of the checksum, bit by bit.
    fn crc16_by_definition(bytes: &[u8]) -> u16 {
        let mut crc: u16 = 0;
        for byte in bytes {
            crc ^= u16::from(*byte) << 8;
            for _ in 0..8 {
                crc = if crc & 0x8000 == 0 { crc << 1 } else { (crc << 1) ^ POLYNOMIAL };
            }
        }
        crc
    }

    #[test]
    fn check_value_of_the_specification() {
        assert_eq!(crc16(b"123456789"), 0x31c3);
        assert_eq!(crc16(b""), 0);
    }

    #[test]
    fn agrees_with_the_definition_at_every_length() {
        let mut state: u64 = 0x5eed;
        for length in 0..=100 {
            for round in 0..20 {
                let bytes: Vec<u8> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        (state >> 56) as u8
                    })
                    .collect();
                assert_eq!(crc16(&bytes), crc16_by_definition(&bytes), "length {length}, round {round}");
            }
        }
    }

    #[test]
    fn leading_zeros_do_not_change_the_checksum() {
        assert_eq!(crc16(b"\x00\x00\x00123456789"), crc16(b"123456789"));
    }

    #[test]
    fn slots_that_redis_answers() {
        for (key, slot) in SLOT_FACTS {
            assert_eq!(key_slot(key), *slot, "key {}", key.escape_ascii());
        }
    }

    #[test]
    fn only_the_first_braces_make_a_hash_tag() {
        assert_eq!(hash_tag(b"{user1000}.following"), Some(b"user1000".as_slice()));
        assert_eq!(hash_tag(b"a{b}{c}"), Some(b"b".as_slice()));
        assert_eq!(hash_tag(b"a{{b}}c"), Some(b"{b".as_slice()));
        assert_eq!(hash_tag(b"}a{b}"), Some(b"b".as_slice()));
        assert_eq!(hash_tag(b"a{}{b}"), None);
        assert_eq!(hash_tag(b"a{b"), None);
        assert_eq!(hash_tag(b"a}b{"), None);
        assert_eq!(hash_tag(b"{"), None);
        assert_eq!(hash_tag(b""), None);
    }

    #[test]
    fn hash_tags_are_found_at_every_place() {
        for length in 3..70 {
            for at in 0..=length - 3 {
                let mut key = vec![b'k'; length];
                key[at..at + 3].copy_from_slice(b"{t}");
                assert_eq!(hash_tag(&key), Some(b"t".as_slice()), "length {length}, at {at}");
            }
        }
    }

    /// Answers of `CLUSTER KEYSLOT` of redis-server 7.0.15.
    const SLOT_FACTS: &[(&[u8], u16)] = &[
        (b"", 0),
        (b"foo", 12182),
        (b"user1000", 3443),
        (b"{user1000}.following", 3443),
        (b"foo{}{bar}", 8363),
        (b"foo{{bar}}zap", 4015),
        (b"foo{bar}{zap}", 5061),
        (b"foo{bar", 15278),
        (b"session:0123456789abcdef0123456789abcdef", 15307),
        (b"{", 4092),
        (b"}{", 12793),
    ];
}
