//! Kinds of directives: what text they accept, and Redis's words for what they do not.
//!
//! Owns parsing and bounds. The error texts are those of redis-server 7.0.15, because clients and its test
//! suite compare them. Nothing here knows a directive by name, except where Redis puts the name into a text.

use std::fmt;

use super::notify::NotifyFlags;
use super::value::{
    FileMode, MemoryOrPercent, OutputBufferLimit, OutputBufferLimits, SavePoint, ShutdownOptions, Value,
};

/// The most addresses that `bind` takes.
const WORDS_MAX: usize = 16;

/// What a directive accepts.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// `yes` or `no`
    Bool,
    /// a decimal number within bounds
    Integer {
        /// least accepted value
        min: i64,
        /// greatest accepted value
        max: i64,
    },
    /// a number that is accepted from 0 to the greatest `int` and then moved into the bounds, as Redis does
    /// for `hz`
    ClampedInteger {
        /// smaller numbers become this
        min: i64,
        /// greater numbers become this
        max: i64,
    },
    /// bytes with an optional unit: `b`, `k` (1000), `kb` (1024), `m`, `mb`, `g`, `gb`
    Memory {
        /// least accepted number of bytes
        min: u64,
        /// greatest accepted number of bytes
        max: u64,
    },
    /// a memory size, or a percentage of `maxmemory`
    MemoryOrPercent,
    /// one of these words, in any case
    Choice(&'static [&'static str]),
    /// UTF-8 text
    Text,
    /// a file's name without directories; Redis's sentences name the directive, so its row brings them
    FileName {
        /// the error for a name with a slash
        is_path: &'static str,
        /// the error for an empty name, if it is one
        is_empty: Option<&'static str>,
    },
    /// any bytes
    Bytes,
    /// up to 16 words
    Words,
    /// permission bits in octal, at most 777
    FileMode,
    /// letters of keyspace event classes
    NotifyFlags,
    /// pairs of seconds and changes; nothing turns saving off
    SavePoints,
    /// groups of class, hard limit, soft limit, soft seconds; classes that are not named stay as they are
    OutputBufferLimits,
    /// numbers from 0 to 100
    Percentiles,
    /// `default`, or any of `save`, `nosave`, `now`, `force`
    ShutdownOptions,
    /// three numbers from -2000 to 2000
    OomScores,
    /// a host and a port, or nothing
    Primary,
}

/// Why a text is not a value of its kind. `Display` writes Redis's text.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum ValueError {
    /// more or fewer words than the kind takes
    WordCount,
    /// neither yes nor no
    NotBool,
    /// not a decimal number of 64 bits
    NotInteger,
    /// outside the integer bounds
    IntegerBounds(i64, i64),
    /// not a size
    NotMemory,
    /// outside the size bounds
    MemoryBounds(u64, u64),
    /// neither a size nor a percentage
    NotMemoryOrPercent,
    /// not an octal number
    NotOctal,
    /// octal, but greater than 777
    OctalBounds,
    /// none of these words
    NotOneOf(&'static [&'static str]),
    /// not UTF-8
    NotText,
    /// any other fixed sentence
    Other(&'static str),
}

impl fmt::Display for ValueError {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ValueError::WordCount => write!(out, "wrong number of arguments"),
            ValueError::NotBool => write!(out, "argument must be 'yes' or 'no'"),
            ValueError::NotInteger => write!(out, "argument couldn't be parsed into an integer"),
            ValueError::IntegerBounds(min, max) => {
                write!(out, "argument must be between {min} and {max} inclusive")
            }
            ValueError::NotMemory => write!(out, "argument must be a memory value"),
            ValueError::MemoryBounds(min, max) => {
                write!(out, "argument must be between {min} and {max} inclusive")
            }
            ValueError::NotMemoryOrPercent => write!(out, "argument must be a memory or percent value"),
            ValueError::NotOctal => write!(out, "argument couldn't be parsed as an octal number"),
            ValueError::OctalBounds => write!(out, "argument must be between 0 and 777 inclusive"),
            ValueError::NotOneOf(words) => {
                write!(out, "argument(s) must be one of the following: {}", words.join(", "))
            }
            ValueError::NotText => write!(out, "argument must be valid UTF-8"),
            ValueError::Other(sentence) => write!(out, "{sentence}"),
        }
    }
}

