//! What requests count as that are refused before they run.

use super::*;

#[test]
fn what_names_no_command_counts_for_none_and_what_is_not_allowed_as_rejected() {
    let services = services(1, |config| config.enable_debug_command = Permission::No);
    let mut it = Loop::new(&services, 0, 1);
    let refused = ["FOO", "CONFIG FOO", "CONFIG FOO bar", "CLIENT", "DEBUG SLEEP 0", "GET"];
    for line in refused {
        assert!(it.ask(0, line).is_some_and(|reply| reply.starts_with('-')), "{line}");
    }
    let shown = it.ask(0, "INFO commandstats").expect("a reply");
    let rejected = |name: &str| {
        format!("cmdstat_{name}:calls=0,usec=0,usec_per_call=0.00,rejected_calls=1,failed_calls=0")
    };
    for name in ["client", "debug", "get"] {
        assert!(shown.contains(&rejected(name)), "{shown}");
    }
    assert_eq!(shown.matches("cmdstat_").count(), 3, "{shown}");
    let stats = it.ask(0, "INFO stats").expect("a reply");
    assert!(stats.contains(&format!("total_error_replies:{}", refused.len())), "{stats}");
}

/// The transaction is spoilt when DEBUG is queued, not when it runs.
#[test]
fn what_is_not_allowed_spoils_a_transaction() {
    let services = services(1, |config| config.enable_debug_command = Permission::No);
    let mut it = Loop::new(&services, 0, 1);
    it.check(0, "MULTI", "+OK");
    assert!(
        it.ask(0, "DEBUG SLEEP 0").is_some_and(|reply| reply.starts_with("-ERR DEBUG command not allowed."))
    );
    it.check(0, "EXEC", "-EXECABORT Transaction discarded because of previous errors.");
}
