//! Transcripts: what a client says and what it must hear, as text that people read and several servers are held to.
//!
//! This module owns the format, its parser and the runner. It opens no socket: a [`Target`] carries bytes to a server,
//! so the same file runs in process, over TCP against Cloakroom, and over TCP against redis-server. The invariant that
//! matters: a transcript never depends on how fast a server is. Nothing sleeps; what takes time is polled with `until>`.
//!
//! # The format
//!
//! ```text
//! # A comment. The lines before the first case may hold notes that are then true for every case of the file.
//! == SET with EX stores a deadline          a case: an empty keyspace, new connections
//! (since 7.2)                               notes stand right under the name, see `Note`
//! > SET k "a\x00b" EX 10                    connection A sends a command; arguments are bare, quoted, or "x"*1000
//! +OK                                       then one expectation for each reply that must follow, in order
//! B> GET k                                  another connection, opened where it is first named (A to Z)
//! "a\x00b"
//! until> EXISTS k                           asks again until the reply fits (bounded); in process it is asked once
//! :0
//! B< push["message" "channel" "text"]       the next thing that B hears without having asked
//! raw> "*1\r\n$4\r\nPI"                     bytes as they are, for protocol tests
//! raw< "+PONG\r\n"                          bytes as they must come
//! advance 5000                              moves the clock of the in-process target by milliseconds; nothing elsewhere
//! B silent                                  nothing is waiting to be read
//! B hangs-up                                the client closes
//! closed                                    the server must have closed connection A
//! ```
//!
//! Replies: `+text` `-text` (to the end of the line; inside brackets one word or `+"two words"`), `:1`, `"bulk"`, `nil`
//! (`$-1`), `nil-array` (`*-1`), `null` (RESP3), `true`, `false`, `,3.5`, `(1234` (big number), `="txt:verbatim"`, `!"blob
//! error"`, `[array]`, `{map}`, `set[..]`, `push[..]`. An aggregate may span lines.
//!
//! Patterns: `<any>`, `<int>`, `<int 5..10>`, `<int as name>`, and a `~` before a text: `~"a*b {name}"`, `-~ERR *`, where `*` is
//! anything and `{name}` captures a run without spaces. `${name}` gives it back, in commands and in replies. `lines["role:*"]`
//! is a bulk string that has these lines among others (`=lines[..]`: verbatim). `any-order[..]`, `pairs[..]` (a flat array of pairs
//! in any order) and `any-order{..}` ignore order. `...` at the end of an aggregate leaves the rest open.

mod parse;
mod pattern;
mod reply;
mod run;
mod words;

pub use parse::{Argument, Case, Note, Place, Step, StepKind, SyntaxError, Transcript};
pub use pattern::{Pattern, Variables};
pub use reply::{Kind, MalformedReply, NullForm, Reply, Shape, decode};
pub use run::{Mismatch, Patience, Received, Target, run_case};

/// The most bytes that one line of a transcript may ask to send or expect, so that `"x"*N` in a fuzzed file stays harmless.
pub const LINE_BYTES_MAX: usize = 16 << 20;