impl Kind {
    /// The value that the words after a directive's name mean. A kind of several values also takes them in
    /// one word, apart by single spaces, as CONFIG SET passes them. `current` is what the directive has now.
    ///
    /// # Errors
    /// When the words are not of this kind.
    pub fn parse(&self, words: &[&[u8]], current: &Value) -> Result<Value, ValueError> {
        if !self.takes_several_words() {
            return match words {
                [word] => self.parse_word(word),
                _ => Err(ValueError::WordCount),
            };
        }
        let parts: Vec<&[u8]> = match words {
            [[]] => Vec::new(),
            [word] => word.split(|&byte| byte == b' ').collect(),
            _ => words.to_vec(),
        };
        self.parse_words(&parts, current)
    }

    /// Whether words after the name belong together.
    pub fn takes_several_words(&self) -> bool {
        matches!(
            self,
            Kind::Words
                | Kind::SavePoints
                | Kind::OutputBufferLimits
                | Kind::Percentiles
                | Kind::ShutdownOptions
                | Kind::OomScores
                | Kind::Primary
        )
    }

    fn parse_word(&self, word: &[u8]) -> Result<Value, ValueError> {
        match *self {
            Kind::Bool => parse_bool(word).map(Value::Bool),
            Kind::Integer { min, max } => integer_within(word, min, max).map(Value::Integer),
            Kind::ClampedInteger { min, max } => integer_within(word, 0, i64::from(i32::MAX))
                .map(|number| Value::Integer(number.clamp(min, max))),
            Kind::Memory { min, max } => {
                let bytes = parse_memory(word).ok_or(ValueError::NotMemory)?;
                let fits = (min..=max).contains(&bytes);
                if fits { Ok(Value::Memory(bytes)) } else { Err(ValueError::MemoryBounds(min, max)) }
            }
            Kind::MemoryOrPercent => parse_memory_or_percent(word).map(Value::MemoryOrPercent),
            Kind::Choice(words) => words
                .iter()
                .find(|choice| word.eq_ignore_ascii_case(choice.as_bytes()))
                .map(|choice| Value::Choice(choice))
                .ok_or(ValueError::NotOneOf(words)),
            Kind::Text => parse_text(word).map(Value::Text),
            Kind::FileName { is_path, .. } if word.contains(&b'/') => Err(ValueError::Other(is_path)),
            Kind::FileName { is_empty: Some(sentence), .. } if word.is_empty() => {
                Err(ValueError::Other(sentence))
            }
            Kind::FileName { .. } => parse_text(word).map(Value::Text),
            Kind::Bytes => Ok(Value::Bytes(word.to_vec())),
            Kind::FileMode => parse_file_mode(word).map(Value::FileMode),
            Kind::NotifyFlags => NotifyFlags::parse(word)
                .map(Value::Notify)
                .ok_or(ValueError::Other("Invalid event class character. Use 'Ag$lshzxeKEtmdn'.")),
            _ => Err(ValueError::WordCount),
        }
    }

    fn parse_words(&self, words: &[&[u8]], current: &Value) -> Result<Value, ValueError> {
        match self {
            Kind::Words => {
                if words.len() > WORDS_MAX {
                    return Err(ValueError::Other("Too many bind addresses specified."));
                }
                words.iter().map(|word| parse_text(word)).collect::<Result<_, _>>().map(Value::Words)
            }
            Kind::SavePoints => parse_save_points(words).map(Value::SavePoints),
            Kind::OutputBufferLimits => {
                let before = if let Value::OutputBufferLimits(limits) = current {
                    *limits
                } else {
                    Default::default()
                };
                parse_output_buffer_limits(words, before).map(Value::OutputBufferLimits)
            }
            Kind::Percentiles => words
                .iter()
                .map(|word| parse_percentile(word))
                .collect::<Result<_, _>>()
                .map(Value::Percentiles),
            Kind::ShutdownOptions => parse_shutdown_options(words).map(Value::ShutdownOptions),
            Kind::OomScores => parse_oom_scores(words).map(Value::OomScores),
            Kind::Primary => parse_primary(words).map(Value::Words),
            _ => Err(ValueError::WordCount),
        }
    }
}

