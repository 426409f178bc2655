//! RANDOMKEY gives a live key if there is one, each about as often as any other.

use std::sync::atomic::Ordering::Relaxed;

use super::*;

#[test]
fn the_only_live_key_among_expired_ones_is_found() {
    let services = services(1, |_| {});
    services.active_expire.store(false, Relaxed);
    let mut it = Loop::new(&services, 0, 1);
    // Some shards hold several of them, and one holds many.
    for number in 0..500 {
        it.check(0, &format!("SET expired:{number} v PX 10"), "+OK");
        it.check(0, &format!("SET {{tag}}:{number} v PX 10"), "+OK");
    }
    it.check(0, "SET {tag} v", "+OK");
    it.check(0, "SELECT 1", "+OK");
    it.check(0, "SET other v", "+OK");
    it.at_ms(1000);
    for _ in 0..20 {
        it.check(0, "RANDOMKEY", "$5 other");
        it.check(0, "SELECT 0", "+OK");
        it.check(0, "RANDOMKEY", "$5 {tag}");
        it.check(0, "MULTI", "+OK");
        it.check(0, "RANDOMKEY", "+QUEUED");
        it.check(0, "EXEC", "*1 $5 {tag}");
        it.check(0, "SELECT 1", "+OK");
    }
    it.check(0, "DEL other", ":1");
    it.check(0, "RANDOMKEY", "$-1");
    it.check(0, "SET other v", "+OK");
    it.check(0, "RANDOMKEY", "$5 other");
    it.check(0, "DEL other", ":1");
    it.check(0, "SELECT 0", "+OK");
    it.check(0, "DEL {tag}", ":1");
    it.check(0, "RANDOMKEY", "$-1");
    it.check(0, "DBSIZE", ":1000");
}

#[test]
fn each_key_is_as_likely_as_any_other_wherever_they_lie() {
    const EACH: usize = 200;
    const ROUNDS: usize = 8000;
    let services = services(1, |_| {});
    let mut it = Loop::new(&services, 0, 1);
    let names: Vec<String> =
        (0..EACH).flat_map(|number| [format!("{{tag}}:{number}"), format!("other:{number}")]).collect();
    names.iter().for_each(|name| it.check(0, &format!("SET {name} v"), "+OK"));
    let mut drawn = std::collections::HashMap::new();
    for _ in 0..ROUNDS {
        let reply = it.ask(0, "RANDOMKEY").expect("nothing pauses");
        *drawn.entry(reply.split(' ').nth(1).expect("a key").to_owned()).or_insert(0) += 1;
    }
    let tagged: usize = drawn.iter().filter(|(name, _)| name.starts_with('{')).map(|(_, count)| count).sum();
    assert!((ROUNDS * 4 / 10..ROUNDS * 6 / 10).contains(&tagged), "{tagged} of {ROUNDS}");
    assert!(drawn.len() > names.len() * 9 / 10, "{} of {}", drawn.len(), names.len());
    let most = drawn.values().max().expect("some were drawn");
    assert!(*most < 8 * ROUNDS / names.len(), "{drawn:?}");
}
