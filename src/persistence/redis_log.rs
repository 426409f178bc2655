//! Redis's append-only log: which files of a directory it consists of, and the records in a file. Knows nothing of what a command does.
//!
//! ```text
//!   <dir>/<appenddirname>/<appendfilename>.manifest    since Redis 7: a line for each file
//!                         file <name> seq <number> type b      the base, an RDB file or records (none, or one)
//!                         file <name> seq <number> type i      increments, in order
//!                         file <name> seq <number> type h      replaced already; not read
//!   <dir>/<appendfilename>                             before Redis 7: one file, records, or an RDB file and then records
//! ```
//!
//! A record is a request as an array of bulk strings. `#TS:<seconds>` and other lines that begin with `#` may stand between two of them. A
//! transaction is framed by MULTI and EXEC.

use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::{Path, PathBuf};

use crate::resp::{ArgRange, Args, Limits, Parser, Step};
use crate::write_log::RECORD_LIMITS;

/// How much of a file is read at once.
const WINDOW: usize = 1 << 20;
/// Lengths are shorter than this; a file may end inside one.
const LIMITS: Limits = Limits { inline_max: 64, ..RECORD_LIMITS };
/// A longer record is none that a server has written.
const RECORD_MAX: usize = 2 << 30;
/// Redis's limit of a manifest's line.
const LINE_MAX: usize = 1024;
/// A manifest names a base, increments and what was not removed yet.
const MANIFEST_MAX: u64 = 16 << 20;

/// The files of a log, in the order in which they are read.
#[derive(Debug, PartialEq, Eq)]
pub struct RedisLog {
    pub files: Vec<PathBuf>,
}

impl RedisLog {
    /// Looks for a log in a directory, as Redis 7 does at its start.
    ///
    /// # Errors
    /// With what is wrong with the manifest, or what the system says.
    pub fn find(folder: &Path, dir_name: &str, file_name: &str) -> Result<Option<RedisLog>, String> {
        let (log_folder, single) = (folder.join(dir_name), folder.join(file_name));
        let manifest = log_folder.join(format!("{file_name}.manifest"));
        let failed = |path: &Path, error: io::Error| format!("{}: {error}", path.display());
        let has_single = single.try_exists().map_err(|error| failed(&single, error))?;
        if !manifest.try_exists().map_err(|error| failed(&manifest, error))? {
            if has_single {
                return Ok(Some(RedisLog { files: vec![single] }));
            }
            return match orphan(&log_folder, file_name) {
                Some(path) => Err(format!(
                    "{}: it belongs to a log of Redis whose manifest, {}, is missing",
                    path.display(),
                    manifest.display()
                )),
                None => Ok(None),
            };
        }
        let text = read_manifest(&manifest).map_err(|error| failed(&manifest, error))?;
        let names = parse_manifest(&text)
            .map_err(|(line, what)| format!("{}: line {line}: {what}", manifest.display()))?;
        let mut files: Vec<PathBuf> = names.iter().map(|name| log_folder.join(name)).collect();
        // A server was stopped while it moved the single file of an older version into the folder.
        if names == [file_name] && has_single && !files[0].exists() {
            files = vec![single];
        }
        Ok(Some(RedisLog { files }))
    }
}

/// A file in the folder of a log that only a manifest can make sense of.
fn orphan(folder: &Path, file_name: &str) -> Option<PathBuf> {
    let start = format!("{file_name}.");
    let entries = std::fs::read_dir(folder).ok()?;
    let mut paths = entries.filter_map(|entry| Some(entry.ok()?.path()));
    paths.find(|path| {
        path.file_name().and_then(|name| name.to_str()).is_some_and(|name| name.starts_with(&start))
    })
}

fn read_manifest(path: &Path) -> io::Result<String> {
    let mut text = String::new();
    File::open(path)?.take(MANIFEST_MAX).read_to_string(&mut text)?;
    Ok(text)
}

