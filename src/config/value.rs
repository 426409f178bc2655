//! Values of directives: their Rust types, and their text in CONFIG GET and in a file.
//!
//! Owns formatting; parsing is in `kind`. A [`Value`] is what lies between text and a typed field of
//! `Config`: `kind` makes it from text, [`Setting`] moves it into the field and back.

use super::notify::NotifyFlags;
use super::words;

/// The value of one directive, without its bounds.
#[derive(Clone, Debug, PartialEq)]
pub enum Value {
    /// yes or no
    Bool(bool),
    /// a whole number
    Integer(i64),
    /// bytes
    Memory(u64),
    /// bytes, or a share of `maxmemory`
    MemoryOrPercent(MemoryOrPercent),
    /// one of the words of its kind
    Choice(&'static str),
    /// text without further meaning here
    Text(String),
    /// text that may hold any byte, such as a password
    Bytes(Vec<u8>),
    /// several words
    Words(Vec<String>),
    /// permission bits
    FileMode(FileMode),
    /// classes of keyspace events
    Notify(NotifyFlags),
    /// when to save
    SavePoints(Vec<SavePoint>),
    /// output limits of the client classes
    OutputBufferLimits(OutputBufferLimits),
    /// numbers from 0 to 100
    Percentiles(Vec<f64>),
    /// what a signal's shutdown does
    ShutdownOptions(ShutdownOptions),
    /// adjustments for primary, replica and background child
    OomScores([i32; 3]),
}

impl Value {
    /// The text that CONFIG GET answers.
    pub fn show(&self) -> Vec<u8> {
        match self {
            Value::Bool(value) => if *value { "yes" } else { "no" }.into(),
            Value::Integer(value) => value.to_string().into(),
            Value::Memory(bytes) => bytes.to_string().into(),
            Value::MemoryOrPercent(MemoryOrPercent::Bytes(bytes)) => bytes.to_string().into(),
            Value::MemoryOrPercent(MemoryOrPercent::Percent(percent)) => format!("{percent}%").into(),
            Value::Choice(word) => (*word).into(),
            Value::Text(text) => text.clone().into(),
            Value::Bytes(bytes) => bytes.clone(),
            Value::Words(words) => words.join(" ").into(),
            Value::FileMode(FileMode(bits)) => format!("{bits:o}").into(),
            Value::Notify(flags) => flags.to_string().into(),
            Value::SavePoints(points) => join(points, |point| format!("{} {}", point.seconds, point.changes)),
            Value::OutputBufferLimits(limits) => {
                join(&limits.classes(), |(name, limit)| limit.show(name, |bytes| bytes.to_string()))
            }
            Value::Percentiles(percentiles) => join(percentiles, |percentile| show_decimal(*percentile)),
            Value::ShutdownOptions(options) => options.show().into(),
            Value::OomScores(scores) => join(scores, i32::to_string),
        }
    }

    /// What stands after the directive's name in a file: mostly one line, but one for each save point and for
    /// each client class. Never empty.
    pub fn file_lines(&self) -> Vec<String> {
        match self {
            Value::Memory(bytes) => vec![with_unit(*bytes)],
            Value::MemoryOrPercent(MemoryOrPercent::Bytes(bytes)) => vec![with_unit(*bytes)],
            Value::Text(text) => vec![words::quote(text.as_bytes())],
            Value::Bytes(bytes) => vec![words::quote(bytes)],
            Value::Notify(flags) => vec![words::quote(flags.to_string().as_bytes())],
            Value::SavePoints(points) if !points.is_empty() => {
                points.iter().map(|point| format!("{} {}", point.seconds, point.changes)).collect()
            }
            Value::OutputBufferLimits(limits) => {
                limits.classes().iter().map(|(name, limit)| limit.show(file_class(name), with_unit)).collect()
            }
            Value::Words(words) if !words.is_empty() => {
                vec![words.iter().map(|word| quote_if_needed(word)).collect::<Vec<_>>().join(" ")]
            }
            other => match other.show() {
                text if text.is_empty() => vec!["\"\"".to_string()],
                text => vec![String::from_utf8_lossy(&text).into_owned()],
            },
        }
    }
}

/// A type that a field of `Config` may have. `u64` is a number of bytes; the other integers are plain
/// numbers.
pub trait Setting: Sized {
    /// The field's content.
    fn to_value(&self) -> Value;

