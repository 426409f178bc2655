//! Glob patterns of CONFIG GET and of `include`: `*`, `?`, `[a-z]`, `[^a]` and `\`.
//!
//! Owns only the matching of one pattern; its cost is bounded by pattern length times text length.

/// Whether all of `text` matches `pattern`.
pub fn matches(pattern: &[u8], text: &[u8], ignore_case: bool) -> bool {
    let (mut at_pattern, mut at_text) = (0, 0);
    // Where to try again: after the last star, one byte further on in the text. Only the last star needs to
    // give way, because what the earlier ones matched is already the shortest possible.
    let mut retry: Option<(usize, usize)> = None;
    loop {
        if pattern.get(at_pattern) == Some(&b'*') {
            at_pattern += 1;
            retry = Some((at_pattern, at_text));
            continue;
        }
        let used = match text.get(at_text) {
            Some(&byte) => match_one(&pattern[at_pattern..], byte, ignore_case),
            None if at_pattern == pattern.len() => return true,
            None => return false,
        };
        if let Some(used) = used {
            at_pattern += used;
            at_text += 1;
            continue;
        }
        let Some((star, start)) = retry else { return false };
        (at_pattern, at_text) = (star, start + 1);
        retry = Some((star, start + 1));
    }
}

/// Matches one byte against the head of `pattern`; returns how much of the pattern it took.
fn match_one(pattern: &[u8], byte: u8, ignore_case: bool) -> Option<usize> {
    let fold = |byte: u8| if ignore_case { byte.to_ascii_lowercase() } else { byte };
    match *pattern {
        [] => None,
        [b'?', ..] => Some(1),
        [b'[', ..] => match_class(pattern, fold(byte), fold),
        [b'\\', literal, ..] => (fold(literal) == fold(byte)).then_some(2),
        [literal, ..] => (fold(literal) == fold(byte)).then_some(1),
    }
}

/// Matches a class such as `[^a-z_]`; one that is not closed ends with the pattern.
fn match_class(pattern: &[u8], byte: u8, fold: impl Fn(u8) -> u8) -> Option<usize> {
    let negated = pattern.get(1) == Some(&b'^');
    let mut at = if negated { 2 } else { 1 };
    let mut found = false;
    loop {
        match pattern[at..] {
            [] => break,
            [b']', ..] => {
                at += 1;
                break;
            }
            [b'\\', literal, ..] => {
                found |= fold(literal) == byte;
                at += 2;
            }
            [first, b'-', last, ..] => {
                let (first, last) = (fold(first).min(fold(last)), fold(first).max(fold(last)));
                found |= (first..=last).contains(&byte);
                at += 3;
            }
            [literal, ..] => {
                found |= fold(literal) == byte;
                at += 1;
            }
        }
    }
    (found != negated).then_some(at)
}

#[cfg(test)]
mod tests {
    use super::matches;

    #[test]
    fn patterns_match_whole_texts() {
        for (pattern, text, expected) in [
            ("*", "", true),
            ("max*", "maxmemory", true),
            ("MAX*Y", "maxmemory", true),
            ("*mem*-*s", "maxmemory-samples", true),
            ("*mem*-*z", "maxmemory-samples", false),
            ("h?", "hz", true),
            ("h[a-z]", "hz", true),
            ("h[^z]", "hz", false),
            ("h[z", "hz", true),
            ("h\\z", "hz", true),
            ("hz", "hz0", false),
            ("hz?", "hz", false),
        ] {
            assert_eq!(matches(pattern.as_bytes(), text.as_bytes(), true), expected, "{pattern} {text}");
        }
        assert!(!matches(b"HZ", b"hz", false));
    }
}
