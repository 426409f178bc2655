//! CRC16 of keys and the slot that follows from it.
//!
//! The checksum is CRC-16/XMODEM (polynomial 0x1021, most significant bit first, start 0, no final xor), which the
//! Redis Cluster specification fixes for key slots. Each request's key passes here, so there are two ways to compute it,
//! which must agree: `carry_less` takes 16 bytes at a time with the processor's multiplication of polynomials, and the
//! tables here take eight bytes at a time on processors without that. Table `TABLES[zeros]` holds the checksum of each byte
//! followed by that many zero bytes, and because the checksum is linear, eight look-ups xored together advance it by eight bytes.
//!
//! Because the start value is 0, zero bytes in front of the input do not change the result. So an input whose length
//! is no multiple of a step is treated as if it were filled up with zeros at its front: one step for the odd bytes at
//! the beginning, then only whole steps, and no byte loop at the end.

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
#[inline]
pub fn key_slot(key: &[u8]) -> u16 {
    #[cfg(target_arch = "x86_64")]
    if is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("ssse3") {
        // SAFETY: the processor has both features that the function is compiled for.
        let sum = unsafe { carry_less::crc16_without_brace(key) };
        if let Some(sum) = sum {
            return sum % SLOTS;
        }
    }
    key_slot_by_tables(key)
}

#[inline(never)]
fn key_slot_by_tables(key: &[u8]) -> u16 {
    crc16(hash_tag(key).unwrap_or(key)) % SLOTS
}

/// The part of `key` between its first `{` and the first `}` after that, when it is not empty (Redis Cluster
/// specification, "Hash tags"). Keys with the same hash tag share a slot.
pub fn hash_tag(key: &[u8]) -> Option<&[u8]> {
    let behind_brace = &key[memchr::memchr(b'{', key)? + 1..];
    let length = memchr::memchr(b'}', behind_brace)?;
    (length > 0).then(|| &behind_brace[..length])
}

/// The checksum by multiplication of polynomials over bits (PCLMULQDQ).
///
/// Sixteen bytes are a polynomial of 128 coefficients, the first byte the highest; P is the checksum's polynomial. All constants are
/// powers of x modulo P, so they have 16 bits and products of 64 bits with them have 80: nothing overflows.
#[cfg(target_arch = "x86_64")]
mod carry_less {
    use std::arch::x86_64::{
        __m128i, _mm_clmulepi64_si128, _mm_cmpeq_epi8, _mm_cvtsi128_si64, _mm_movemask_epi8, _mm_or_si128,
        _mm_set_epi64x, _mm_set1_epi8, _mm_shuffle_epi8, _mm_srli_si128, _mm_sub_epi8, _mm_xor_si128,
    };

    /// P, with its highest term.
    const POLYNOMIAL: u64 = 1 << 16 | super::POLYNOMIAL as u64;
    /// The whole part of x^80 / P, without its highest term, x^64.
    const QUOTIENT: u64 = quotient_of_x_80();
    const X_80: u64 = power_of_x(80);
    const X_128: u64 = power_of_x(128);
    const X_192: u64 = power_of_x(192);

    /// x^exponent modulo P.
    const fn power_of_x(exponent: u32) -> u64 {
        let (mut power, mut step) = (1, 0);
        while step < exponent {
            power <<= 1;
            if power >> 16 != 0 {
                power ^= POLYNOMIAL;
            }
            step += 1;
        }
        power
    }

    const fn quotient_of_x_80() -> u64 {
        let (mut rest, mut quotient, mut bit) = (1u128 << 80, 0u128, 64);
        loop {
            if rest >> (bit + 16) & 1 != 0 {
                rest ^= (POLYNOMIAL as u128) << bit;
                quotient |= 1 << bit;
            }
            if bit == 0 {
                // The cast drops the highest term.
                return quotient as u64;
            }
            bit -= 1;
        }
    }

    /// The CRC-16/XMODEM checksum of `key`, unless there is an opening brace in it: then it may have a hash tag. Looking for that
    /// here, where the bytes are in registers already, costs two instructions for each 16 of them.
    #[target_feature(enable = "pclmulqdq,ssse3")]
    pub fn crc16_without_brace(key: &[u8]) -> Option<u16> {
        let brace = _mm_set1_epi8(b'{' as i8);
        let Some(first) = key.first_chunk() else {
            let sum = short(key);
            let has_brace = _mm_movemask_epi8(_mm_cmpeq_epi8(sum, brace)) != 0;
            return (!has_brace).then(|| remainder(sum));
        };
        // The first step takes what is left over, 1 to 16 bytes.
        let odd = (key.len() - 1) % 16 + 1;
        let mut sum = leading(first, odd);
        let mut braces = _mm_cmpeq_epi8(sum, brace);
        let fold = _mm_set_epi64x(X_192 as i64, X_128 as i64);
        for block in key[odd..].as_chunks().0 {
            // sum * x^128: the upper half of the sum stands x^64 higher, so it moves by x^192.
            let low = _mm_clmulepi64_si128::<0x00>(sum, fold);
            let high = _mm_clmulepi64_si128::<0x11>(sum, fold);
            let bytes = leading(block, 16);
            braces = _mm_or_si128(braces, _mm_cmpeq_epi8(bytes, brace));
            sum = _mm_xor_si128(_mm_xor_si128(low, high), bytes);
        }
        (_mm_movemask_epi8(braces) == 0).then(|| remainder(sum))
    }

