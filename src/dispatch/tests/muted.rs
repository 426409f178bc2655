//! CLIENT REPLY OFF and SKIP in front of every request of the table: replies and errors are dropped, whenever they are written.

use super::every_command::lines;
use super::exec_waits::NeedsAllShards;
use super::*;
use crate::dispatch::wake;

/// Between two requests, so that a pause is over.
const STEP_MS: i64 = 10_000;

impl Loop<'_> {
    /// Runs a request to its end, and ends what it waits in. Gives what its client hears.
    fn hear(&mut self, place: usize, line: &str) -> String {
        let mut heard = self.ask(place, line).expect("nothing pauses");
        if self.clients[place].blocked.is_some() {
            let mut out = Output::default();
            self.clients[place].blocked = Some(Blocked::Unblocked);
            wake(&mut self.state, &mut self.clients[place], &mut out);
            heard += &show(&out.into_bytes());
        }
        heard
    }
}

/// What each request answers, and PING behind it, to a client that has sent `before`.
fn heard(before: Option<&str>) -> Vec<(String, String, String)> {
    let lines = lines();
    let mut heard = Vec::new();
    NeedsAllShards::at_work(
        |config| config.enable_debug_command = Permission::Yes,
        |services| {
            let mut it = Loop::new(services, 0, lines.len());
            for (place, line) in lines.into_iter().enumerate() {
                it.at_ms(place as i64 * STEP_MS);
                before.into_iter().for_each(|before| it.check(place, before, ""));
                let reply = it.hear(place, &line);
                it.state.effects.local.clear();
                it.at_ms(place as i64 * STEP_MS + STEP_MS / 2);
                let ping = it.hear(place, "PING");
                heard.push((line, reply, ping));
            }
        },
    );
    heard
}

#[test]
fn nothing_is_answered_while_replies_are_off() {
    for (line, reply, ping) in heard(Some("CLIENT REPLY OFF")) {
        let (wanted, then) = match line.as_str() {
            "client reply ON" => ("+OK", "+PONG"),
            "reset" => ("+RESET", "+PONG"),
            _ => ("", ""),
        };
        assert_eq!((reply.as_str(), ping.as_str()), (wanted, then), "{line}");
    }
}

#[test]
fn exactly_one_request_is_skipped() {
    let loud = heard(None);
    for ((line, reply, ping), (_, _, loud)) in heard(Some("CLIENT REPLY SKIP")).into_iter().zip(loud) {
        assert_eq!(reply, if line == "client reply ON" { "+OK" } else { "" }, "{line}");
        assert_eq!(ping, loud, "PING behind {line}");
    }
}
