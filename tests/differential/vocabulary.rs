//! The words that requests are made of.

use super::wire::Words;

/// What keys begin with: one letter a type.
pub const LETTERS: &[char] = &['s', 'b', 'p', 'h', 'l', 'e', 'z', 'x'];
/// The letter of sorted sets whose members have one score: only of these Redis promises what ranges of names have.
pub const EVEN_LETTER: char = 'y';
/// Letters of all keys that there may be.
pub const ALL_LETTERS: &[char] = &['s', 'b', 'p', 'h', 'l', 'e', 'z', 'x', EVEN_LETTER];
pub const KEYS_OF_A_LETTER: u64 = 3;

type Words_ = &'static [&'static [u8]];

const TEXTS: Words_ =
    &[b"a", b"b", b"c", b"ab", b"f1", b"f2", b"f3", b"", b"\x00\xff\r\n", b"hello world", b"Hello"];
const LONG: Words_ = &[
    b"0123456789012345678901234567890123456789012345678901234567890123",
    b"01234567890123456789012345678901234567890123456789012345678901234",
    b"xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx\
      yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy",
];
const SMALL: Words_ = &[b"0", b"1", b"2", b"3", b"5", b"7", b"10", b"100", b"-1", b"-2", b"-3", b"-100"];
const LARGE: Words_ = &[
    b"127",
    b"128",
    b"255",
    b"256",
    b"4095",
    b"32767",
    b"32768",
    b"65536",
    b"2147483647",
    b"2147483648",
    b"-2147483649",
    b"4294967296",
    b"9223372036854775807",
    b"-9223372036854775808",
    b"9223372036854775806",
];
const NO_NUMBERS: Words_ = &[
    b"9223372036854775808",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"",
    b"x",
    b"1.5",
    b"01",
    b"+1",
    b" 1",
    b"1 ",
    b"1e3",
    b"-0",
    b"0x10",
    b"nan",
];
const FLOATS: Words_ = &[
    b"0",
    b"1",
    b"-1",
    b"1.5",
    b"0.1",
    b"3.3",
    b"-2.25",
    b"1e3",
    b"1e300",
    b"-1e300",
    b"1e-5",
    b"17179869184.5",
    b"9007199254740993",
    b"inf",
    b"-inf",
    b"3",
    b"3.0",
    b"0.30000000000000004",
    b"123456789.123",
];
const NO_FLOATS: Words_ = &[
    b"nan",
    b"-nan",
    b"1.5x",
    b"",
    b" 1",
    b"0x1p3",
    b"infinity",
    b"+inf",
    b"1e400",
    b"--1",
    b".5",
    b"5.",
    b"1e",
    b"-0",
    b"-0.0",
    b"0x1f",
];
const SCORE_BOUNDS: Words_ = &[
    b"-inf", b"+inf", b"inf", b"0", b"1", b"(1", b"2", b"(2", b"3.3", b"(3.3", b"(inf", b"-1", b"(", b"(x",
    b"nan", b"1e3", b"",
];
const TEXT_BOUNDS: Words_ = &[
    b"-", b"+", b"[a", b"(a", b"[b", b"(b", b"[c", b"(c", b"[ab", b"[", b"(", b"a", b"", b"[m3", b"[\xff",
    b"-x", b"+x",
];
const IDS: Words_ = &[
    b"1-1", b"1-2", b"2-0", b"2-1", b"3-0", b"3", b"5", b"5-5", b"10-0", b"20-1", b"100", b"0", b"0-0",
    b"0-1", b"7-*", b"9-*", b"50-3", b"60", b"61", b"62", b"63", b"64", b"70-1", b"70-2",
];
const ID_BOUNDS: Words_ = &[
    b"-",
    b"+",
    b"(1-1",
    b"(3",
    b"(-",
    b"0",
    b"5",
    b"18446744073709551615-18446744073709551615",
    b"$",
    b">",
    b"(+",
];
const NO_IDS: Words_ = &[
    b"x",
    b"1-",
    b"-1",
    b"1-1-1",
    b"18446744073709551616",
    b"1-x",
    b"",
    b"*",
    b"0-18446744073709551615",
    b"18446744073709551615",
];
const READ_FROM: Words_ = &[b"0", b">", b">", b">", b"0-0", b"$", b"1-1", b"5", b"+"];
const NAMES: Words_ = &[b"g1", b"g1", b"g1", b"g2", b"g3", b""];
const CONSUMERS: Words_ = &[b"c1", b"c1", b"c2", b"c3", b""];
const SECONDS: Words_ = &[b"100000", b"200000", b"1000000", b"0", b"-1", b"-100000"];
const NO_TIMES: Words_ = &[
    b"9223372036854775807",
    b"9223372036854775",
    b"-9223372036854775808",
    b"x",
    b"1.5",
    b"",
    b"9223372036854775808",
];
const MOMENTS: Words_ = &[b"0", b"-1", b"1", b"4000000000", b"4100000000", b"1000"];
const MOMENTS_MS: Words_ = &[b"0", b"-1", b"1", b"4000000000000", b"4100000000000", b"1000000"];
const AGES: Words_ = &[b"0", b"0", b"0", b"100000000", b"-1", b"x", b"9223372036854775807"];
const LONGITUDES: Words_ = &[
    b"13.361389",
    b"15.087269",
    b"0",
    b"-0.1278",
    b"2.3522",
    b"180",
    b"-180",
    b"181",
    b"139.6917",
    b"1e-7",
    b"x",
    b"nan",
];
const LATITUDES: Words_ = &[
    b"38.115556",
    b"37.502669",
    b"0",
    b"51.5074",
    b"48.8566",
    b"85.05112878",
    b"-85.05112878",
    b"86",
    b"-33.8688",
    b"x",
    b"inf",
];
const RADII: Words_ = &[b"200", b"1000", b"0", b"20000", b"0.5", b"1e7", b"-1", b"x", b"nan", b"166.2741"];
const ENCODINGS: Words_ = &[
    b"u8", b"i8", b"u1", b"u63", b"i64", b"i5", b"u4", b"i16", b"u64", b"i65", b"x8", b"u0", b"I8", b"u32",
    b"",
];
const OFFSETS: Words_ = &[
    b"0",
    b"1",
    b"7",
    b"8",
    b"100",
    b"#0",
    b"#1",
    b"#3",
    b"1000",
    b"-1",
    b"#-1",
    b"x",
    b"",
    b"70000",
    b"4294967296",
    b"#4294967296",
];
const OPERATIONS: Words_ = &[b"AND", b"OR", b"XOR", b"NOT", b"and", b"nor"];
const PATTERNS: Words_ =
    &[b"*", b"*", b"s*", b"f?", b"[a-c]*", b"m1*", b"", b"[^a]", b"h*", b"\\*", b"[b-", b"a*b*c*d*"];