    /// The first `count` bytes of a block, at least one, as a polynomial: in reverse, since the first is the highest.
    #[inline]
    #[target_feature(enable = "ssse3")]
    fn leading(block: &[u8; 16], count: usize) -> __m128i {
        let bytes = u128::from_le_bytes(*block);
        // Byte `index` of the result is byte `count - 1 - index` of the block; where that is negative, zero.
        let places = _mm_set_epi64x(0x0f0e_0d0c_0b0a_0908, 0x0706_0504_0302_0100);
        let bytes = _mm_set_epi64x((bytes >> 64) as i64, bytes as i64);
        _mm_shuffle_epi8(bytes, _mm_sub_epi8(_mm_set1_epi8(count as i8 - 1), places))
    }

    /// Fewer than 16 bytes as a polynomial. Reads that overlap agree where they do, so they can be united.
    #[inline]
    #[target_feature(enable = "sse2")]
    fn short(bytes: &[u8]) -> __m128i {
        if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let first = u128::from(u64::from_be_bytes(*first)) << (8 * (bytes.len() - 8));
            let all = first | u128::from(u64::from_be_bytes(*last));
            return _mm_set_epi64x((all >> 64) as i64, all as i64);
        }
        let all = if let (Some(first), Some(last)) = (bytes.first_chunk(), bytes.last_chunk()) {
            let first = u64::from(u32::from_be_bytes(*first)) << (8 * (bytes.len() - 4));
            first | u64::from(u32::from_be_bytes(*last))
        } else {
            bytes.iter().fold(0, |all, byte| all << 8 | u64::from(*byte))
        };
        _mm_set_epi64x(0, all as i64)
    }

    /// sum * x^16 modulo P.
    ///
    /// With sum = H x^64 + L: V = H (x^80 mod P) + L x^16 has 80 bits and the same remainder. Its quotient by P is found by Barrett's
    /// method: the upper part of (V / x^16) * (x^80 / P). The remainder is V - quotient * P, of which only 16 bits are needed, and
    /// L x^16 has none of those.
    #[inline]
    #[target_feature(enable = "pclmulqdq")]
    fn remainder(sum: __m128i) -> u16 {
        let constants = _mm_set_epi64x(X_80 as i64, QUOTIENT as i64);
        let moved = _mm_clmulepi64_si128::<0x11>(sum, constants);
        let upper = _mm_xor_si128(_mm_srli_si128::<2>(moved), sum);
        // The highest term of x^80 / P is not in QUOTIENT: times x^64 means the upper part itself.
        let product = _mm_clmulepi64_si128::<0x00>(upper, constants);
        let quotient = _mm_xor_si128(_mm_srli_si128::<8>(product), upper);
        let multiple = _mm_clmulepi64_si128::<0x00>(quotient, _mm_set_epi64x(0, POLYNOMIAL as i64));
        _mm_cvtsi128_si64(_mm_xor_si128(multiple, moved)) as u16
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

    /// Both ways to the slot of a key without a brace, and the definition.
    fn assert_agreement(key: &[u8]) {
        let want = crc16_by_definition(key);
        assert_eq!(crc16(key), want, "by tables: {}", key.escape_ascii());
        assert_eq!(key_slot(key), want % SLOTS, "{}", key.escape_ascii());
    }

    #[test]
    fn both_ways_agree_with_the_definition_at_every_length() {
        let mut state: u64 = 0x5eed;
        for length in 0..=300 {
            for _ in 0..20 {
                let key: Vec<u8> = (0..length)
                    .map(|_| {
                        state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
                        (state >> 56) as u8
                    })
                    .map(|byte| if byte == b'{' { 0xff } else { byte })
                    .collect();
                assert_agreement(&key);
            }
        }
    }

    /// The checksum is linear, so inputs with one bit set decide all others.
    #[test]
    fn both_ways_agree_with_the_definition_for_every_single_bit() {
        for length in 1..=100 {
            for bit in 0..length * 8 {
                let mut key = vec![0; length];
                key[bit / 8] = 1 << (bit % 8);
                assert_agreement(&key);
            }
        }
    }

    #[test]
    fn both_ways_agree_with_the_definition_for_all_keys_of_two_bytes() {
        for key in (0..=u16::MAX).map(u16::to_be_bytes).filter(|key| !key.contains(&b'{')) {
            assert_agreement(&key);
        }
    }

    #[cfg(target_arch = "x86_64")]
    #[test]
    fn the_whole_remainder_is_right_not_only_the_slot() {
        if !(is_x86_feature_detected!("pclmulqdq") && is_x86_feature_detected!("ssse3")) {
            return;
        }
        for length in 0..=100usize {
            let key: Vec<u8> = (0..length).map(|index| 0x80 | (index * 37) as u8).collect();
            // SAFETY: the features were just found.
            let sum = unsafe { carry_less::crc16_without_brace(&key) };
            assert_eq!(sum, Some(crc16_by_definition(&key)), "length {length}");
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
                assert_eq!(key_slot(&key), crc16(b"t") % SLOTS, "length {length}, at {at}");
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
