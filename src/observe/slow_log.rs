//! The slow log: the latest commands that took longer than a threshold, newest first.
//!
//! An entry holds copies, cut to a fixed size, so that a logged command never keeps a request's buffer alive and an
//! entry stays below 6 KB whatever the client sent. Hiding secrets (passwords) is the caller's part: it passes the
//! arguments as they may be shown.

use std::collections::VecDeque;

/// An entry shows at most this many arguments; if there are more, the last one tells how many are missing.
const ARGUMENTS_MAX: usize = 32;
/// An argument shows at most this many bytes, followed by how many are missing.
const ARGUMENT_BYTES_MAX: usize = 128;

/// One slow command.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct SlowLogEntry {
    /// Unique for the life of the server, ascending; a reset does not start again.
    pub id: u64,
    /// When the command ran, in Unix seconds.
    pub unix_seconds: u64,
    /// How long it ran, in microseconds.
    pub duration_us: u64,
    /// Command name and arguments, cut.
    pub arguments: Box<[Box<[u8]>]>,
    /// Address and port of the client, or path of its socket.
    pub client_address: Box<str>,
    /// Name of the client (CLIENT SETNAME), cut as an argument is; empty if it has none.
    pub client_name: Box<[u8]>,
}

/// The log. Its length is bounded by what each `push` passes as `length_max`.
#[derive(Debug, Default)]
pub struct SlowLog {
    /// Newest first.
    entries: VecDeque<SlowLogEntry>,
    next_id: u64,
}

/// Whether a command belongs into the log when `slowlog-log-slower-than` is `slower_than_us`: a negative value
/// turns the log off, zero logs every command.
#[inline]
pub fn is_slow(duration_us: u64, slower_than_us: i64) -> bool {
    u64::try_from(slower_than_us).is_ok_and(|threshold| duration_us >= threshold)
}

impl SlowLog {
    /// Adds a command and drops the oldest entries beyond `length_max` (`slowlog-max-len`).
    pub fn push<'a>(
        &mut self,
        unix_seconds: u64,
        duration_us: u64,
        arguments: impl ExactSizeIterator<Item = &'a [u8]>,
        client_address: &str,
        client_name: &[u8],
        length_max: usize,
    ) {
        let id = self.next_id;
        self.next_id += 1;
        // Shortened first, so that the copy below is not made for a log of length zero.
        self.entries.truncate(length_max.saturating_sub(1));
        if length_max == 0 {
            return;
        }
        self.entries.push_front(SlowLogEntry {
            id,
            unix_seconds,
            duration_us,
            arguments: shown_arguments(arguments),
            client_address: client_address.into(),
            client_name: shown_argument(client_name),
        });
    }

    /// The newest `count` entries, newest first; all of them if there are fewer.
    pub fn entries(&self, count: usize) -> impl ExactSizeIterator<Item = &SlowLogEntry> {
        self.entries.iter().take(count)
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are no entries.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Drops all entries and their memory.
    pub fn reset(&mut self) {
        self.entries = VecDeque::new();
    }
}

/// Copies of the arguments, cut in number and in length.
fn shown_arguments<'a>(arguments: impl ExactSizeIterator<Item = &'a [u8]>) -> Box<[Box<[u8]>]> {
    let total = arguments.len();
    // The note about missing arguments takes the place of the last shown one.
    let shown = if total > ARGUMENTS_MAX { ARGUMENTS_MAX - 1 } else { total };
    let mut copies: Vec<Box<[u8]>> = arguments.take(shown).map(shown_argument).collect();
    if total > shown {
        copies.push(format!("... ({} more arguments)", total - shown).into_bytes().into());
    }
    copies.into()
}

fn shown_argument(argument: &[u8]) -> Box<[u8]> {
    let Some((shown, hidden)) = argument.split_at_checked(ARGUMENT_BYTES_MAX).filter(|cut| !cut.1.is_empty())
    else {
        return argument.into();
    };
    let note = format!("... ({} more bytes)", hidden.len());
    [shown, note.as_bytes()].concat().into()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(log: &mut SlowLog, arguments: &[&[u8]], length_max: usize) {
        log.push(1_700_000_000, 42, arguments.iter().copied(), "127.0.0.1:5000", b"app", length_max);
    }

    #[test]
    fn entries_come_newest_first_and_the_oldest_leave() {
        let mut log = SlowLog::default();
        for _ in 0..5 {
            push(&mut log, &[b"PING"], 3);
        }
        assert_eq!(log.len(), 3);
        assert_eq!(log.entries(10).map(|entry| entry.id).collect::<Vec<_>>(), [4, 3, 2]);
        assert_eq!(log.entries(2).map(|entry| entry.id).collect::<Vec<_>>(), [4, 3]);
        let entry = log.entries(1).next().expect("the newest");
        assert_eq!((entry.unix_seconds, entry.duration_us), (1_700_000_000, 42));
        assert_eq!((&*entry.client_address, &*entry.client_name), ("127.0.0.1:5000", &b"app"[..]));
    }

    #[test]
    fn ids_go_on_after_a_reset_and_at_length_zero() {
        let mut log = SlowLog::default();
        push(&mut log, &[b"PING"], 3);
        log.reset();
        assert!(log.is_empty());
        push(&mut log, &[b"PING"], 0);
        assert!(log.is_empty());
        push(&mut log, &[b"PING"], 3);
        assert_eq!(log.entries(9).map(|entry| entry.id).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn a_smaller_limit_takes_effect_at_the_next_push() {
        let mut log = SlowLog::default();
        for _ in 0..5 {
            push(&mut log, &[b"PING"], 8);
        }
        push(&mut log, &[b"PING"], 2);
        assert_eq!(log.entries(9).map(|entry| entry.id).collect::<Vec<_>>(), [5, 4]);
        push(&mut log, &[b"PING"], 0);
        assert!(log.is_empty());
    }

    #[test]
    fn the_thirty_second_argument_stays_and_the_rest_is_counted() {
        let mut log = SlowLog::default();
        push(&mut log, &[&b"DEL"[..]; 32], 1);
        let entry = log.entries(1).next().expect("just pushed").clone();
        assert_eq!((entry.arguments.len(), &*entry.arguments[31]), (32, &b"DEL"[..]));
        push(&mut log, &[&b"DEL"[..]; 33], 1);
        let entry = log.entries(1).next().expect("just pushed").clone();
        assert_eq!((entry.arguments.len(), &*entry.arguments[31]), (32, &b"... (2 more arguments)"[..]));
        push(&mut log, &[&b"MSET"[..]; 81], 1);
        let entry = log.entries(1).next().expect("just pushed");
        assert_eq!(&*entry.arguments[31], b"... (50 more arguments)");
    }

    #[test]
    fn long_arguments_are_cut_after_128_bytes() {
        assert_eq!(&*shown_argument(&[b'x'; 128]), &[b'x'; 128]);
        let cut = shown_argument(&[b'y'; 129]);
        assert_eq!(&*cut, [&[b'y'; 128][..], b"... (1 more bytes)"].concat());
        assert_eq!(&*shown_argument(b""), b"");
    }

    #[test]
    fn the_threshold_includes_its_own_value() {
        assert!(is_slow(0, 0));
        assert!(is_slow(100, 100));
        assert!(!is_slow(99, 100));
        assert!(!is_slow(u64::MAX, -1));
    }
}