    /// The content for the field; `None` when the value is of another kind or does not fit, which the tests
    /// of the table rule out for every row.
    fn from_value(value: Value) -> Option<Self>;
}

/// Implements `Setting` for a type that a variant of `Value` holds as it is.
macro_rules! setting {
    ($($type:ty => $variant:ident,)*) => { $(
        impl Setting for $type {
            fn to_value(&self) -> Value {
                Value::$variant(self.clone())
            }

            fn from_value(value: Value) -> Option<Self> {
                if let Value::$variant(value) = value { Some(value) } else { None }
            }
        }
    )* };
}

setting! {
    bool => Bool,
    i64 => Integer,
    u64 => Memory,
    MemoryOrPercent => MemoryOrPercent,
    String => Text,
    Vec<u8> => Bytes,
    Vec<String> => Words,
    FileMode => FileMode,
    NotifyFlags => Notify,
    Vec<SavePoint> => SavePoints,
    OutputBufferLimits => OutputBufferLimits,
    Vec<f64> => Percentiles,
    ShutdownOptions => ShutdownOptions,
}

/// Implements `Setting` for integers narrower than `i64`; the bounds of the row keep values in range.
macro_rules! narrow_integer {
    ($($type:ty)*) => { $(
        impl Setting for $type {
            fn to_value(&self) -> Value {
                Value::Integer(i64::from(*self))
            }

            fn from_value(value: Value) -> Option<Self> {
                if let Value::Integer(value) = value { value.try_into().ok() } else { None }
            }
        }
    )* };
}

narrow_integer! { u8 u16 u32 }

/// An absolute limit or a share of `maxmemory`. Zero bytes mean no limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MemoryOrPercent {
    /// bytes
    Bytes(u64),
    /// 1 to 100, of `maxmemory`
    Percent(u8),
}

impl MemoryOrPercent {
    /// The limit in bytes, where `whole` is what a percentage relates to; 0 means no limit.
    pub fn bytes_of(self, whole: u64) -> u64 {
        match self {
            MemoryOrPercent::Bytes(bytes) => bytes,
            // In u128, because a large `maxmemory` times 100 does not fit 64 bits.
            MemoryOrPercent::Percent(percent) => (u128::from(whole) * u128::from(percent) / 100) as u64,
        }
    }
}

impl Default for MemoryOrPercent {
    fn default() -> MemoryOrPercent {
        MemoryOrPercent::Bytes(0)
    }
}

/// Permission bits of a file, shown in octal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FileMode(pub u32);

/// Save when at least `changes` writes happened and `seconds` passed since the last save.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SavePoint {
    /// at least 1
    pub seconds: u32,
    /// writes since the last save
    pub changes: u32,
}

/// Output limits by class of client.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBufferLimits {
    /// clients that send commands, MONITOR included
    pub normal: OutputBufferLimit,
    /// replicas of this server
    pub replica: OutputBufferLimit,
    /// subscribers
    pub pubsub: OutputBufferLimit,
}

impl OutputBufferLimits {
    /// Name and limit of each class, in the order of CONFIG GET, where the replica's name is still `slave`.
    fn classes(&self) -> [(&'static str, OutputBufferLimit); 3] {
        [("normal", self.normal), ("slave", self.replica), ("pubsub", self.pubsub)]
    }

    /// The limit of the class that configuration calls `name`, in any case; `slave` is a name of `replica`.
    pub fn class_mut(&mut self, name: &[u8]) -> Option<&mut OutputBufferLimit> {
        match name.to_ascii_lowercase().as_slice() {
            b"normal" => Some(&mut self.normal),
            b"slave" | b"replica" => Some(&mut self.replica),
            b"pubsub" => Some(&mut self.pubsub),
            _ => None,
        }
    }
}

/// When a client that does not read its replies is closed. Zero means no limit.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OutputBufferLimit {
    /// closed at once beyond this
    pub hard_bytes: u64,
    /// closed when beyond this for `soft_seconds`
    pub soft_bytes: u64,
    /// how long the soft limit may be exceeded
    pub soft_seconds: u32,
}

