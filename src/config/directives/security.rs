//! Rows: who may connect, and what is off unless it is switched on.

use super::{Directive, Effect, Group, Kind, LONG_COUNT, field};
use crate::config::choices::{HashFunction, Permission};

/// The group.
pub const GROUP: Group = Group { title: "Security", rows: ROWS };

const ROWS: &[Directive] = &[
    Directive::new(
        "protected-mode",
        Kind::Bool,
        "yes",
        "Refuse clients of other machines while the default user has no password.",
        field!(protected_mode),
    ),
    Directive::new(
        "requirepass",
        Kind::Bytes,
        "",
        "Password of the default user; empty lets everybody in.",
        field!(requirepass),
    )
    .secret(),
    Directive::new(
        "enable-protected-configs",
        Kind::Choice(Permission::WORDS),
        "no",
        "Who may change protected directives by CONFIG SET.",
        field!(enable_protected_configs),
    )
    .immutable(),
    Directive::new(
        "enable-debug-command",
        Kind::Choice(Permission::WORDS),
        "no",
        "Who may use DEBUG.",
        field!(enable_debug_command),
    )
    .immutable(),
    Directive::accepted(
        "enable-module-command",
        Kind::Choice(Permission::WORDS),
        "no",
        "Modules cannot be loaded.",
    )
    .immutable(),
    Directive::new(
        "hash-function",
        Kind::Choice(HashFunction::WORDS),
        "ahash",
        "Keyed hash of the key tables; `siphash` where tenants may try to make keys collide.",
        field!(hash_function),
    )
    .fixed(),
    Directive::accepted("hash-seed", Kind::Bytes, "", "The key of the hash is drawn at each start.")
        .fixed()
        .secret(),
    Directive::accepted("acllog-max-len", LONG_COUNT, "128", "There is no ACL LOG yet."),
    Directive::refused(
        "aclfile",
        Kind::Text,
        "",
        "ACL users do not exist yet: remove the line and use 'requirepass', or the server would be open to everybody.",
    )
    .immutable(),
    Directive::accepted(
        "acl-pubsub-default",
        Kind::Choice(&["allchannels", "resetchannels"]),
        "resetchannels",
        "The only user is `default`, who may use every channel.",
    ),
    Directive::accepted(
        "sanitize-dump-payload",
        Kind::Choice(&["no", "yes", "clients"]),
        "no",
        "Serialised values are always checked in full.",
    ),
];
