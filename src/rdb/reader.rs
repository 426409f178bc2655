//! Reads an RDB stream record by record.

use std::io::Read;

use super::error::{Error, Problem};
use super::opcode;
use super::skip::{Skipped, skip_module_parts, skip_value};
use super::source::Source;
use super::value::{self, Collector, Decoded, Kind, Sink, Value};

/// The newest version of Redis's format that is understood (Redis 8).
const VERSION_MAX: u32 = 12;
/// The only version of Valkey's own format that is understood (Valkey 9).
const VALKEY_VERSION: u32 = 80;
/// The first version with a checksum at its end.
const CHECKSUM_SINCE: u32 = 5;

/// Who wrote a stream, and in which version of the format.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    pub valkey: bool,
    pub version: u32,
}

/// What is stored of a key's access history: one or the other, by the eviction policy of the server that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Access {
    IdleSeconds(u64),
    /// The logarithmic counter of LFU.
    Frequency(u8),
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq)]
pub struct Record {
    pub database: u32,
    pub key: Vec<u8>,
    pub value: Value,
    /// Unix milliseconds; may have passed long ago, as files keep what expires after they were written.
    pub expire_at_ms: Option<i64>,
    pub access: Option<Access>,
}

/// A key, in front of its value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Key {
    pub database: u32,
    pub name: Vec<u8>,
    pub kind: Kind,
    /// See [`Record::expire_at_ms`].
    pub expire_at_ms: Option<i64>,
    pub access: Option<Access>,
}

/// Goes through the keys of a stream: [`Reader::next_key`], and then [`Reader::value`] or [`Reader::pass_over`]. As an iterator it gives records. After an error, or the end with a good checksum, it gives nothing more. What was read before
/// an error is only as good as the data: who must have all or nothing waits for the end.
pub struct Reader<R> {
    source: Source<R>,
    header: Header,
    database: u32,
    keys_expected: u64,
    skipped: Skipped,
    /// The encoding of a value that nobody has asked for yet, and where its number stands.
    value: Option<(u8, u64)>,
    ended: bool,
}

/// What stands before a key.
#[derive(Default)]
struct Attributes {
    expire_at_ms: Option<i64>,
    access: Option<Access>,
}

impl<R: Read> Reader<R> {
    /// Reads the header. Input needs no buffer of its own.
    ///
    /// # Errors
    /// When that is no RDB stream, or of a version that is not understood.
    pub fn new(input: R) -> Result<Reader<R>, Error> {
        let mut source = Source::new(input);
        let header = read_header(&mut source)?;
        Ok(Reader {
            source,
            header,
            database: 0,
            keys_expected: 0,
            skipped: Skipped::default(),
            value: None,
            ended: false,
        })
    }

    pub fn header(&self) -> Header {
        self.header
    }

    /// Bytes read so far: behind the last record that was given.
    pub fn offset(&self) -> u64 {
        self.source.offset()
    }

    /// How many keys the stream has announced so far, for the progress of a display; anything may be written there.
    pub fn keys_expected(&self) -> u64 {
        self.keys_expected
    }

    /// What was walked over so far.
    pub fn skipped(&self) -> &Skipped {
        &self.skipped
    }

    /// The next key with its value, or `None` at the end. Collections without elements are left out, as Redis does.
    ///
    /// # Errors
    /// See [`Reader::next_key`].
    pub fn next_record(&mut self) -> Result<Option<Record>, Error> {
        while let Some(key) = self.next_key()? {
            let mut value = Collector::new(key.kind);
            if self.value(&mut value)? == Decoded::Whole {
                let Key { database, name: key, expire_at_ms, access, .. } = key;
                let value = value.into_value();
                return Ok(Some(Record { database, key, value, expire_at_ms, access }));
            }
        }
        Ok(None)
    }

    /// The next key, or `None` at the end. A value that was not asked for is passed over without being counted as skipped.
    ///
    /// # Errors
    /// When the input is damaged, ends too early, or holds what is not understood.
    pub fn next_key(&mut self) -> Result<Option<Key>, Error> {
        self.leave_value()?;
        let next = if self.ended { Ok(None) } else { self.read_on() };
        self.ended = !matches!(next, Ok(Some(_)));
        next
    }

    /// Gives the value of the key that came last to a sink. One that is `Empty` is to be left out.
    ///
    /// # Errors
    /// See [`Reader::next_key`]. What the sink has got then is to be thrown away.
    pub fn value(&mut self, sink: &mut dyn Sink) -> Result<Decoded, Error> {
        let Some((code, _)) = self.value.take() else { return Ok(Decoded::Empty) };
        let decoded = value::decode(&mut self.source, code, self.header.valkey, sink);
        self.ended |= decoded.is_err();
        decoded
    }

    /// Passes over the value of the key that came last, and counts it as skipped.
    ///
    /// # Errors
    /// See [`Reader::next_key`].
    pub fn pass_over(&mut self, key: &Key) -> Result<(), Error> {
        if let Some(name) = self.leave_value()? {
            self.skipped.add(name, &key.name);
        }
        Ok(())
    }

