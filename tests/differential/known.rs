//! Differences that are intended, each with its reason. Patterns are as narrow as the difference is.

use super::servers::Oracle;
use super::wire::{Value, Words};

const NEWER: &[Oracle] = &[Oracle::Redis8, Oracle::Valkey9];
const REDIS7: &[Oracle] = &[Oracle::Redis7];
const VALKEY9: &[Oracle] = &[Oracle::Valkey9];

/// Requests that are sent to neither server, because what follows would differ as well.
struct Withheld {
    from: &'static [Oracle],
    is: fn(&str, &Words) -> bool,
    #[allow(dead_code, reason = "for those who read the table")]
    why: &'static str,
}

fn has(words: &Words, text: &str) -> bool {
    words.iter().any(|word| word.eq_ignore_ascii_case(text.as_bytes()))
}

fn number(words: &Words, at: usize) -> Option<i64> {
    std::str::from_utf8(words.get(at)?).ok()?.parse().ok()
}

const WITHHELD: &[Withheld] = &[
    Withheld {
        from: NEWER,
        is: |name, _| matches!(name, "XCLAIM" | "XAUTOCLAIM"),
        why: "a claim that gets nothing creates the consumer since 7.2; we follow 7.0",
    },
    Withheld {
        from: NEWER,
        is: |name, words| name == "XGROUP" && has(words, "ENTRIESREAD"),
        why: "newer servers do not believe in more entries read than were added",
    },
    Withheld {
        from: VALKEY9,
        is: |_, words| has(words, "0x1p3") || has(words, "0x1f"),
        why: "Valkey 9 takes no hexadecimal numbers",
    },
    Withheld {
        from: VALKEY9,
        is: |name, words| name.starts_with('H') && has(words, "9223372036854775"),
        why: "Valkey 9 takes later deadlines of fields than Redis 8, which we follow",
    },
    Withheld {
        from: VALKEY9,
        is: |name, words| {
            name.starts_with('H') && words.get(1).is_some_and(|key| key.eq_ignore_ascii_case(b"fields"))
        },
        why: "Valkey 9 takes a key of this name for an option",
    },
    Withheld {
        from: VALKEY9,
        is: |name, words| {
            let options =
                ["NX", "XX", "GT", "LT", "FNX", "FXX", "EX", "PX", "EXAT", "PXAT", "PERSIST", "KEEPTTL"];
            let is_option =
                |word: &&Vec<u8>| options.iter().any(|option| word.eq_ignore_ascii_case(option.as_bytes()));
            name.starts_with('H') && words.iter().filter(is_option).count() > 1
        },
        why: "Valkey 9 takes an option of commands on deadlines of fields twice, Redis 8 once",
    },
    Withheld {
        from: NEWER,
        is: |name, words| name == "LREM" && number(words, 2) == Some(i64::MIN),
        why: "7.0 takes the least count",
    },
    Withheld {
        from: VALKEY9,
        is: |name, words| {
            name == "SET" && words.iter().filter(|word| word.eq_ignore_ascii_case(b"IFEQ")).count() > 1
        },
        why: "Valkey refuses an option that is repeated (docs/compatibility.md)",
    },
    Withheld {
        from: VALKEY9,
        is: |name, words| {
            let is_limit = |at: &usize| words[*at].eq_ignore_ascii_case(b"LIMIT");
            let mut offsets = (0..words.len()).filter(is_limit).filter_map(|at| number(words, at + 1));
            name.starts_with('Z') && offsets.any(|offset| offset < 0)
        },
        why: "Valkey 9 takes a negative offset for none",
    },
    Withheld {
        from: NEWER,
        is: |name, words| {
            let beyond = number(words, 2).is_some_and(|index| i32::try_from(index).is_err());
            matches!(name, "LSET" | "LINDEX") && beyond
        },
        why: "newer servers cut an index into a small list to 32 bits",
    },
];

/// What a difference is told by.
struct Intended {
    /// Whom we differ from.
    from: &'static [Oracle],
    /// The command, and words that are in the request.
    request: &'static str,
    differs: fn(&Words, &Value, &Value) -> bool,
    #[allow(dead_code, reason = "for those who read the table")]
    why: &'static str,
}

fn says(reply: &Value, text: &str) -> bool {
    reply.text().is_some_and(|bytes| bytes.windows(text.len()).any(|part| part == text.as_bytes()))
}