const SORT_PATTERNS: Words_ =
    &[b"s*", b"h*->f1", b"h1->*", b"nosort", b"#", b"z*", b"s1", b"*", b"h*->", b"*->a"];
const TYPES: Words_ = &[b"string", b"hash", b"list", b"set", b"zset", b"stream", b"x", b"HASH"];
const CURSORS: Words_ = &[
    b"0",
    b"0",
    b"0",
    b"0",
    b"0",
    b"0",
    b"1",
    b"7",
    b"x",
    b"18446744073709551615",
    b"18446744073709551616",
    b"-1",
    b"",
];
const COUNTS: Words_ =
    &[b"1000", b"1000", b"1000", b"1000", b"10", b"1", b"0", b"-1", b"x", b"9223372036854775807"];
const DATABASES: Words_ = &[b"0", b"1", b"1", b"2", b"15", b"16", b"-1", b"x", b"4294967296"];
const BITS: Words_ = &[b"0", b"1", b"1", b"0", b"2", b"-1", b"x"];
const DIGESTS: Words_ = &[b"0000000000000000", b"ffffffffffffffff", b"x", b"D41D8CD98F00B204"];
const DEBUGS: Words_ = &[b"GETREG", b"DECODE", b"ENCODING", b"TODENSE", b"x"];
const THRESHOLDS: Words_ = &[b"0", b"1", b"2", b"5", b"10", b"100", b"3-0", b"1-2", b"50", b"-1", b"x"];

