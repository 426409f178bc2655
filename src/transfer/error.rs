//! Why a transfer ended.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

use crate::rdb;

/// See the texts.
#[derive(Debug)]
pub enum Error {
    /// Something the user asked for makes no sense.
    Usage(String),
    File {
        path: PathBuf,
        error: io::Error,
    },
    Rdb {
        path: PathBuf,
        error: rdb::Error,
    },
    Network {
        server: String,
        error: io::Error,
    },
    /// A server has answered what is no reply, or none that fits.
    Protocol {
        server: String,
    },
    /// A server has answered with more than any string may have.
    LongReply {
        server: String,
    },
    /// A server has answered with an error.
    Refused {
        server: String,
        command: &'static str,
        text: String,
    },
    /// What arrived is not what was sent.
    Different(String),
}

impl Error {
    pub(super) fn file(path: &Path) -> impl FnOnce(io::Error) -> Error + use<> {
        let path = path.to_owned();
        |error| Error::File { path, error }
    }

    pub(super) fn rdb(path: &Path) -> impl FnOnce(rdb::Error) -> Error + use<> {
        let path = path.to_owned();
        |error| Error::Rdb { path, error }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Error::Usage(text) | Error::Different(text) => formatter.write_str(text),
            Error::File { path, error } => write!(formatter, "{}: {error}", path.display()),
            Error::Rdb { path, error } => write!(formatter, "{}: {error}", path.display()),
            Error::Network { server, error } => write!(formatter, "{server}: {error}"),
            Error::Protocol { server } => {
                write!(formatter, "{server} does not answer as a Redis server does")
            }
            Error::LongReply { server } => {
                write!(formatter, "{server} sends a value or a page of keys of more than 512 MB")
            }
            Error::Refused { server, command, text } => {
                write!(formatter, "{server} refuses {command}: {text}")
            }
        }
    }
}

impl std::error::Error for Error {}
