//! The log: its level, the shape of its lines, and where they go. Lifecycle events are logged, requests are not.

use std::borrow::Cow;
use std::collections::HashMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use parking_lot::Mutex;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::{Event, Subscriber};
use tracing_subscriber::layer::{Context, SubscriberExt};
use tracing_subscriber::{Layer, Registry, fmt, reload};

use crate::base::waiting::may_wait;
use crate::config::{Config, LogFormat, LogLevel};

/// Lines that one place of the code may write a second, once the server serves: what strangers cause must not fill a disk.
const LINES_A_SECOND: u32 = 20;

/// The way to the log that was started.
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    output: Arc<Output>,
    limiter: Arc<Limiter>,
}

/// Why the log did not start.
#[derive(Debug)]
pub struct LogError {
    path: String,
    error: io::Error,
}

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "cannot write the log file '{}': {}", self.path, self.error)
    }
}

impl std::error::Error for LogError {}

/// Counts the lines of each place of the code. It has no clock: whoever owns the log says when a second is over.
#[derive(Default)]
struct Limiter {
    is_on: AtomicBool,
    places: Mutex<HashMap<Identifier, Lines>>,
}

/// What one place has written in the present second.
#[derive(Default)]
struct Lines {
    written: u32,
    left_out: u64,
    /// Of the first line that was left out.
    message: String,
}

impl Limiter {
    /// Whether another line of this place may be written; `message` gives what the line says.
    fn admits(&self, place: Identifier, message: impl FnOnce() -> String) -> bool {
        if !self.is_on.load(Ordering::Relaxed) {
            return true;
        }
        let mut places = self.places.lock();
        let lines = places.entry(place).or_default();
        if lines.written < LINES_A_SECOND {
            lines.written += 1;
            return true;
        }
        if lines.left_out == 0 {
            lines.message = message();
        }
        lines.left_out += 1;
        false
    }

    /// A second is over: gives how many lines were left out of each place, and what the first of them said.
    fn next_second(&self) -> Vec<(u64, String)> {
        let lines = std::mem::take(&mut *self.places.lock());
        let left_out = lines.into_values().filter(|lines| lines.left_out > 0);
        left_out.map(|lines| (lines.left_out, lines.message)).collect()
    }
}

/// The layer that asks the limiter before a line is made.
struct Limit(Arc<Limiter>);

impl<S: Subscriber> Layer<S> for Limit {
    fn event_enabled(&self, event: &Event<'_>, _: Context<'_, S>) -> bool {
        self.0.admits(event.metadata().callsite(), || {
            let mut message = Message::default();
            event.record(&mut message);
            message.0
        })
    }
}

/// Reads an event's message.
#[derive(Default)]
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn std::fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
        }
    }
}

/// Where lines go. A line is one write, so that lines of several threads do not mix.
struct Output {
    /// Absolute; `None` is standard output.
    path: Option<PathBuf>,
    file: Mutex<File>,
}

impl Write for &Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        may_wait();
        let mut file = self.file.lock();
        // Whoever moves the file away (logrotate) need not tell the server: the next line begins a new one, as with Redis.
        if let Some(path) = &self.path
            && !is_at(&file, path)
            && let Ok(fresh) = append_to(path)
        {
            *file = fresh;
        }
        file.write_all(&one_line(bytes))?;
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().flush()
    }
}

/// Whether the open file is the one at `path`.
fn is_at(file: &File, path: &std::path::Path) -> bool {
    match (file.metadata(), std::fs::metadata(path)) {
        (Ok(open), Ok(named)) => (open.dev(), open.ino()) == (named.dev(), named.ino()),
        _ => false,
    }
}

/// A line without the control bytes that a text from a peer, such as a client's name or a key, may have brought into it: each stands there as
/// `\\xHH`, so that nobody can add lines of their own to the log or speak to the operator's terminal.
fn one_line(line: &[u8]) -> Cow<'_, [u8]> {
    let (text, end) = line.strip_suffix(b"\n").map_or((line, &b""[..]), |text| (text, &b"\n"[..]));
    if !text.iter().any(u8::is_ascii_control) {
        return Cow::Borrowed(line);
    }
    let mut clean = Vec::with_capacity(line.len() + 16);
    for byte in text {
        match byte {
            byte if byte.is_ascii_control() => clean.extend_from_slice(format!("\\x{byte:02x}").as_bytes()),
            byte => clean.push(*byte),
        }
    }
    clean.extend_from_slice(end);
    Cow::Owned(clean)
}