/// What takes the place of a word that would be right.
pub const ODD: Words_ = &[
    b"",
    b"x",
    b"-1",
    b"0",
    b"1",
    b"2",
    b"nan",
    b"inf",
    b"-inf",
    b"1.5",
    b"9223372036854775808",
    b"-9223372036854775808",
    b"\x00\xff",
    b"NX",
    b"XX",
    b"GT",
    b"LT",
    b"GET",
    b"COUNT",
    b"LIMIT",
    b"WITHSCORES",
    b"REV",
    b"BYLEX",
    b"KEEPTTL",
    b"ASC",
    b"*",
    b"(",
    b"[",
    b"$",
    b">",
    b"FIELDS",
    b"MATCH",
    b"DB",
    b"s1",
    b"h1",
    b"l1",
    b"e1",
    b"z1",
    b"x1",
    b"missing",
];

/// The lists that a word is drawn from, by the name of the argument; one list is as likely as another.
pub fn of_name(command: &str, name: &str, kind: &str) -> &'static [Words_] {
    let (stream, sort) = (command.starts_with('x'), command.starts_with("sort"));
    match name {
        "field" => &[TEXTS, TEXTS, TEXTS, TEXTS, SMALL, LONG],
        "group" => &[NAMES],
        "consumer" => &[CONSUMERS],
        "score" | "weight" => &[FLOATS, FLOATS, FLOATS, SMALL, SMALL, NO_FLOATS],
        "longitude" => &[LONGITUDES],
        "latitude" => &[LATITUDES],
        "radius" | "width" | "height" => &[RADII],
        "encoding" => &[ENCODINGS],
        "offset" if command.starts_with("bitfield") => &[OFFSETS],
        "offset" => &[SMALL, SMALL, SMALL, LARGE, NO_NUMBERS],
        "operation" => &[OPERATIONS],
        "pattern" if sort => &[SORT_PATTERNS],
        "pattern" => &[PATTERNS],
        "type" => &[TYPES],
        "cursor" => &[CURSORS],
        "count" if command.ends_with("scan") => &[COUNTS],
        "destination-db" | "db" => &[DATABASES],
        "bit" => &[BITS],
        "value" if command == "setbit" => &[BITS],
        "ifeq-digest" | "ifdeq-digest" | "ifdne-digest" => &[DIGESTS],
        "subcommand" => &[DEBUGS],
        "threshold" => &[THRESHOLDS],
        "min-idle-time" | "ms" => &[AGES],
        "id" | "lastid" | "last-id" | "max-deleted-id" if command.starts_with("xread") => {
            &[READ_FROM, READ_FROM, IDS, NO_IDS]
        }
        "id" | "lastid" | "last-id" | "max-deleted-id" if command == "xgroup|create" => {
            &[ID_BOUNDS, IDS, IDS]
        }
        "id" | "lastid" | "last-id" | "max-deleted-id" => &[IDS, IDS, IDS, IDS, IDS, IDS, NO_IDS],
        "start" | "end" | "stop" if stream => &[ID_BOUNDS, ID_BOUNDS, ID_BOUNDS, IDS, IDS, NO_IDS],
        "min" | "max" if command.ends_with("lex") || command == "zlexcount" => &[TEXT_BOUNDS],
        "min" | "max" if command == "zrangestore" => &[SMALL, SMALL, SCORE_BOUNDS, TEXT_BOUNDS],
        "min" | "max" => &[SCORE_BOUNDS],
        "start" | "stop" if command == "zrange" => &[SMALL, SMALL, SCORE_BOUNDS, TEXT_BOUNDS],
        "seconds" | "milliseconds" | "ttl" => &[SECONDS, SECONDS, SECONDS, SECONDS, NO_TIMES],
        "unix-time-seconds" => &[MOMENTS, MOMENTS, MOMENTS, NO_TIMES],
        "unix-time-milliseconds" => {
            &[MOMENTS_MS, MOMENTS_MS, MOMENTS_MS, &[b"x", b"1.5", b"", b"9223372036854775808"]]
        }
        "increment" if kind == "double" || command.starts_with('z') => {
            &[FLOATS, FLOATS, SMALL, SMALL, NO_FLOATS]
        }
        _ if kind == "integer"
            || matches!(
                name,
                "increment" | "decrement" | "index" | "rank" | "num-matches" | "len" | "limit"
            ) =>
        {
            &[SMALL, SMALL, SMALL, SMALL, SMALL, LARGE, NO_NUMBERS]
        }
        _ => &[TEXTS, TEXTS, TEXTS, SMALL, SMALL, LARGE, FLOATS, LONG],
    }
}