/// An error about numbers where all that was sorted are numbers.
fn is_stale_error(words: &Words, ours: &Value, theirs: &Value) -> bool {
    // Valkey takes no empty text for zero, nor one that is empty for C; and GET hides what was sorted.
    if words.iter().any(|word| word.eq_ignore_ascii_case(b"GET")) {
        return says(theirs, "can't be converted into double") && !ours.is_error();
    }
    let is_number = |value: &Value| {
        value
            .text()
            .and_then(|text| std::str::from_utf8(text).ok()?.parse::<f64>().ok())
            .is_some_and(f64::is_finite)
            || value.text().is_some_and(|text| text.is_empty() || text[0] == 0)
    };
    says(theirs, "can't be converted into double") && !ours.is_error() && ours.parts().iter().all(is_number)
}

const INTENDED: &[Intended] = &[
    Intended {
        from: NEWER,
        request: "OBJECT ENCODING",
        differs: |_, _, _| true,
        why: "sets and lists have a listpack encoding since 7.2; we name the encodings of 7.0 (docs/compatibility.md)",
    },
    Intended {
        from: NEWER,
        request: "OBJECT REFCOUNT",
        differs: |_, ours, theirs| ours.integer().is_some() && theirs.integer().is_some(),
        why: "who else holds a value is the matter of each server",
    },
    Intended {
        from: NEWER,
        request: "*",
        differs: |words, _, theirs| {
            words[0].to_ascii_uppercase().ends_with(b"SCAN") && says(theirs, "invalid cursor")
        },
        why: "newer servers refuse cursors with a sign or without digits; 7.0 takes them",
    },
    Intended {
        from: REDIS7,
        request: "*",
        differs: |words, _, theirs| {
            let name = words[0].to_ascii_uppercase();
            (name == b"ZRANK" || name == b"ZREVRANK")
                && words.len() == 4
                && says(theirs, "wrong number of arguments")
        },
        why: "WITHSCORE came with 7.2",
    },
    Intended {
        from: NEWER,
        request: "BITCOUNT",
        differs: |_, ours, theirs| ours.integer() == Some(0) && theirs.is_error(),
        why: "newer servers read the range also if there is no key",
    },
    Intended {
        from: NEWER,
        request: "BITPOS",
        differs: |_, ours, theirs| ours.integer().is_some() && theirs.is_error(),
        why: "newer servers read the range also if there is no key",
    },
    Intended {
        from: VALKEY9,
        request: "BITCOUNT",
        differs: |words, ours, _| words.len() == 3 && says(ours, "syntax error"),
        why: "Valkey takes a start alone",
    },
    Intended {
        from: NEWER,
        request: "LPOS RANK -9223372036854775808",
        differs: |_, _, theirs| says(theirs, "out of range"),
        why: "7.0 takes the least rank",
    },
    Intended {
        from: NEWER,
        request: "SCAN TYPE",
        differs: |_, _, theirs| says(theirs, "unknown type name"),
        why: "newer servers refuse types that there are not; 7.0 finds no key of them",
    },
    Intended {
        from: VALKEY9,
        request: "GETEX",
        differs: |_, ours, theirs| ours.is_nothing() && theirs.is_error(),
        why: "Valkey reads the options also if there is no key",
    },
    Intended {
        from: &super::servers::ORACLES,
        request: "SORT",
        differs: is_stale_error,
        why: "Redis takes what an earlier conversion has left in C's errno for an error of a number",
    },
    Intended {
        from: &super::servers::ORACLES,
        request: "SORT_RO",
        differs: is_stale_error,
        why: "Redis takes what an earlier conversion has left in C's errno for an error of a number",
    },
    Intended {
        from: NEWER,
        request: "XREAD +",
        differs: |_, ours, _| says(ours, "Invalid stream ID"),
        why: "the last entry by + came with 7.4",
    },
];

/// Whether a command (`*` is any) and words are in a request.
fn matches(pattern: &str, words: &Words) -> bool {
    let mut texts = pattern.split(' ');
    let is_command =
        texts.next().is_some_and(|name| name == "*" || words[0].eq_ignore_ascii_case(name.as_bytes()));
    is_command && texts.all(|text| has(words, text))
}

/// Whether a request is sent to neither.
pub fn is_withheld(oracle: Oracle, words: &Words) -> bool {
    let name = String::from_utf8_lossy(&words[0]).to_ascii_uppercase();
    WITHHELD.iter().any(|withheld| withheld.from.contains(&oracle) && (withheld.is)(&name, words))
}

/// Whether two replies that differ should.
pub fn is_intended(oracle: Oracle, words: &Words, ours: &Value, theirs: &Value) -> bool {
    let holds = |known: &Intended| {
        known.from.contains(&oracle) && matches(known.request, words) && (known.differs)(words, ours, theirs)
    };
    INTENDED.iter().any(holds)
}