impl Logging {
    /// Starts the log of this process; the first call wins.
    ///
    /// # Errors
    /// When the log file cannot be opened.
    pub fn start(config: &Config) -> Result<Logging, LogError> {
        let output = Arc::new(Output::open(&config.logfile).map_err(|error| {
            let path = config.logfile.clone();
            LogError { path, error }
        })?);
        let (filter, level) = reload::Layer::new(filter(config.loglevel));
        let lines = fmt::layer().with_writer(Arc::clone(&output)).with_ansi(false).with_target(false);
        let lines = lines.log_internal_errors(false);
        let limiter = Arc::<Limiter>::default();
        let registry = Registry::default().with(filter).with(Limit(Arc::clone(&limiter)));
        // A process that has a log already keeps it: that is so only where several servers run in one test.
        let _ = match config.log_format {
            LogFormat::Text | LogFormat::Legacy | LogFormat::Logfmt => {
                tracing::subscriber::set_global_default(registry.with(lines))
            }
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
                tracing::subscriber::set_global_default(registry.with(lines))
            }
        };
        Ok(Logging { level, output, limiter })
    }

    pub fn set_level(&self, level: LogLevel) {
        // The only failure is a log that is gone, and then nobody reads it.
        let _ = self.level.reload(filter(level));
    }

    /// From here on no place writes more than a few lines a second, as told by [`Logging::next_second`].
    pub fn limit_lines(&self) {
        self.limiter.is_on.store(true, Ordering::Relaxed);
    }

    /// To be called each second: says how many lines were left out in the one that is over.
    pub fn next_second(&self) {
        for (lines, message) in self.limiter.next_second() {
            tracing::warn!(lines, like = message, "lines were left out of the log");
        }
    }

    /// Opens the log file again, after somebody has moved it away.
    pub fn reopen(&self) {
        let Some(path) = &self.output.path else { return };
        match append_to(path) {
            Ok(file) => *self.output.file.lock() = file,
            Err(error) => tracing::warn!(%error, "the log file could not be opened again"),
        }
    }
}

impl Output {
    fn open(path: &str) -> io::Result<Output> {
        if path.is_empty() {
            let file = File::from(io::stdout().as_fd().try_clone_to_owned()?);
            return Ok(Output { path: None, file: Mutex::new(file) });
        }
        let path = std::path::absolute(path)?;
        let file = Mutex::new(append_to(&path)?);
        Ok(Output { path: Some(path), file })
    }
}

fn append_to(path: &std::path::Path) -> io::Result<File> {
    OpenOptions::new().append(true).create(true).open(path)
}

fn filter(level: LogLevel) -> LevelFilter {
    match level {
        LogLevel::Debug => LevelFilter::TRACE,
        LogLevel::Verbose => LevelFilter::DEBUG,
        LogLevel::Notice => LevelFilter::INFO,
        LogLevel::Warning => LevelFilter::WARN,
        LogLevel::Nothing => LevelFilter::OFF,
    }
}

#[cfg(test)]
mod tests {
    use tracing::callsite::{Callsite, Identifier};
    use tracing::field::FieldSet;
    use tracing::subscriber::Interest;
    use tracing::{Level, Metadata, metadata::Kind};

    use super::*;

    /// A place that logs, for its identity alone.
    struct Place(&'static Metadata<'static>);

    impl Callsite for Place {
        fn set_interest(&self, _: Interest) {}

        fn metadata(&self) -> &Metadata<'_> {
            self.0
        }
    }

    static HERE: Place = Place(&HERE_METADATA);
    static HERE_METADATA: Metadata<'static> = metadata(&HERE);
    static THERE: Place = Place(&THERE_METADATA);
    static THERE_METADATA: Metadata<'static> = metadata(&THERE);

    const fn metadata(place: &'static Place) -> Metadata<'static> {
        let fields = FieldSet::new(&[], Identifier(place));
        Metadata::new("place", "test", Level::WARN, None, None, None, fields, Kind::EVENT)
    }

    #[test]
    fn texts_from_peers_bring_no_control_bytes_into_the_log() {
        let shown = |line: &[u8]| String::from_utf8(one_line(line).into_owned()).expect("text");
        assert_eq!(shown("client=a b \u{e9}\n".as_bytes()), "client=a b \u{e9}\n");
        assert_eq!(
            shown(b"name=a\nERROR forged \x1b[31m\r\x7f\n"),
            "name=a\\x0aERROR forged \\x1b[31m\\x0d\\x7f\n"
        );
        assert_eq!(shown(b"\0"), "\\x00");
    }

    #[test]
    fn lines_of_one_place_are_limited_each_second_and_what_is_missing_is_told() {
        let (here, there) =
            (tracing::Metadata::callsite(&HERE_METADATA), tracing::Metadata::callsite(&THERE_METADATA));
        let limiter = Limiter::default();
        let admits = |place: &Identifier| limiter.admits(place.clone(), || String::from("closed"));
        assert!((0..100).all(|_| admits(&here)), "nothing is left out while the server starts");
        limiter.is_on.store(true, Ordering::Relaxed);
        let admitted = (0..1000).filter(|_| admits(&here)).count();
        assert_eq!(admitted, LINES_A_SECOND as usize);
        assert!(admits(&there), "another place has lines of its own");
        assert_eq!(limiter.next_second(), [(1000 - u64::from(LINES_A_SECOND), String::from("closed"))]);
        assert!(admits(&here) && limiter.next_second().is_empty());
    }

    #[test]
    fn a_log_file_that_is_moved_away_is_begun_anew_by_the_next_line() {
        let folder = std::env::temp_dir().join(format!("cloakroom-log-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let path = folder.join("log");
        let output = Output::open(&path.display().to_string()).expect("a log");
        let read = |name: &str| std::fs::read_to_string(folder.join(name)).expect("a file");
        (&output).write_all(b"one\n").expect("a line");
        std::fs::rename(&path, folder.join("log.1")).expect("moved");
        (&output).write_all(b"two\n").expect("a line");
        std::fs::remove_file(&path).expect("removed");
        (&output).write_all(b"three\n").expect("a line");
        assert_eq!((read("log.1").as_str(), read("log").as_str()), ("one\n", "three\n"));
        std::fs::remove_dir_all(&folder).expect("the folder goes");
    }
}
