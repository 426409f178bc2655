//! Rows: TLS, which does not exist yet.

use super::{COUNT, Directive, Group, Kind, PORT};

/// The group.
pub const GROUP: Group = Group { title: "TLS", rows: ROWS };

const NO_TLS: &str = "There is no TLS yet: put a TLS proxy in front.";

const ROWS: &[Directive] = &[
    Directive::refused(
        "tls-port",
        PORT,
        "0",
        "There is no TLS yet: remove the line and put a TLS proxy in front.",
    ),
    Directive::accepted("tls-cluster", Kind::Bool, "no", NO_TLS),
    Directive::accepted("tls-replication", Kind::Bool, "no", NO_TLS),
    Directive::accepted("tls-auth-clients", Kind::Choice(&["no", "yes", "optional"]), "yes", NO_TLS),
    Directive::accepted("tls-cert-file", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-key-file", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-key-file-pass", Kind::Bytes, "", NO_TLS).secret(),
    Directive::accepted("tls-client-cert-file", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-client-key-file", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-client-key-file-pass", Kind::Bytes, "", NO_TLS).secret(),
    Directive::accepted("tls-dh-params-file", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-ca-cert-file", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-ca-cert-dir", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-protocols", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-ciphers", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-ciphersuites", Kind::Text, "", NO_TLS),
    Directive::accepted("tls-prefer-server-ciphers", Kind::Bool, "no", NO_TLS),
    Directive::accepted("tls-session-caching", Kind::Bool, "yes", NO_TLS),
    Directive::accepted("tls-session-cache-size", COUNT, "20480", NO_TLS),
    Directive::accepted("tls-session-cache-timeout", COUNT, "300", NO_TLS),
];