/// What the kind accepts, for people.
impl fmt::Display for Kind {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Kind::Bool => write!(out, "yes, no"),
            Kind::Integer { min, max } => write_range(out, "integer", *min, *max),
            Kind::ClampedInteger { min, max } => write!(out, "integer, moved into {min} to {max}"),
            Kind::Memory { min, max } => {
                write!(out, "memory size")?;
                match (*min, *max) {
                    (0, _) => Ok(()),
                    (min, _) => write!(out, ", at least {min}"),
                }
            }
            Kind::MemoryOrPercent => write!(out, "memory size, or percentage of maxmemory"),
            Kind::Choice(words) => write!(out, "{}", words.join(", ")),
            Kind::Text => write!(out, "text"),
            Kind::FileName { .. } => write!(out, "file name"),
            Kind::Bytes => write!(out, "any bytes"),
            Kind::Words => write!(out, "up to {WORDS_MAX} words"),
            Kind::FileMode => write!(out, "octal, 0 to 777"),
            Kind::NotifyFlags => write!(out, "letters of `KEg$lshzxetdmnocA`"),
            Kind::SavePoints => write!(out, "pairs of seconds and changes"),
            Kind::OutputBufferLimits => write!(out, "groups of class, hard limit, soft limit, soft seconds"),
            Kind::Percentiles => write!(out, "numbers, 0 to 100"),
            Kind::ShutdownOptions => write!(out, "words of {}", ShutdownOptions::WORDS.join(", ")),
            Kind::OomScores => write!(out, "three integers, -2000 to 2000"),
            Kind::Primary => write!(out, "host and port, or `no one`"),
        }
    }
}

/// The end of a range is left out where it only is the end of the type.
fn write_range(out: &mut fmt::Formatter<'_>, what: &str, min: i64, max: i64) -> fmt::Result {
    let unbounded_above = max == i64::MAX || max == i64::from(i32::MAX);
    let unbounded_below = min == i64::from(i32::MIN);
    match (unbounded_below, unbounded_above) {
        (true, true) => write!(out, "{what}"),
        (false, true) => write!(out, "{what}, at least {min}"),
        _ => write!(out, "{what}, {min} to {max}"),
    }
}

fn parse_bool(word: &[u8]) -> Result<bool, ValueError> {
    if word.eq_ignore_ascii_case(b"yes") {
        Ok(true)
    } else if word.eq_ignore_ascii_case(b"no") {
        Ok(false)
    } else {
        Err(ValueError::NotBool)
    }
}

/// A number in its only decimal form: no plus sign, no leading zero, no space.
fn parse_integer(word: &[u8]) -> Option<i64> {
    let number: i64 = std::str::from_utf8(word).ok()?.parse().ok()?;
    (number.to_string().as_bytes() == word).then_some(number)
}

fn integer_within(word: &[u8], min: i64, max: i64) -> Result<i64, ValueError> {
    let number = parse_integer(word).ok_or(ValueError::NotInteger)?;
    if (min..=max).contains(&number) { Ok(number) } else { Err(ValueError::IntegerBounds(min, max)) }
}

/// Bytes of a size such as `100mb`. Nothing but a unit is 0 bytes, as in Redis; a size beyond 64 bits counts
/// as the greatest, so that the bounds refuse it.
pub fn parse_memory(word: &[u8]) -> Option<u64> {
    let digits = word.iter().take_while(|byte| byte.is_ascii_digit()).count();
    let (number, unit) = word.split_at(digits);
    let factor: u64 = match unit.to_ascii_lowercase().as_slice() {
        b"" | b"b" => 1,
        b"k" => 1000,
        b"kb" => 1 << 10,
        b"m" => 1_000_000,
        b"mb" => 1 << 20,
        b"g" => 1_000_000_000,
        b"gb" => 1 << 30,
        _ => return None,
    };
    let push = |total: u64, digit: &u8| total.saturating_mul(10).saturating_add(u64::from(digit - b'0'));
    Some(number.iter().fold(0, push).saturating_mul(factor))
}

