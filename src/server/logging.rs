//! The log: its level, the shape of its lines, and where they go. Lifecycle events are logged, requests are not.

use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::fd::AsFd;
use std::path::PathBuf;
use std::sync::Arc;

use parking_lot::Mutex;
use tracing::level_filters::LevelFilter;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::{Registry, fmt, reload};

use crate::base::waiting::may_wait;
use crate::config::{Config, LogFormat, LogLevel};

/// The way to the log that was started.
pub struct Logging {
    level: reload::Handle<LevelFilter, Registry>,
    output: Arc<Output>,
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

/// Where lines go. A line is one write, so that lines of several threads do not mix.
struct Output {
    /// Absolute; `None` is standard output.
    path: Option<PathBuf>,
    file: Mutex<File>,
}

impl Write for &Output {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        may_wait();
        self.file.lock().write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        self.file.lock().flush()
    }
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
        let registry = Registry::default().with(filter);
        // A process that has a log already keeps it: that is so only where several servers run in one test.
        let _ = match config.log_format {
            LogFormat::Text => tracing::subscriber::set_global_default(registry.with(lines)),
            LogFormat::Json => {
                let lines = lines.json().flatten_event(true).with_current_span(false).with_span_list(false);
                tracing::subscriber::set_global_default(registry.with(lines))
            }
        };
        Ok(Logging { level, output })
    }

    pub fn set_level(&self, level: LogLevel) {
        // The only failure is a log that is gone, and then nobody reads it.
        let _ = self.level.reload(filter(level));
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