    /// Passes over a value that nobody has asked for; gives the name of its type.
    fn leave_value(&mut self) -> Result<Option<&'static str>, Error> {
        let Some((code, offset)) = self.value.take() else { return Ok(None) };
        let passed = skip_value(&mut self.source, code, offset, self.header.valkey);
        self.ended |= passed.is_err();
        passed.map(Some)
    }

    fn read_on(&mut self) -> Result<Option<Key>, Error> {
        let mut attributes = Attributes::default();
        loop {
            let offset = self.source.offset();
            let byte = self.source.byte()?;
            match byte {
                opcode::EOF => {
                    self.check_sum()?;
                    return Ok(None);
                }
                opcode::EXPIRE_MS => {
                    attributes.expire_at_ms = Some(i64::from_le_bytes(self.source.array()?));
                }
                opcode::EXPIRE_SECONDS => {
                    let seconds = i32::from_le_bytes(self.source.array()?);
                    attributes.expire_at_ms = Some(i64::from(seconds) * 1000);
                }
                opcode::FUNCTION_BEFORE_RELEASE => {
                    return Err(Error { offset, problem: Problem::PreReleaseFunction });
                }
                opcode::IDLE => attributes.access = Some(Access::IdleSeconds(self.source.length()?)),
                opcode::FREQUENCY => attributes.access = Some(Access::Frequency(self.source.byte()?)),
                other if self.read_aside(other)? => {}
                code => {
                    let name = self.source.string()?;
                    if let Some(kind) = value::kind_of(code, self.header.valkey) {
                        self.value = Some((code, offset));
                        let Attributes { expire_at_ms, access } = attributes;
                        let database = self.database;
                        return Ok(Some(Key { database, name, kind, expire_at_ms, access }));
                    }
                    let kind = skip_value(&mut self.source, code, offset, self.header.valkey)?;
                    self.skipped.add(kind, &name);
                    attributes = Attributes::default();
                }
            }
        }
    }

    /// Reads what belongs to no key; false if `byte` does not announce such a thing.
    fn read_aside(&mut self, byte: u8) -> Result<bool, Error> {
        let source = &mut self.source;
        match byte {
            opcode::SELECT_DATABASE => {
                let offset = source.offset();
                let number = source.length()?;
                self.database = u32::try_from(number)
                    .map_err(|_| Error { offset, problem: Problem::DatabaseNumber(number) })?;
            }
            opcode::RESIZE_DATABASE => {
                self.keys_expected = self.keys_expected.saturating_add(source.length()?);
                source.length()?;
            }
            opcode::AUXILIARY => {
                source.skip_string()?;
                source.skip_string()?;
            }
            opcode::MODULE_AUXILIARY => {
                // The module's id, then opcode and number of the moment when it wrote this.
                for _ in 0..3 {
                    source.length()?;
                }
                skip_module_parts(source)?;
                self.skipped.add("module data", b"");
            }
            opcode::FUNCTION => {
                source.skip_string()?;
                self.skipped.add("function", b"");
            }
            opcode::SLOT_INFO => {
                for _ in 0..3 {
                    source.length()?;
                }
            }
            opcode::SLOT_IMPORT if self.header.valkey => {
                source.skip_string()?;
                for _ in 0..source.length()? {
                    source.length()?;
                    source.length()?;
                }
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    fn check_sum(&mut self) -> Result<(), Error> {
        if !self.header.valkey && self.header.version < CHECKSUM_SINCE {
            return Ok(());
        }
        let computed = self.source.checksum();
        let offset = self.source.offset();
        let stored = u64::from_le_bytes(self.source.array()?);
        if stored != 0 && stored != computed {
            return Err(Error { offset, problem: Problem::Checksum { computed, stored } });
        }
        Ok(())
    }
}

impl<R: Read> Iterator for Reader<R> {
    type Item = Result<Record, Error>;

    fn next(&mut self) -> Option<Result<Record, Error>> {
        self.next_record().transpose()
    }
}

fn read_header<R: Read>(source: &mut Source<R>) -> Result<Header, Error> {
    let start: [u8; 9] = source.array()?;
    let (valkey, digits) = if let Some(digits) = start.strip_prefix(b"VALKEY") {
        (true, digits)
    } else if let Some(digits) = start.strip_prefix(b"REDIS") {
        (false, digits)
    } else {
        return Err(Error { offset: 0, problem: Problem::NotRdb });
    };
    let version =
        std::str::from_utf8(digits).ok().filter(|digits| digits.bytes().all(|digit| digit.is_ascii_digit()));
    let version: Option<u32> = version.and_then(|digits| digits.parse().ok());
    let known = |version: &u32| {
        if valkey { *version == VALKEY_VERSION } else { (1..=VERSION_MAX).contains(version) }
    };
    let version = version.filter(known);
    let version = version.ok_or_else(|| Error { offset: 0, problem: Problem::Version(digits.to_vec()) })?;
    Ok(Header { valkey, version })
}
