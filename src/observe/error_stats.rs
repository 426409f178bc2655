//! Counts of error replies by their code: the first word, such as ERR, WRONGTYPE or NOAUTH.
//!
//! Scripts choose their error texts, so the number of different codes must have a bound. Redis 7.2 has none (the
//! issue behind redis/redis#13141); here codes of the server's own are always counted, and when `CODES_MAX` codes
//! exist a further unknown one is counted under ERRORSTATS_OVERFLOW, the name that Valkey 8 gave to that case.
//! Nothing that was counted before gets lost.

use std::collections::BTreeMap;

/// When this many codes are kept, only the server's own and the overflow may join them.
const CODES_MAX: usize = 128;
/// A code is looked for in this many bytes of the error line (30 of code and a space, as in Redis).
const CODE_SEARCH_BYTES: usize = 31;
/// What an error without a recognisable code counts as.
const NO_CODE: &[u8] = b"ERR";
/// Where codes beyond the limit are counted.
const OVERFLOW: &[u8] = b"ERRORSTATS_OVERFLOW";
/// Codes that the server itself answers with, sorted.
const SERVER_CODES: [&[u8]; 28] = [
    b"ASK",
    b"BUSY",
    b"BUSYGROUP",
    b"BUSYKEY",
    b"CLUSTERDOWN",
    b"CROSSSLOT",
    b"DENIED",
    b"ERR",
    b"EXECABORT",
    b"IOERR",
    b"LOADING",
    b"MASTERDOWN",
    b"MISCONF",
    b"MOVED",
    b"NOAUTH",
    b"NOGROUP",
    b"NOPERM",
    b"NOPROTO",
    b"NOREPLICAS",
    b"NOSCRIPT",
    b"NOTBUSY",
    b"OOM",
    b"READONLY",
    b"TRYAGAIN",
    b"UNBLOCKED",
    b"UNKILLABLE",
    b"WRONGPASS",
    b"WRONGTYPE",
];

/// The code of an error line that comes without its leading `-`. A line without a space in its first 31 bytes
/// counts as ERR.
pub fn error_code(line: &[u8]) -> &[u8] {
    let start = &line[..line.len().min(CODE_SEARCH_BYTES)];
    match memchr::memchr(b' ', start) {
        Some(end) => &start[..end],
        None => NO_CODE,
    }
}

/// Counts by code, bounded. Shared between loops behind a lock: errors are rare.
#[derive(Debug, Default)]
pub struct ErrorStats {
    counts: BTreeMap<Box<[u8]>, u64>,
}

impl ErrorStats {
    /// Counts an error reply, given as its line without the leading `-`.
    pub fn record(&mut self, line: &[u8]) {
        let code = error_code(line);
        if let Some(count) = self.counts.get_mut(code) {
            *count += 1;
            return;
        }
        let code = if self.has_room_for(code) { code } else { OVERFLOW };
        *self.counts.entry(code.into()).or_insert(0) += 1;
    }

    /// Codes and their counts, sorted by code.
    pub fn iter(&self) -> impl Iterator<Item = (&[u8], u64)> {
        self.counts.iter().map(|(code, count)| (&**code, *count))
    }

    /// Forgets all counts.
    pub fn reset(&mut self) {
        self.counts.clear();
    }

    fn has_room_for(&self, code: &[u8]) -> bool {
        self.counts.len() < CODES_MAX || SERVER_CODES.binary_search(&code).is_ok()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn count(stats: &ErrorStats, code: &[u8]) -> Option<u64> {
        stats.iter().find(|(each, _)| *each == code).map(|(_, count)| count)
    }

    #[test]
    fn the_code_is_the_first_word_of_at_most_thirty_bytes() {
        // Each checked against redis-server 7.0.15 with EVAL and error_reply.
        assert_eq!(error_code(b"WRONGTYPE Operation against"), b"WRONGTYPE");
        assert_eq!(error_code(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ1234 msg"), b"ABCDEFGHIJKLMNOPQRSTUVWXYZ1234");
        assert_eq!(error_code(b"ABCDEFGHIJKLMNOPQRSTUVWXYZ12345 msg"), b"ERR");
        assert_eq!(error_code(b"nospace"), b"ERR");
        assert_eq!(error_code(b" two"), b"");
        assert_eq!(error_code(b""), b"ERR");
    }

    #[test]
    fn codes_come_sorted_with_their_counts() {
        let mut stats = ErrorStats::default();
        stats.record(b"WRONGTYPE a");
        stats.record(b"ERR a");
        stats.record(b"ERR b");
        let all: Vec<_> = stats.iter().collect();
        assert_eq!(all, [(&b"ERR"[..], 2), (&b"WRONGTYPE"[..], 1)]);
        stats.reset();
        assert_eq!(stats.iter().count(), 0);
    }

    #[test]
    fn invented_codes_overflow_while_known_ones_go_on() {
        let mut stats = ErrorStats::default();
        for number in 0..1000 {
            stats.record(format!("CODE{number} text").as_bytes());
        }
        stats.record(b"CODE5 text");
        stats.record(b"NOAUTH Authentication required.");
        assert_eq!(count(&stats, b"CODE5"), Some(2));
        assert_eq!(count(&stats, b"CODE999"), None);
        assert_eq!(count(&stats, OVERFLOW), Some(1000 - CODES_MAX as u64));
        assert_eq!(count(&stats, b"NOAUTH"), Some(1));
        assert_eq!(stats.iter().count(), CODES_MAX + 2);
    }

    #[test]
    fn the_servers_codes_are_sorted_for_the_search() {
        assert!(SERVER_CODES.is_sorted());
    }
}
