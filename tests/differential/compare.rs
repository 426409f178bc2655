//! When two replies count as the same. Where Redis leaves something open (the order of a hash table, a random choice, a clock), what it does
//! promise is compared.

use super::wire::{Value, Words};

/// How the replies to a request are compared.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Rule {
    Exact,
    /// Elements come in any order, in groups of so many (a field and its value).
    Unordered(usize),
    /// Only types and lengths, and texts that the reply before has as well: a random choice of what was listed.
    Chosen,
    /// Only types and lengths.
    Shape,
    /// A cursor and elements in any order, which are all there are where both say so.
    Scan,
    /// Numbers that count on a clock.
    Clock,
}

/// The rule for a request, whose first word is `name` in capitals.
pub fn rule(name: &str, words: &Words) -> Rule {
    let has = |word: &str| words.iter().any(|each| each.eq_ignore_ascii_case(word.as_bytes()));
    let second =
        words.get(1).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase()).unwrap_or_default();
    match name {
        "HGETALL" => Rule::Unordered(2),
        "HKEYS" | "HVALS" | "SMEMBERS" | "SINTER" | "SUNION" | "SDIFF" | "KEYS" => Rule::Unordered(1),
        "HRANDFIELD" | "SRANDMEMBER" | "ZRANDMEMBER" | "SPOP" => Rule::Chosen,
        "SCAN" | "HSCAN" | "SSCAN" | "ZSCAN" => Rule::Scan,
        "RANDOMKEY" | "DUMP" => Rule::Shape,
        "OBJECT" if second == "IDLETIME" => Rule::Shape,
        "XADD" if words.get(2..).is_some_and(|rest| rest.iter().any(|word| word == b"*")) => Rule::Shape,
        "SORT" | "SORT_RO" if unsorted(words) && !has("STORE") => {
            if has("LIMIT") {
                Rule::Shape
            } else {
                Rule::Unordered(getters(words).max(1))
            }
        }
        "TTL" | "PTTL" | "HTTL" | "HPTTL" | "EXPIRETIME" | "PEXPIRETIME" | "HEXPIRETIME" | "HPEXPIRETIME" => {
            Rule::Clock
        }
        "XPENDING" | "XINFO" => Rule::Clock,
        // Elements of equal weight come in any order.
        "SORT" | "SORT_RO" if has("BY") && has("ALPHA") => {
            if has("LIMIT") {
                Rule::Shape
            } else {
                Rule::Unordered(getters(words).max(1))
            }
        }
        _ => Rule::Exact,
    }
}

/// SORT by a pattern without a star keeps the order that the value has, which is none for a set.
fn unsorted(words: &Words) -> bool {
    words.windows(2).any(|pair| pair[0].eq_ignore_ascii_case(b"BY") && !pair[1].contains(&b'*'))
}

fn getters(words: &Words) -> usize {
    words.iter().filter(|word| word.eq_ignore_ascii_case(b"GET")).count()
}

/// Whether two replies to `words` say the same; `listed` is our reply before.
pub fn same(rule: Rule, words: &Words, ours: &Value, theirs: &Value, listed: Option<&Value>) -> bool {
    if ours == theirs {
        return true;
    }
    if ours.is_error() || theirs.is_error() {
        return false;
    }
    match rule {
        Rule::Exact => false,
        Rule::Unordered(group) => unordered(ours, group) == unordered(theirs, group),
        Rule::Shape => shape(ours) == shape(theirs),
        Rule::Chosen => {
            let (mut chosen, mut from) = (Vec::new(), Vec::new());
            ours.leaves(&mut chosen);
            listed.into_iter().for_each(|reply| reply.leaves(&mut from));
            shape(ours) == shape(theirs) && chosen.iter().all(|text| from.contains(text))
        }
        Rule::Scan => scan(words, ours, theirs),
        Rule::Clock => same_but_for_clocks(ours, theirs),
    }
}

fn unordered(value: &Value, group: usize) -> Value {
    let Value::Many(mark, parts) = value else { return value.clone() };
    let mut groups: Vec<Vec<Value>> = parts.chunks(group).map(<[Value]>::to_vec).collect();
    groups.sort();
    Value::Many(*mark, groups.concat())
}

fn shape(value: &Value) -> Value {
    match value {
        Value::Line(mark, _) => Value::Line(*mark, Vec::new()),
        Value::Text(mark, _) => Value::Text(*mark, Vec::new()),
        Value::Nothing(mark) => Value::Nothing(*mark),
        Value::Many(mark, parts) => Value::Many(*mark, parts.iter().map(shape).collect()),
    }
}

