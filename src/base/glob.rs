//! Glob patterns as KEYS, SCAN, PSUBSCRIBE, ACL rules and CONFIG GET understand them.
//!
//! | Pattern | Matches |
//! | --- | --- |
//! | `*` | any bytes, also none |
//! | `?` | one byte |
//! | `[abc]`, `[a-z]`, `[^a-z]` | one byte that is, or with `^` is not, in the class |
//! | `\x` | the byte `x` |
//! | anything else | itself |
//!
//! A peer chooses pattern and text, so the cost is bounded: there is no recursion, and on a mismatch only the last
//! star is retried. That is enough, because whatever an earlier star could still reach the last one reaches as well.
//! The worst case is `pattern.len() * text.len()` steps.
//!
//! Corner cases follow Redis to the letter, for clients depend on lists of keys being equal; the tests name them.

/// Whether the whole of `text` matches `pattern`. With `ignore_case`, ASCII letters match either case.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    if text.is_empty() {
        // Redis looks at stars only while there is text: no star matches the empty text.
        return pattern.is_empty();
    }
    let mut pattern_at = 0;
    let mut text_at = 0;
    // Where to go on after a mismatch: behind the last star, and the first byte that the star has not swallowed yet.
    let mut last_star: Option<(usize, usize)> = None;
    while text_at < text.len() {
        if pattern.get(pattern_at) == Some(&b'*') {
            pattern_at = skip_stars(pattern, pattern_at);
            if pattern_at == pattern.len() {
                return true;
            }
            last_star = Some((pattern_at, text_at));
            continue;
        }
        if let Some(next) = match_byte(pattern, pattern_at, text[text_at], ignore_case) {
            pattern_at = next;
            text_at += 1;
            continue;
        }
        let Some((behind_star, swallowed)) = last_star else { return false };
        last_star = Some((behind_star, swallowed + 1));
        pattern_at = behind_star;
        text_at = swallowed + 1;
    }
    skip_stars(pattern, pattern_at) == pattern.len()
}

fn skip_stars(pattern: &[u8], at: usize) -> usize {
    pattern[at..].iter().position(|byte| *byte != b'*').map_or(pattern.len(), |stars| at + stars)
}

/// Matches `byte` with the element of `pattern` at `at`, which is no star. Returns where the next element begins, or
/// nothing if the byte does not match or the pattern has ended.
#[inline]
fn match_byte(pattern: &[u8], at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let matched = match pattern.get(at)? {
        b'?' => true,
        b'[' => return match_class(pattern, at + 1, byte, ignore_case),
        b'\\' if at + 1 < pattern.len() => {
            return same(pattern[at + 1], byte, ignore_case).then_some(at + 2);
        }
        literal => same(*literal, byte, ignore_case),
    };
    matched.then_some(at + 1)
}

