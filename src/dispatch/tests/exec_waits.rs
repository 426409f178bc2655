//! Requests of an EXEC that wait: nothing is held while they do, replies keep their places, and the client goes on behind them.

use std::sync::mpsc;

use super::*;
use crate::base::waiting::may_wait;
use crate::dispatch::wake;

/// A way to a control thread that needs every shard for whatever it is asked, as the real one does to turn the write log off.
pub struct NeedsAllShards(mpsc::Sender<mpsc::SyncSender<()>>);

impl NeedsAllShards {
    /// Serves `body` with a control thread at work.
    pub fn at_work(change: impl FnOnce(&mut Config), body: impl FnOnce(&Services)) {
        let (requests, received) = mpsc::channel::<mpsc::SyncSender<()>>();
        let services = services_with(Box::new(NeedsAllShards(requests)), 1, change);
        std::thread::scope(|scope| {
            let keyspace = &services.keyspace;
            scope.spawn(move || {
                while let Ok(answer) = received.recv() {
                    keyspace.while_locked(|| {});
                    // An empty answer is the end.
                    if answer.send(()).is_err() {
                        return;
                    }
                }
            });
            // The thread ends also when the body panics: else the test would hang instead of failing.
            struct End<'a>(&'a Services);
            impl Drop for End<'_> {
                fn drop(&mut self) {
                    self.0.control.start_save(SaveKind::Save);
                }
            }
            let _end = End(&services);
            body(&services);
        });
    }
}

impl Control for NeedsAllShards {
    fn apply(&self, _: &Config, _: &Config) -> Result<(), (String, String)> {
        may_wait();
        let (answer, answered) = mpsc::sync_channel(0);
        self.0.send(answer).expect("the control thread works");
        answered.recv().expect("an answer");
        Ok(())
    }

    fn shut_down(&self, _how: Shutdown) {}

    /// Ends the control thread, as nothing in these tests saves.
    fn start_save(&self, _kind: SaveKind) {
        let _ = self.0.send(mpsc::sync_channel(0).0);
    }

    fn migrate(&self, _order: MigrationOrder) -> bool {
        false
    }

    fn reload(&self, _order: ReloadOrder) -> bool {
        true
    }
}

impl Loop<'_> {
    /// Ends what the client waits in; gives what it hears then.
    pub fn reloaded(&mut self, place: usize) -> String {
        assert_eq!(self.clients[place].blocked, Some(Blocked::Reloading { result: None }));
        self.clients[place].blocked = Some(Blocked::Reloading { result: Some(Ok(())) });
        let mut out = Output::default();
        wake(&mut self.state, &mut self.clients[place], &mut out);
        show(&out.into_bytes())
    }
}

fn queue(it: &mut Loop<'_>, lines: &[&str]) {
    it.check(0, "MULTI", "+OK");
    lines.iter().for_each(|line| it.check(0, line, "+QUEUED"));
}

#[test]
fn exec_lets_go_of_its_shards_before_it_waits_for_the_control_thread() {
    NeedsAllShards::at_work(
        |_| {},
        |services| {
            let mut it = Loop::new(services, 0, 1);
            queue(&mut it, &["SET k 1", "CONFIG SET appendonly no", "GET k"]);
            it.check(0, "EXEC", "*3 +OK +OK $1 1");
        },
    );
}

#[test]
fn a_request_that_waits_runs_behind_the_last_that_uses_keys_and_answers_in_its_place() {
    NeedsAllShards::at_work(
        |_| {},
        |services| {
            let mut it = Loop::new(services, 0, 1);
            let set = "CONFIG SET notify-keyspace-events KEA";
            queue(
                &mut it,
                &[set, "SET k 1", "CONFIG GET notify-keyspace-events", "PING", "SELECT 1", "SET k 2"],
            );
            let shown = "*2 $22 notify-keyspace-events $3 AKE";
            it.check(0, "EXEC", &format!("*6 +OK +OK {shown} +PONG +OK +OK"));
            it.check(0, "GET k", "$1 2");
            // What follows the last of these requests sees what they have changed.
            queue(&mut it, &["GET k", "CONFIG SET slowlog-max-len 7", "CONFIG GET slowlog-max-len"]);
            it.check(0, "EXEC", "*3 $1 2 +OK *2 $15 slowlog-max-len $1 7");
        },
    );
}

#[test]
fn an_exec_goes_on_when_what_it_waits_for_has_come() {
    NeedsAllShards::at_work(
        |config| config.enable_debug_command = Permission::Yes,
        |services| {
            let mut it = Loop::new(services, 0, 2);
            let reload = "DEBUG RELOAD";
            queue(&mut it, &["SET k 1", reload, "GET k", "CONFIG SET slowlog-max-len 7", reload, "PING"]);
            it.check(0, "EXEC", "*6 +OK");
            it.check(1, "SET k 2", "+OK");
            assert_eq!(it.reloaded(0), "+OK $1 1 +OK");
            assert!(it.clients[0].transaction.is_none() && it.clients[0].gates.has(Gates::IN_TRANSACTION));
            assert_eq!(it.reloaded(0), "+OK +PONG");
            assert_eq!(it.clients[0].blocked, None);
            it.check(0, "GET k", "$1 2");
        },
    );
}

#[test]
fn a_watched_key_that_changed_stops_what_waits_as_well() {
    NeedsAllShards::at_work(
        |_| {},
        |services| {
            let mut it = Loop::new(services, 0, 2);
            it.check(0, "WATCH k", "+OK");
            it.check(1, "SET k 1", "+OK");
            queue(&mut it, &["CONFIG SET slowlog-max-len 7", "CONFIG SET slowlog-max-len 8"]);
            it.check(0, "EXEC", "*-1");
            it.check(0, "CONFIG GET slowlog-max-len", "*2 $15 slowlog-max-len $3 128");
        },
    );
}