fn parse_memory_or_percent(word: &[u8]) -> Result<MemoryOrPercent, ValueError> {
    let Some(number) = word.strip_suffix(b"%") else {
        return parse_memory(word).map(MemoryOrPercent::Bytes).ok_or(ValueError::NotMemoryOrPercent);
    };
    match parse_integer(number) {
        Some(0) => Ok(MemoryOrPercent::Bytes(0)),
        Some(percent @ 1..=100) => Ok(MemoryOrPercent::Percent(percent as u8)),
        Some(101..) => Err(ValueError::Other("percentage argument must be less or equal to 100")),
        _ => Err(ValueError::NotMemoryOrPercent),
    }
}

fn parse_text(word: &[u8]) -> Result<String, ValueError> {
    String::from_utf8(word.to_vec()).map_err(|_| ValueError::NotText)
}

fn parse_file_mode(word: &[u8]) -> Result<FileMode, ValueError> {
    let text = std::str::from_utf8(word).map_err(|_| ValueError::NotOctal)?;
    match i64::from_str_radix(text, 8) {
        Ok(bits @ 0..=0o777) => Ok(FileMode(bits as u32)),
        Ok(_) => Err(ValueError::OctalBounds),
        Err(_) => Err(ValueError::NotOctal),
    }
}

fn parse_save_points(words: &[&[u8]]) -> Result<Vec<SavePoint>, ValueError> {
    const INVALID: ValueError = ValueError::Other("Invalid save parameters");
    let (pairs, []) = words.as_chunks::<2>() else { return Err(INVALID) };
    pairs
        .iter()
        .map(|[seconds, changes]| {
            let number = |word, min| integer_within(word, min, i64::from(i32::MAX)).map_err(|_| INVALID);
            Ok(SavePoint { seconds: number(seconds, 1)? as u32, changes: number(changes, 0)? as u32 })
        })
        .collect()
}

fn parse_output_buffer_limits(
    words: &[&[u8]],
    mut limits: OutputBufferLimits,
) -> Result<OutputBufferLimits, ValueError> {
    let (groups, []) = words.as_chunks::<4>() else {
        return Err(ValueError::Other("Wrong number of arguments in buffer limit configuration."));
    };
    for [class, hard, soft, seconds] in groups {
        let Some(limit) = limits.class_mut(class) else {
            return Err(ValueError::Other("Invalid client class specified in buffer limit configuration."));
        };
        let parsed =
            (parse_memory(hard), parse_memory(soft), integer_within(seconds, 0, i64::from(i32::MAX)));
        let (Some(hard_bytes), Some(soft_bytes), Ok(soft_seconds)) = parsed else {
            return Err(ValueError::Other(
                "Error in hard, soft or soft_seconds setting in buffer limit configuration.",
            ));
        };
        *limit = OutputBufferLimit { hard_bytes, soft_bytes, soft_seconds: soft_seconds as u32 };
    }
    Ok(limits)
}

fn parse_percentile(word: &[u8]) -> Result<f64, ValueError> {
    let number = std::str::from_utf8(word).ok().and_then(|text| text.parse::<f64>().ok());
    match number {
        Some(number) if (0.0..=100.0).contains(&number) => Ok(number),
        Some(number) if !number.is_nan() => Err(ValueError::Other(
            "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
        )),
        _ => Err(ValueError::Other("Invalid latency-tracking-info-percentiles parameters")),
    }
}

