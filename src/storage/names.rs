//! Which names in a data directory are ours: those that this program gives, letter by letter.
//!
//! Only what has such a name is ever removed. A directory may hold other programs' files: Redis's `temp-4711.rdb`, an operator's
//! `snapshot-7.cloakroom.bak`.

use super::disk::temporary_name;
use super::manifest::{LogFacts, SnapshotFacts};

/// No server makes so many files; what has a higher number in its name is not ours.
const NUMBER_MAX: u64 = 1 << 60;

/// A file that has a name of ours, other than `manifest`, `temp-manifest` and `lock`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OurFile {
    Snapshot(u64),
    Log(u64),
    /// A snapshot that was being written.
    Temporary(u64),
}

impl OurFile {
    /// What a name says; `None` if it is not ours.
    pub fn of(name: &str) -> Option<OurFile> {
        let stem = name.strip_prefix("temp-").unwrap_or(name).strip_suffix(".cloakroom");
        let number = stem.and_then(|stem| stem.rsplit_once('-')?.1.parse().ok());
        match number.filter(|number| *number <= NUMBER_MAX) {
            // Only this spelling of the number is ours.
            Some(number) if name == SnapshotFacts::name_of(number) => Some(OurFile::Snapshot(number)),
            Some(number) if name == LogFacts::name_of(number) => Some(OurFile::Log(number)),
            Some(number) if name == temporary_name(&SnapshotFacts::name_of(number)) => {
                Some(OurFile::Temporary(number))
            }
            _ => None,
        }
    }

    /// The number in the name.
    pub fn number(self) -> u64 {
        match self {
            OurFile::Snapshot(number) | OurFile::Log(number) | OurFile::Temporary(number) => number,
        }
    }

    /// Whether the file was finished: what a manifest may name.
    pub fn is_finished(self) -> bool {
        !matches!(self, OurFile::Temporary(_))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_ours_letter_by_letter() {
        for (name, expected) in [
            ("snapshot-7.cloakroom", Some(OurFile::Snapshot(7))),
            ("log-12.cloakroom", Some(OurFile::Log(12))),
            ("temp-snapshot-7.cloakroom", Some(OurFile::Temporary(7))),
            ("temp-manifest", None),
            ("manifest", None),
            ("lock", None),
            ("temp-4711.rdb", None),
            ("temp-rewriteaof-bg-4711.aof", None),
            ("temp-log-1.cloakroom", None),
            ("temp-temp-manifest", None),
            ("temp-", None),
            ("snapshot-07.cloakroom", None),
            ("snapshot-+7.cloakroom", None),
            ("snapshot-.cloakroom", None),
            ("snapshot-7.cloakroom.bak", None),
            ("snapshot-my-7.cloakroom", None),
            ("log-18446744073709551615.cloakroom", None),
            ("log-18446744073709551616.cloakroom", None),
            ("Log-1.cloakroom", None),
            ("", None),
        ] {
            assert_eq!(OurFile::of(name), expected, "{name}");
        }
    }
}