impl OutputBufferLimit {
    fn show(&self, class: &str, size: impl Fn(u64) -> String) -> String {
        format!("{class} {} {} {}", size(self.hard_bytes), size(self.soft_bytes), self.soft_seconds)
    }
}

/// What the shutdown that a signal asks for does. All false is the default: save if save points are
/// configured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ShutdownOptions {
    /// save even without save points; excludes `nosave`
    pub save: bool,
    /// do not save
    pub nosave: bool,
    /// do not wait for lagging replicas
    pub now: bool,
    /// shut down even if saving fails
    pub force: bool,
}

impl ShutdownOptions {
    /// The accepted words, in the order of error texts.
    pub const WORDS: &'static [&'static str] = &["default", "save", "nosave", "now", "force"];

    fn show(self) -> String {
        let set = [self.save, self.nosave, self.now, self.force];
        let words: Vec<&str> = ShutdownOptions::WORDS[1..]
            .iter()
            .zip(set)
            .filter(|(_, set)| *set)
            .map(|(word, _)| *word)
            .collect();
        if words.is_empty() { ShutdownOptions::WORDS[0].to_string() } else { words.join(" ") }
    }
}

fn join<T>(items: &[T], show: impl Fn(&T) -> String) -> Vec<u8> {
    items.iter().map(show).collect::<Vec<_>>().join(" ").into()
}

/// Six decimals without trailing zeros, as Redis prints percentiles.
fn show_decimal(number: f64) -> String {
    let text = format!("{number:.6}");
    text.trim_end_matches('0').trim_end_matches('.').to_string()
}

/// Bytes in the largest unit that divides them.
fn with_unit(bytes: u64) -> String {
    for (unit, size) in [("gb", 1 << 30), ("mb", 1 << 20), ("kb", 1 << 10)] {
        if bytes != 0 && bytes.is_multiple_of(size) {
            return format!("{}{unit}", bytes / size);
        }
    }
    bytes.to_string()
}

/// Files say `replica` where CONFIG GET still says `slave`.
fn file_class(name: &str) -> &str {
    if name == "slave" { "replica" } else { name }
}

fn quote_if_needed(word: &str) -> String {
    let plain = |byte: u8| byte.is_ascii_graphic() && !b"\"'\\#".contains(&byte);
    if !word.is_empty() && word.bytes().all(plain) { word.to_string() } else { words::quote(word.as_bytes()) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn memory_in_a_file_uses_the_largest_exact_unit() {
        for (bytes, text) in
            [(0, "0"), (1, "1"), (1023, "1023"), (1024, "1kb"), (1500 << 20, "1500mb"), (3 << 30, "3gb")]
        {
            assert_eq!(with_unit(bytes), text);
        }
        assert_eq!(with_unit(20_000_000), "20000000");
    }

    #[test]
    fn percentiles_lose_trailing_zeros_only() {
        for (number, text) in
            [(50.0, "50"), (99.9, "99.9"), (100.0, "100"), (0.0, "0"), (33.333333333333, "33.333333")]
        {
            assert_eq!(show_decimal(number), text);
        }
    }

    #[test]
    fn a_percentage_relates_to_the_whole() {
        assert_eq!(MemoryOrPercent::Percent(5).bytes_of(1000), 50);
        assert_eq!(MemoryOrPercent::Percent(100).bytes_of(u64::MAX), u64::MAX);
        assert_eq!(MemoryOrPercent::Bytes(7).bytes_of(1000), 7);
    }

    #[test]
    fn files_name_the_replica_class_by_its_new_name() {
        let limits = OutputBufferLimits {
            replica: OutputBufferLimit { hard_bytes: 256 << 20, soft_bytes: 64 << 20, soft_seconds: 60 },
            ..OutputBufferLimits::default()
        };
        let value = Value::OutputBufferLimits(limits);
        assert_eq!(value.file_lines(), ["normal 0 0 0", "replica 256mb 64mb 60", "pubsub 0 0 0"]);
        assert_eq!(value.show(), b"normal 0 0 0 slave 268435456 67108864 60 pubsub 0 0 0");
    }
}