fn parse_shutdown_options(words: &[&[u8]]) -> Result<ShutdownOptions, ValueError> {
    let mut options = ShutdownOptions::default();
    for word in words {
        match word.to_ascii_lowercase().as_slice() {
            b"default" => {}
            b"save" => options.save = true,
            b"nosave" => options.nosave = true,
            b"now" => options.now = true,
            b"force" => options.force = true,
            _ => return Err(ValueError::NotOneOf(ShutdownOptions::WORDS)),
        }
    }
    if words.is_empty() {
        return Err(ValueError::NotOneOf(ShutdownOptions::WORDS));
    }
    if options.save && options.nosave {
        return Err(ValueError::Other("shutdown options SAVE and NOSAVE can't be used simultaneously"));
    }
    Ok(options)
}

/// A host and its port; `no one` stands for none.
fn parse_primary(words: &[&[u8]]) -> Result<Vec<String>, ValueError> {
    match words {
        [] => Ok(Vec::new()),
        [no, one] if no.eq_ignore_ascii_case(b"no") && one.eq_ignore_ascii_case(b"one") => Ok(Vec::new()),
        [host, port] => match integer_within(port, 0, i64::from(u16::MAX)) {
            Ok(port) => Ok(vec![parse_text(host)?, port.to_string()]),
            Err(_) => Err(ValueError::Other("Invalid master port")),
        },
        _ => Err(ValueError::WordCount),
    }
}