/// Requests that no two servers answer alike, or that take too long: deadlines that come while a sequence runs, or whose digits we do not
/// keep (docs/compatibility.md), replies of millions of elements, waiting.
pub fn is_unfit(words: &Words) -> bool {
    let name = words[0].to_ascii_uppercase();
    let number =
        |at: usize| words.get(at).and_then(|word| std::str::from_utf8(word).ok()?.parse::<i64>().ok());
    let soon = |at: usize| number(at).is_some_and(|number| (1..100_000).contains(&number));
    let is =
        |word: &[u8], texts: &[&str]| texts.iter().any(|text| word.eq_ignore_ascii_case(text.as_bytes()));
    let follows =
        |texts: &[&str]| (1..words.len()).filter(move |at| is(&words[at - 1], texts)).collect::<Vec<_>>();
    let beyond = |at: usize| number(at).is_some_and(|number| number > 281_474_976_710_655);
    let late = |at: usize| {
        number(at).is_some_and(|number| (281_474_976_710..9_223_372_036_854_776).contains(&number))
    };
    let has = |text: &str| words.iter().any(|word| is(word, &[text]));
    match name.as_slice() {
        b"EXPIRE" | b"PEXPIRE" | b"SETEX" | b"PSETEX" | b"HEXPIRE" | b"HPEXPIRE" | b"RESTORE" if soon(2) => {
            return true;
        }
        b"PEXPIREAT" | b"HPEXPIREAT" | b"PEXPIRE" | b"PSETEX" | b"RESTORE" if beyond(2) => return true,
        b"EXPIRE" | b"EXPIREAT" | b"SETEX" if late(2) => return true,
        // Whether a deadline is later than one that was set a moment ago by the same time to live is the clock's matter.
        b"EXPIRE" | b"PEXPIRE" | b"HEXPIRE" | b"HPEXPIRE" if has("GT") || has("LT") => return true,
        b"XCLAIM" | b"XAUTOCLAIM" if soon(4) => return true,
        b"XPENDING" if follows(&["IDLE"]).into_iter().any(soon) => return true,
        b"HRANDFIELD" | b"SRANDMEMBER" | b"ZRANDMEMBER" if number(2).is_some_and(|number| number < -1000) => {
            return true;
        }
        b"XREAD" | b"XREADGROUP" if words.iter().any(|word| is(word, &["BLOCK"])) => return true,
        _ => {}
    }
    // What is equal comes in any order, which STORE would keep.
    if name == b"SORT" && has("BY") && has("ALPHA") && has("STORE") {
        return true;
    }
    if is_of_names(words) {
        let source = words.get(if name == b"ZRANGESTORE" { 2 } else { 1 });
        return source.is_some_and(|key| key.first() != Some(&(EVEN_LETTER as u8)));
    }
    if follows(&["EX", "EXAT"]).into_iter().any(late) {
        return true;
    }
    follows(&["EX", "PX"]).into_iter().any(soon) || follows(&["PX", "PXAT"]).into_iter().any(beyond)
}

/// Whether a request asks for a range of names.
pub fn is_of_names(words: &Words) -> bool {
    let name = words[0].to_ascii_uppercase();
    name.ends_with(b"BYLEX")
        || name == b"ZLEXCOUNT"
        || words.iter().any(|word| word.eq_ignore_ascii_case(b"BYLEX"))
}