/// The names of the base and the increments; or the number of a line and what is wrong there.
fn parse_manifest(text: &str) -> Result<Vec<String>, (usize, &'static str)> {
    let (mut base, mut increments, mut last) = (None, Vec::new(), 0);
    for (index, line) in text.lines().enumerate() {
        let wrong = |what| (index + 1, what);
        if line.starts_with('#') {
            continue;
        }
        if line.len() > LINE_MAX {
            return Err(wrong("it is too long"));
        }
        let words = words(line).ok_or_else(|| wrong("its quotes are not balanced"))?;
        if words.len() < 6 || !words.len().is_multiple_of(2) {
            return Err(wrong("it is not made of file, seq and type"));
        }
        let value = |name: &str| {
            words.chunks(2).find(|pair| pair[0].eq_ignore_ascii_case(name)).map(|pair| pair[1].clone())
        };
        let (file, number, kind) = match (value("file"), value("seq"), value("type")) {
            (Some(file), Some(number), Some(kind)) => (file, number, kind),
            _ => return Err(wrong("it is not made of file, seq and type")),
        };
        if matches!(file.as_str(), "" | "." | "..") || file.contains(['/', '\\']) {
            return Err(wrong("the file is in another folder"));
        }
        let number = number.parse::<u64>().ok().filter(|number| *number > 0);
        let number = number.ok_or_else(|| wrong("seq is no number"))?;
        match kind.as_str() {
            "b" if base.is_none() => base = Some(file),
            "b" => return Err(wrong("it is a second base")),
            "i" if number > last => {
                last = number;
                increments.push(file);
            }
            "i" => return Err(wrong("the increments are not in order")),
            "h" => {}
            _ => return Err(wrong("the type is not known")),
        }
    }
    let files: Vec<String> = base.into_iter().chain(increments).collect();
    if files.is_empty() { Err((1, "it names no file")) } else { Ok(files) }
}

/// The words of a line. A name that has special characters is in double quotes, with backslashes.
fn words(line: &str) -> Option<Vec<String>> {
    let (mut words, mut rest) = (Vec::new(), line.trim());
    while !rest.is_empty() {
        let (word, behind) = match rest.strip_prefix('"') {
            Some(quoted) => unquote(quoted)?,
            None => {
                let end = rest.find(char::is_whitespace).unwrap_or(rest.len());
                (rest[..end].to_owned(), &rest[end..])
            }
        };
        words.push(word);
        rest = behind.trim_start();
    }
    Some(words)
}

fn unquote(quoted: &str) -> Option<(String, &str)> {
    let (mut word, mut letters) = (String::new(), quoted.char_indices());
    while let Some((at, letter)) = letters.next() {
        match letter {
            '"' => return Some((word, &quoted[at + 1..])),
            '\\' => word.push(letters.next()?.1),
            other => word.push(other),
        }
    }
    None
}

/// Why a record cannot be read.
#[derive(Debug)]
pub enum RecordError {
    Io(io::Error),
    /// The file ends inside the record.
    Truncated,
    Wrong(String),
}

/// The records of a file, one after the other.
pub struct Records<R> {
    input: R,
    buffer: Vec<u8>,
    /// Where in the file the buffer begins.
    base: u64,
    /// Where in the buffer the next record begins.
    at: usize,
    ranges: Vec<ArgRange>,
    ended: bool,
}

impl<R: Read + Seek> Records<R> {
    /// Reads from this offset on.
    ///
    /// # Errors
    /// What the system says.
    pub fn starting_at(mut input: R, offset: u64) -> io::Result<Records<R>> {
        input.seek(SeekFrom::Start(offset))?;
        Ok(Records { input, buffer: Vec::new(), base: offset, at: 0, ranges: Vec::new(), ended: false })
    }