fn parse_oom_scores(words: &[&[u8]]) -> Result<[i32; 3], ValueError> {
    let words: &[&[u8]; 3] = words.try_into().map_err(|_| ValueError::WordCount)?;
    let mut scores = [0; 3];
    for (score, word) in scores.iter_mut().zip(words) {
        let number = integer_within(word, -2000, 2000).map_err(|_| {
            ValueError::Other("Invalid oom-score-adj-values, elements must be between -2000 and 2000.")
        })?;
        *score = number as i32;
    }
    Ok(scores)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn shown(kind: Kind, text: &str) -> String {
        match kind.parse(&[text.as_bytes()], &Value::Bool(false)) {
            Ok(value) => String::from_utf8_lossy(&value.show()).into_owned(),
            Err(error) => error.to_string(),
        }
    }

    #[test]
    fn memory_sizes_take_units_in_any_case() {
        let kind = Kind::Memory { min: 0, max: u64::MAX };
        for (text, bytes) in [
            ("1g", "1000000000"),
            ("1k", "1000"),
            ("1kb", "1024"),
            ("1MB", "1048576"),
            ("1b", "1"),
            ("", "0"),
            ("1tb", "argument must be a memory value"),
            ("1.5gb", "argument must be a memory value"),
            ("-1", "argument must be a memory value"),
            ("abc", "argument must be a memory value"),
        ] {
            assert_eq!(shown(kind, text), bytes, "{text}");
        }
        let bounded = Kind::Memory { min: 1 << 20, max: i64::MAX as u64 };
        let bounds = "argument must be between 1048576 and 9223372036854775807 inclusive";
        assert_eq!(shown(bounded, "1000"), bounds);
        assert_eq!(shown(bounded, "99999999999999999999999"), bounds);
    }

    #[test]
    fn integers_have_one_spelling() {
        let kind = Kind::Integer { min: 0, max: 100 };
        assert_eq!(shown(kind, "5"), "5");
        for text in [" 5", "+5", "05", "5 ", "0x5", "", "1e3", "-0", "99999999999999999999999"] {
            assert_eq!(shown(kind, text), "argument couldn't be parsed into an integer", "{text}");
        }
        assert_eq!(shown(kind, "-5"), "argument must be between 0 and 100 inclusive");
        assert_eq!(shown(Kind::ClampedInteger { min: 1, max: 500 }, "5000"), "500");
        assert_eq!(shown(Kind::ClampedInteger { min: 1, max: 500 }, "0"), "1");
    }

    #[test]
    fn percentages_end_at_hundred() {
        for (text, expected) in [
            ("5%", "5%"),
            ("0%", "0"),
            ("1mb", "1048576"),
            ("101%", "percentage argument must be less or equal to 100"),
            ("-5%", "argument must be a memory or percent value"),
            ("x%", "argument must be a memory or percent value"),
            ("abc", "argument must be a memory or percent value"),
        ] {
            assert_eq!(shown(Kind::MemoryOrPercent, text), expected, "{text}");
        }
    }

    #[test]
    fn save_points_are_pairs_of_positive_seconds_and_changes() {
        for (text, expected) in [
            ("3600 1 300 100", "3600 1 300 100"),
            ("5 10 1 2", "5 10 1 2"),
            ("1 0", "1 0"),
            ("", ""),
            ("3600 1 300", "Invalid save parameters"),
            ("a b", "Invalid save parameters"),
            ("0 1", "Invalid save parameters"),
            ("-1 5", "Invalid save parameters"),
            ("1 -5", "Invalid save parameters"),
            ("  5   10  ", "Invalid save parameters"),
            ("1.5 2", "Invalid save parameters"),
        ] {
            assert_eq!(shown(Kind::SavePoints, text), expected, "{text}");
        }
    }

    #[test]
    fn output_limits_change_only_the_classes_they_name() {
        for (text, expected) in [
            ("normal 1mb 2kb 3 replica 1gb 2 3", "normal 1048576 2048 3 slave 1073741824 2 3 pubsub 0 0 0"),
            ("", "normal 0 0 0 slave 0 0 0 pubsub 0 0 0"),
            ("master 1 2 3", "Invalid client class specified in buffer limit configuration."),
            ("normal 1 2", "Wrong number of arguments in buffer limit configuration."),
            ("normal a 2 3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
            ("normal -1 2 3", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
            ("normal 1 2 3x", "Error in hard, soft or soft_seconds setting in buffer limit configuration."),
        ] {
            assert_eq!(shown(Kind::OutputBufferLimits, text), expected, "{text}");
        }
    }

    #[test]
    fn words_octal_scores_and_options_fail_as_in_redis() {
        let one_of = "argument(s) must be one of the following: default, save, nosave, now, force";
        let scores = "Invalid oom-score-adj-values, elements must be between -2000 and 2000.";
        for (kind, text, expected) in [
            (Kind::ShutdownOptions, "force now nosave", "nosave now force"),
            (Kind::ShutdownOptions, "default force", "force"),
            (Kind::ShutdownOptions, "", one_of),
            (Kind::ShutdownOptions, "foo", one_of),
            (
                Kind::ShutdownOptions,
                "save nosave",
                "shutdown options SAVE and NOSAVE can't be used simultaneously",
            ),
            (Kind::OomScores, "1 2", "wrong number of arguments"),
            (Kind::Primary, "No One", ""),
            (Kind::Primary, "host 6379", "host 6379"),
            (Kind::Primary, "host abc", "Invalid master port"),
            (Kind::Primary, "host", "wrong number of arguments"),
            (Kind::OomScores, "1 2 b", scores),
            (Kind::OomScores, "0 200 3000", scores),
            (Kind::FileMode, "0770", "770"),
            (Kind::FileMode, "zz", "argument couldn't be parsed as an octal number"),
            (Kind::FileMode, "1000", "argument must be between 0 and 777 inclusive"),
            (Kind::FileMode, "-1", "argument must be between 0 and 777 inclusive"),
            (Kind::Words, "1 2 3 4 5 6 7 8 9 10 11 12 13 14 15 16 17", "Too many bind addresses specified."),
            (Kind::Bool, "YES", "yes"),
            (Kind::Bool, "maybe", "argument must be 'yes' or 'no'"),
            (Kind::Choice(&["on-empty-db", "swapdb"]), "SWAPDB", "swapdb"),
            (Kind::Percentiles, "0 0.001 33.333333333333", "0 0.001 33.333333"),
            (Kind::Percentiles, "abc", "Invalid latency-tracking-info-percentiles parameters"),
            (
                Kind::Percentiles,
                "101",
                "latency-tracking-info-percentiles parameters should sit between [0.0,100.0]",
            ),
            (Kind::NotifyFlags, "Kq", "Invalid event class character. Use 'Ag$lshzxeKEtmdn'."),
        ] {
            assert_eq!(shown(kind, text), expected, "{kind:?} {text}");
        }
    }
}
