//! The wall clock is set while the server runs. Deadlines are moments of the wall clock; all that waits or has an age goes on as if nothing
//! had happened.

use super::*;
use crate::dispatch::wake;

const HOUR_MS: i64 = 3_600_000;
const YEAR_MS: i64 = 8766 * HOUR_MS;

/// Two event loops of one server that look at the clocks in turn, the second a little later.
struct Pair<'s> {
    loops: [Loop<'s>; 2],
    steady_ms: i64,
    wall_ms: i64,
}

impl<'s> Pair<'s> {
    fn new(services: &'s Services) -> Pair<'s> {
        let loops = [0, 1].map(|index| Loop::new(services, index, 1));
        let mut pair = Pair { loops, steady_ms: YEAR_MS, wall_ms: YEAR_MS };
        pair.look();
        pair
    }

    fn look(&mut self) {
        for it in &mut self.loops {
            (self.steady_ms, self.wall_ms) = (self.steady_ms + 1, self.wall_ms + 1);
            it.state.set_now(Now { wall_us: self.wall_ms * 1000, steady_us: self.steady_ms * 1000 });
        }
    }

    fn set_clock(&mut self, step_ms: i64) {
        self.wall_ms += step_ms;
        self.look();
    }

    /// Time passes, with a round of expiry every 16 ms, or some rounds if it is long.
    fn pass(&mut self, ms: i64) {
        let round_ms = 16.max(ms / 400);
        for _ in 0..ms / round_ms {
            let rest_ms = round_ms - self.loops.len() as i64;
            (self.steady_ms, self.wall_ms) = (self.steady_ms + rest_ms, self.wall_ms + rest_ms);
            self.look();
            for it in &mut self.loops {
                while expire_round(&mut it.state) {}
            }
        }
    }

    fn add_sessions(&mut self, name: &str, px_ms: i64) {
        for number in 0..1000 {
            let it = &mut self.loops[number % 2];
            it.check(0, &format!("SET {name}:{number} v PX {px_ms}"), "+OK");
        }
    }

    /// Keys that are in memory, whether their time has passed or not.
    fn resident(&self) -> usize {
        self.loops[0].state.services.keyspace.count(0).0
    }
}

#[test]
fn after_the_clock_is_set_back_keys_expire_on_time() {
    let services = services(2, |_| {});
    let mut pair = Pair::new(&services);
    pair.add_sessions("before", 500);
    pair.pass(160);
    pair.set_clock(-HOUR_MS);
    pair.add_sessions("after", 300);
    pair.pass(272);
    assert_eq!(pair.resident(), 2000);
    pair.pass(64);
    assert_eq!(pair.resident(), 1000, "those from before the step live an hour longer by the clock");
    pair.pass(HOUR_MS + 1000);
    assert_eq!(pair.resident(), 0);
}

#[test]
fn after_the_clock_is_set_forward_keys_expire_at_once_or_on_time() {
    for step_ms in [HOUR_MS, 3 * YEAR_MS, 56 * YEAR_MS] {
        let services = services(2, |_| {});
        let mut pair = Pair::new(&services);
        pair.add_sessions("short", 60_000);
        pair.add_sessions("long", 60 * YEAR_MS);
        pair.set_clock(step_ms);
        pair.add_sessions("after", 300);
        pair.pass(64);
        assert_eq!(pair.resident(), 2000, "the short ones are gone after {step_ms} ms");
        pair.pass(304);
        assert_eq!(pair.resident(), 1000, "the new ones, too");
        pair.set_clock(60 * YEAR_MS);
        pair.pass(64);
        assert_eq!(pair.resident(), 0);
    }
}

#[test]
fn a_server_that_runs_for_years_goes_on_expiring() {
    let services = services(2, |_| {});
    let mut pair = Pair::new(&services);
    for _ in 0..6 {
        (pair.steady_ms, pair.wall_ms) = (pair.steady_ms + YEAR_MS / 2, pair.wall_ms + YEAR_MS / 2);
        pair.look();
        pair.add_sessions("s", 300);
        pair.pass(272);
        assert_eq!(pair.resident(), 1000);
        pair.pass(64);
        assert_eq!(pair.resident(), 0);
    }
}

#[test]
fn waits_and_pauses_last_as_long_whatever_the_clock_is_set_to() {
    for step_ms in [-HOUR_MS, HOUR_MS] {
        let services = services(2, |_| {});
        let mut pair = Pair::new(&services);
        assert_eq!(pair.loops[0].ask(0, "WAIT 1 200"), Some(String::new()));
        pair.loops[0].clients[0].show_blocked();
        pair.loops[1].check(0, "CLIENT PAUSE 400 WRITE", "+OK");
        pair.set_clock(step_ms);
        let mut out = Output::default();
        pair.pass(160);
        let it = &mut pair.loops[0];
        assert!(!wake(&mut it.state, &mut it.clients[0], &mut out), "160 ms after a step of {step_ms}");
        pair.pass(64);
        let it = &mut pair.loops[0];
        assert!(wake(&mut it.state, &mut it.clients[0], &mut out));
        assert_eq!(show(&out.into_bytes()), ":0");
        assert_eq!(it.ask(0, "SET k v"), None, "the pause goes on");
        pair.pass(208);
        assert_eq!(pair.loops[0].ask(0, "SET k v").as_deref(), Some("+OK"));
    }
}

#[test]
fn idle_times_and_ages_do_not_follow_a_step_of_the_clock() {
    for step_ms in [-HOUR_MS, HOUR_MS] {
        let services = services(2, |_| {});
        let mut pair = Pair::new(&services);
        pair.loops[0].check(0, "SET k v", "+OK");
        pair.set_clock(step_ms);
        pair.pass(5_008);
        pair.loops[0].check(0, "OBJECT IDLETIME k", ":5");
        let info = pair.loops[0].ask(0, "INFO server").expect("an answer");
        let uptime = format!("uptime_in_seconds:{} ", (pair.steady_ms - START_MS) / 1000);
        assert!(info.contains(&uptime), "{info}");
    }
}

#[test]
fn a_loop_whose_time_is_behind_sees_what_another_one_has_just_used() {
    let services = services(2, |_| {});
    let mut pair = Pair::new(&services);
    pair.loops[0].state.set_now(Now::at_ms(YEAR_MS + 30_000));
    pair.loops[0].check(0, "SET k v", "+OK");
    pair.loops[1].check(0, "OBJECT IDLETIME k", ":0");
    pair.loops[1].state.set_now(Now::at_ms(YEAR_MS + 40_000));
    pair.loops[1].check(0, "OBJECT IDLETIME k", ":10");
}