    /// Where the next record begins, or the one that is wrong.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The next record; `None` at the end of the file.
    ///
    /// # Errors
    /// See [`RecordError`].
    pub fn next_record(&mut self) -> Result<Option<Args<'_>>, RecordError> {
        self.skip_notes()?;
        if self.at == self.buffer.len() {
            return Ok(None);
        }
        self.ranges.clear();
        let mut parser = Parser::starting_at(self.at);
        loop {
            match parser.advance(&self.buffer, &LIMITS, &mut self.ranges) {
                Ok(Step::Request) if !self.ranges.is_empty() => break,
                Ok(Step::Request) => return Err(RecordError::Wrong(String::from("an empty record"))),
                Ok(Step::Inline(_)) => return Err(RecordError::Wrong(String::from("no record begins here"))),
                Ok(Step::Incomplete) => self.read_more(&mut parser)?,
                Err(error) => return Err(RecordError::Wrong(error.to_string())),
            }
        }
        self.at = parser.at;
        Ok(Some(Args::new(&self.buffer, &self.ranges)))
    }

    /// Goes past lines that begin with `#`.
    fn skip_notes(&mut self) -> Result<(), RecordError> {
        loop {
            if self.at == self.buffer.len() && !self.fill()? {
                return Ok(());
            }
            if self.buffer[self.at] != b'#' {
                return Ok(());
            }
            match memchr::memchr(b'\n', &self.buffer[self.at..]) {
                Some(end) => self.at += end + 1,
                None if self.buffer.len() - self.at > WINDOW => {
                    return Err(RecordError::Wrong(String::from("a note without an end")));
                }
                None if self.fill()? => {}
                None => return Err(RecordError::Truncated),
            }
        }
    }

    /// Reads on inside a record. What is before it leaves the buffer, so the parser and what it found move along.
    fn read_more(&mut self, parser: &mut Parser) -> Result<(), RecordError> {
        let before = self.at;
        if self.buffer.len() - self.at > RECORD_MAX {
            return Err(RecordError::Wrong(String::from("a record that is longer than any may be")));
        }
        if !self.fill()? {
            return Err(RecordError::Truncated);
        }
        parser.at -= before - self.at;
        for range in &mut self.ranges {
            range.start -= (before - self.at) as u32;
        }
        Ok(())
    }

    /// Reads more, at least as much again as is there, and drops what was given already; false at the end of the file.
    fn fill(&mut self) -> Result<bool, RecordError> {
        if self.ended {
            return Ok(false);
        }
        self.base += self.at as u64;
        self.buffer.drain(..self.at);
        self.at = 0;
        let wanted = self.buffer.len().max(WINDOW) as u64;
        let read = (&mut self.input).take(wanted).read_to_end(&mut self.buffer).map_err(RecordError::Io)?;
        self.ended = read == 0;
        Ok(read > 0)
    }
}

/// Whether a record is this command.
pub fn is(args: Args<'_>, name: &[u8]) -> bool {
    args.at(0).eq_ignore_ascii_case(name)
}

/// Where the records end that are to be done: whole ones, and no transaction without its EXEC.
pub struct Extent {
    /// The offset behind the last of them.
    pub end: u64,
    /// More lies behind it: the last record is cut off, or the last transaction has no end.
    pub is_truncated: bool,
}