fn scan(words: &Words, ours: &Value, theirs: &Value) -> bool {
    let ([our_cursor, ours], [their_cursor, theirs]) = (ours.parts(), theirs.parts()) else { return false };
    let at = usize::from(!words[0].eq_ignore_ascii_case(b"SCAN"));
    let zero = |value: &Value| value.text() == Some(b"0");
    let whole = zero(our_cursor) && zero(their_cursor) && words.get(1 + at).is_some_and(|word| word == b"0");
    let names_alone = words.iter().any(|word| word.eq_ignore_ascii_case(b"NOVALUES"));
    let pairs = matches!(words[0].to_ascii_uppercase().as_slice(), b"HSCAN" | b"ZSCAN") && !names_alone;
    let group = if pairs { 2 } else { 1 };
    shape(our_cursor) == shape(their_cursor) && (!whole || unordered(ours, group) == unordered(theirs, group))
}

/// Equal but for what two clocks tell differently: times since 1970, what is left of long deadlines, and ages.
fn same_but_for_clocks(ours: &Value, theirs: &Value) -> bool {
    /// Smaller numbers are no times here: no deadline that is drawn is nearer.
    const TIMES_FROM: i64 = 50_000;
    const APART_MAX: u64 = 60_000;
    if let (Some(ours), Some(theirs)) = (ours.integer(), theirs.integer()) {
        return ours == theirs || ours.min(theirs) >= TIMES_FROM && ours.abs_diff(theirs) <= APART_MAX;
    }
    let (Value::Many(our_mark, our_parts), Value::Many(their_mark, their_parts)) = (ours, theirs) else {
        return ours == theirs;
    };
    // A row of XPENDING is an id, a consumer, an age and a count.
    let is_row = our_parts.len() == 4 && our_parts[1].text().is_some() && our_parts[2].integer().is_some();
    let is_age = |at: usize| {
        let named = at > 0 && matches!(our_parts[at - 1].text(), Some(b"idle" | b"inactive"));
        named || is_row && at == 2
    };
    let same = |(at, (ours, theirs)): (usize, (&Value, &Value))| {
        same_but_for_clocks(ours, theirs) || is_age(at) && shape(ours) == shape(theirs)
    };
    (our_mark, our_parts.len()) == (their_mark, their_parts.len())
        && our_parts.iter().zip(their_parts).enumerate().all(same)
}

/// Numbers by their value, not by their digits: Redis 7.0 writes 17 of them, Redis 8 and we as few as name the number. `is_newer` leaves out what newer
/// servers do not have or have besides: a sign of zero in small values, and more than 17 digits behind the point of a coordinate.
pub fn by_value(value: &Value, is_newer: bool) -> Value {
    match value {
        Value::Line(mark @ b',', bytes) | Value::Text(mark @ b'$', bytes) => {
            let number = std::str::from_utf8(bytes).ok().and_then(|text| text.parse::<f64>().ok());
            let cut = |number: f64| format!("{number:.17}").parse().unwrap_or(number) + 0.0;
            let number = number.map(|number| if is_newer { cut(number) } else { number });
            number.map_or_else(
                || value.clone(),
                |number| Value::Text(*mark, format!("{number:?}").into_bytes()),
            )
        }
        Value::Many(mark, parts) => {
            Value::Many(*mark, parts.iter().map(|part| by_value(part, is_newer)).collect())
        }
        _ => value.clone(),
    }
}

/// XINFO without what 7.2 has added.
pub fn without_activity(value: &Value) -> Value {
    let Value::Many(mark, parts) = value else { return value.clone() };
    let (mut kept, mut at) = (Vec::new(), 0);
    while let Some(part) = parts.get(at) {
        if matches!(part.text(), Some(b"inactive" | b"active-time")) {
            at += 2;
        } else {
            kept.push(without_activity(part));
            at += 1;
        }
    }
    Value::Many(*mark, kept)
}

/// Errors by their code alone.
pub fn by_code(value: &Value) -> Value {
    match value {
        Value::Line(b'-', bytes) => {
            let code = bytes.split(|byte| *byte == b' ').next().unwrap_or_default();
            Value::Line(b'-', code.to_vec())
        }
        _ => value.clone(),
    }
}