/// Matches `byte` with the class whose first byte behind the bracket is at `at`. A class that nothing closes ends with
/// the pattern.
fn match_class(pattern: &[u8], mut at: usize, byte: u8, ignore_case: bool) -> Option<usize> {
    let negated = pattern.get(at) == Some(&b'^');
    at += usize::from(negated);
    let mut found = false;
    loop {
        match &pattern[at..] {
            [] => break,
            [b'\\', escaped, ..] => {
                // An escaped member is compared in its own case even when case is ignored.
                found |= *escaped == byte;
                at += 2;
            }
            [b']', ..] => {
                at += 1;
                break;
            }
            [from, b'-', to, ..] => {
                found |= in_range(*from, *to, byte, ignore_case);
                at += 3;
            }
            [member, ..] => {
                found |= same(*member, byte, ignore_case);
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

/// Whether `byte` lies in the range, whose ends may be given in either order. Bytes from 0x80 on count as negative
/// numbers, since Redis compares them as signed `char`. The ends are put in order before their case is folded, so
/// `[Z-a]` without case is the empty range from `z` to `a`.
fn in_range(from: u8, to: u8, byte: u8, ignore_case: bool) -> bool {
    let fold = |byte: u8| (if ignore_case { byte.to_ascii_lowercase() } else { byte }).cast_signed();
    let (low, high) = if from.cast_signed() <= to.cast_signed() { (from, to) } else { (to, from) };
    (fold(low)..=fold(high)).contains(&fold(byte))
}

fn same(pattern: u8, text: u8, ignore_case: bool) -> bool {
    pattern == text || ignore_case && pattern.eq_ignore_ascii_case(&text)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(facts: &[(&[u8], &[u8], bool)], ignore_case: bool) {
        for (pattern, text, expected) in facts {
            assert_eq!(
                matches(pattern, text, ignore_case),
                *expected,
                "pattern {} text {}",
                pattern.escape_ascii(),
                text.escape_ascii()
            );
        }
    }

    #[test]
    fn literals_stars_and_question_marks() {
        check(
            &[
                (b"", b"", true),
                (b"", b"a", false),
                (b"abc", b"abc", true),
                (b"abc", b"ab", false),
                (b"ab", b"abc", false),
                (b"h?llo", b"hello", true),
                (b"h?llo", b"hllo", false),
                (b"h*llo", b"hllo", true),
                (b"h*llo", b"heeeello", true),
                (b"*", b"a", true),
                (b"a**", b"a", true),
                (b"**a**b**", b"xaxxb", true),
                (b"*a", b"aab", false),
                (b"*ab*cd", b"abxabcxcd", true),
                (b"*?", b"a", true),
                (b"*??", b"a", false),
                (b"a", b"A", false),
                (b"a\0b", b"a\0b", true),
            ],
            false,
        );
    }

    #[test]
    fn no_star_matches_the_empty_text() {
        check(&[(b"*", b"", false), (b"**", b"", false), (b"?", b"", false), (b"[^a]", b"", false)], false);
    }

    #[test]
    fn classes() {
        check(
            &[
                (b"[abc]", b"b", true),
                (b"[abc]", b"d", false),
                (b"[^abc]", b"d", true),
                (b"[^abc]", b"a", false),
                (b"[a-c]x", b"bx", true),
                (b"[c-a]", b"b", true),
                (b"[a-c]", b"-", false),
                (b"[-a]", b"-", true),
                // Neither `!` nor a first `]` is special.
                (b"[!a]", b"!", true),
                (b"[]a]", b"a]", false),
                (b"[]", b"a", false),
                (b"[^]", b"a", true),
                // A minus before the closing bracket makes that bracket the end of a range.
                (b"[a-]", b"]", true),
                (b"[a-]", b"a", true),
                (b"[a-]", b"-", false),
                (b"[a-]x", b"xx", false),
                (b"[a-]x", b"x", true),
                // Escapes inside.
                (b"[\\]]", b"]", true),
                (b"[\\^a]", b"^", true),
                (b"[\\a-c]", b"b", false),
                (b"[\\a-c]", b"-", true),
                (b"[a-\\]", b"]", true),
                (b"[a-\\]]", b"^", false),
                (b"[a-\\]]", b"^]", true),
            ],
            false,
        );
    }

    #[test]
    fn patterns_that_break_off() {
        check(
            &[
                (b"[abc", b"c", true),
                (b"[abc", b"d", false),
                (b"[a-", b"-", true),
                (b"[a-c", b"b", true),
                (b"[a\\", b"\\", true),
                (b"[", b"[", false),
                (b"[", b"a", false),
                (b"[^", b"a", true),
                (b"[^", b"ab", false),
                (b"*[^", b"ab", true),
                (b"a\\", b"a\\", true),
                (b"a\\", b"a", false),
                (b"\\*", b"*", true),
                (b"\\*", b"a", false),
                (b"\\a", b"a", true),
                (b"\\\\", b"\\", true),
            ],
            false,
        );
    }

    #[test]
    fn ranges_take_high_bytes_as_negative() {
        check(
            &[
                (b"[\x80-\xff]", b"\xc3", true),
                (b"[a-\xff]", b"z", false),
                (b"[a-\xff]", b"\0", true),
                (b"[a-\xff]", b"\xff", true),
                (b"[a-\xff]", b"\xfe", false),
            ],
            false,
        );
    }

    #[test]
    fn without_case() {
        check(
            &[
                (b"MAX*", b"maxmemory", true),
                (b"max*", b"MAXMEMORY", true),
                (b"[A-C]", b"b", true),
                (b"[AB]", b"b", true),
                (b"\\A", b"a", true),
                (b"[\\A]", b"a", false),
                (b"[Z-a]", b"z", false),
                (b"[Z-_]", b"z", false),
                (b"[", b"{", false),
            ],
            true,
        );
    }

    #[test]
    fn hostile_patterns_stay_cheap() {
        // A matcher that retries every star would need about 2^50 steps here.
        let pattern = b"a*".repeat(50);
        let text = b"a".repeat(2000);
        let mut with_tail = pattern.clone();
        with_tail.push(b'b');
        assert!(matches(&pattern, &text, false));
        assert!(!matches(&with_tail, &text, false));
        assert!(!matches(&[b'*'; 10_000].repeat(2), b"", false));
        assert!(matches(&b"*?".repeat(2000), &text, false));
    }
}