/// Reads the records from an offset on to their end, without doing anything.
///
/// # Errors
/// With where, what is wrong, if that is not just the end of the file.
pub fn extent_of<R: Read + Seek>(input: R, offset: u64) -> Result<Extent, (u64, String)> {
    let text = |error: io::Error| error.to_string();
    let mut records = Records::starting_at(input, offset).map_err(|error| (offset, text(error)))?;
    // Where the transaction begins that is not over yet.
    let mut begun = None;
    loop {
        let place = records.offset();
        match records.next_record() {
            Ok(None) => {
                let end = begun.unwrap_or(records.offset());
                return Ok(Extent { end, is_truncated: begun.is_some() });
            }
            Ok(Some(args)) => match (is(args, b"MULTI"), is(args, b"EXEC"), begun) {
                (true, _, None) => begun = Some(place),
                (_, true, Some(_)) => begun = None,
                (true, _, Some(_)) | (_, true, None) => {
                    return Err((place, String::from("a MULTI in a MULTI, or an EXEC without one")));
                }
                (false, false, _) => {}
            },
            Err(RecordError::Truncated) => {
                return Ok(Extent { end: begun.unwrap_or(records.offset()), is_truncated: true });
            }
            Err(RecordError::Io(error)) => return Err((place, text(error))),
            Err(RecordError::Wrong(what)) => return Err((records.offset(), what)),
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Cursor;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn a_manifest_names_a_base_and_increments_in_order() {
        let text = "file a.1.base.rdb seq 1 type b\n# a comment\nfile a.0.incr.aof seq 1 type h\n\
            file \"a b\\\"c.aof\" seq 2 type i\nFILE a.3.incr.aof SEQ 3 TYPE i\n";
        assert_eq!(parse_manifest(text).expect("good"), ["a.1.base.rdb", "a b\"c.aof", "a.3.incr.aof"]);
        for (text, what) in [
            ("", "names no file"),
            ("file a seq 1\n", "not made of"),
            ("file a seq 1 type x\n", "type is not known"),
            ("file a seq x type b\n", "no number"),
            ("file ../a seq 1 type b\n", "another folder"),
            ("file a seq 1 type b\nfile b seq 2 type b\n", "second base"),
            ("file a seq 2 type i\nfile b seq 1 type i\n", "not in order"),
            ("file \"a seq 1 type b\n", "quotes"),
        ] {
            let (_, found) = parse_manifest(text).expect_err(text);
            assert!(found.contains(what), "{text}: {found}");
        }
    }

    fn record(words: &[&[u8]]) -> Vec<u8> {
        let mut record = format!("*{}\r\n", words.len()).into_bytes();
        for word in words {
            record.extend_from_slice(format!("${}\r\n", word.len()).as_bytes());
            record.extend_from_slice(word);
            record.extend_from_slice(b"\r\n");
        }
        record
    }

    #[test]
    fn records_are_found_whatever_their_size_and_between_notes() {
        let values: Vec<Vec<u8>> =
            [0, 10, WINDOW - 50, 3 * WINDOW, 7, WINDOW].iter().map(|len| vec![b'v'; *len]).collect();
        let mut file = b"in front".to_vec();
        for value in &values {
            file.extend_from_slice(b"#TS:1700000000\r\n");
            file.extend(record(&[b"SET", b"key", value]));
        }
        let mut records = Records::starting_at(Cursor::new(&file), 8).expect("seeks");
        for value in &values {
            let args = records.next_record().expect("whole").expect("is there");
            assert!(args.len() == 3 && args.at(2) == value);
        }
        assert!(records.next_record().expect("the end").is_none());
        assert_eq!(records.offset(), file.len() as u64);
        let extent = extent_of(Cursor::new(&file), 8).expect("good");
        assert!(extent.end == file.len() as u64 && !extent.is_truncated);
    }

    #[test]
    fn a_transaction_counts_whole_or_not_at_all_wherever_the_file_is_cut() {
        let parts = [
            record(&[b"SELECT", b"0"]),
            b"#TS:1\r\n".to_vec(),
            record(&[b"SET", b"a", b"1"]),
            [record(&[b"MULTI"]), record(&[b"INCR", b"a"]), record(&[b"INCR", b"a"]), record(&[b"EXEC"])]
                .concat(),
            record(&[b"SET", b"b", b"1"]),
        ];
        let file = parts.concat();
        let mut ends = vec![0];
        for part in &parts {
            ends.push(ends[ends.len() - 1] + part.len() as u64);
        }
        for cut in 0..=file.len() {
            let extent = extent_of(Cursor::new(&file[..cut]), 0).expect("good");
            let whole = *ends.iter().rfind(|end| **end <= cut as u64).expect("0 is one");
            assert_eq!((extent.end, extent.is_truncated), (whole, whole != cut as u64), "cut at {cut}");
        }
        for wrong in
            [record(&[b"EXEC"]), record(&[b"MULTI"]).repeat(2), b"*0\r\n".to_vec(), b"PING\r\n".to_vec()]
        {
            assert!(extent_of(Cursor::new(&wrong), 0).is_err(), "{}", wrong.escape_ascii());
        }
    }

    #[test]
    fn any_bytes_are_records_or_an_error() {
        println!("seeds 0 to 1999");
        for seed in 0..2000 {
            let mut random = Random::new(seed);
            let mut file = [record(&[b"SET", b"a", b"1"]), b"#TS:1\r\n".to_vec()].concat().repeat(3);
            for _ in 0..1 + random.below(4) {
                let at = random.below(file.len() as u64) as usize;
                file[at] = b"*$#\r\n0123456789-\xff"[random.below(16) as usize];
            }
            if let Ok(extent) = extent_of(Cursor::new(&file), 0) {
                assert!(extent.end <= file.len() as u64, "seed {seed}");
            }
        }
    }
}
