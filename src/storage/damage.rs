//! What can be wrong with a file that is read: one error type that says which file, where, what, and whether it is only a torn tail.
//!
//! The difference between a torn tail and anything else decides whether a server may start: a write that a crash cut short was never
//! acknowledged as synced and may be dropped with a warning; any other fault means that something which was safe has changed.

use std::fmt;
use std::io;
use std::path::Path;

use super::keys::KeyId;
use super::manifest::LOG_PREFIX;

/// A file cannot be read as what it should be.
#[derive(Debug)]
pub struct Damage {
    /// The file, as [`super::Disk::describe`] names it.
    pub file: String,
    /// Where in the file, in bytes.
    pub offset: u64,
    /// What is wrong there.
    pub problem: Problem,
}

/// What is wrong.
#[derive(Debug)]
pub enum Problem {
    /// The last write was cut short: the file can be cut at the offset, and nothing that was known to be durable is lost.
    TornTail(&'static str),
    /// Bytes are not what was written.
    Wrong(String),
    /// The bytes are sound, but of a version that this program does not know.
    UnknownVersion { what: &'static str, found: u32 },
    /// The file is encrypted, and not with the key that is configured.
    WrongKey { file: KeyId, configured: Option<KeyId> },
    /// A key is configured, and the file was written without one. It may be an old one, or somebody else's.
    NotEncrypted { configured: KeyId },
    /// The bytes are sound, and this server has no place for what they tell; with another configuration it has.
    Misfit(String),
    /// The disk did not give the bytes; they may be there.
    Unreadable(io::Error),
}

impl Damage {
    /// Names the place of a problem.
    pub fn new(file: &str, offset: u64, problem: Problem) -> Damage {
        Damage { file: file.to_owned(), offset, problem }
    }

    /// Bytes that are not what was written.
    pub fn wrong(file: &str, offset: u64, what: impl Into<String>) -> Damage {
        Damage::new(file, offset, Problem::Wrong(what.into()))
    }

    /// An error of the disk.
    pub fn unreadable(file: &str, offset: u64, error: io::Error) -> Damage {
        Damage::new(file, offset, Problem::Unreadable(error))
    }

    /// The same place, where nothing is wrong but that the server has no room for what is there.
    pub fn misfit(self, what: impl Into<String>) -> Damage {
        Damage { problem: Problem::Misfit(what.into()), ..self }
    }

    /// What the operator can do about it; nothing where another key, program or disk is needed instead.
    pub fn advice(&self) -> String {
        let path = Path::new(&self.file);
        let directory = path.parent().map_or(String::new(), |directory| directory.display().to_string());
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let may_help = match &self.problem {
            Problem::TornTail(_) | Problem::Wrong(_) => true,
            Problem::Unreadable(error) => error.kind() == io::ErrorKind::NotFound,
            Problem::UnknownVersion { .. } | Problem::WrongKey { .. } | Problem::Misfit(_) => false,
            Problem::NotEncrypted { .. } => {
                return String::from(
                    "; if it is yours, let the server read it once with encryption-accept-plaintext yes, or encrypt it with 'cloakroom rekey'",
                );
            }
        };
        if !may_help || directory.is_empty() {
            return String::new();
        }
        let look = format!("; 'cloakroom check {directory}' says what is there");
        if name.starts_with(LOG_PREFIX) {
            format!("{look}, and 'cloakroom check --fix {directory}' cuts the write log at its damage")
        } else {
            format!("{look}; {name} itself cannot be repaired and has to come from a copy")
        }
    }

    /// Whether cutting the file at the offset loses nothing that was durable.
    pub fn is_torn_tail(&self) -> bool {
        matches!(self.problem, Problem::TornTail(_))
    }
}

impl fmt::Display for Damage {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Damage { file, offset, problem } = self;
        match problem {
            Problem::TornTail(what) => write!(formatter, "{file}: torn at offset {offset}: {what}"),
            Problem::Wrong(what) => write!(formatter, "{file}: damaged at offset {offset}: {what}"),
            Problem::UnknownVersion { what, found } => {
                write!(formatter, "{file}: {what} has version {found}, which this program does not know")
            }
            Problem::WrongKey { file: id, configured: Some(configured) } => {
                write!(
                    formatter,
                    "{file}: the file is encrypted with key {id}, the configured key is {configured}"
                )
            }
            Problem::WrongKey { file: id, configured: None } => {
                write!(formatter, "{file}: the file is encrypted with key {id}, and no key is configured")
            }
            Problem::NotEncrypted { configured } => {
                write!(
                    formatter,
                    "{file}: it was written without a key, and the key {configured} is configured"
                )
            }
            Problem::Misfit(what) => write!(formatter, "{file}: {what}; it is not damaged"),
            Problem::Unreadable(error) => {
                write!(formatter, "{file}: cannot be read at offset {offset}: {error}")
            }
        }
    }
}

impl std::error::Error for Damage {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        match &self.problem {
            Problem::Unreadable(error) => Some(error),
            _ => None,
        }
    }
}
