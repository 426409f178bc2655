//! Directives that are one of a few words, as Rust enums.
//!
//! Owns the words. The order of variants is the order in which Redis lists them in its error texts.

use super::value::{Setting, Value};

/// Declares an enum together with the words that configuration uses for its variants. The first variant is
/// only what a `Config` holds before the table's defaults are applied.
macro_rules! choices {
    ($(#[$doc:meta])* $name:ident { $(#[$first_doc:meta])* $first:ident = $first_word:literal,
                                    $($(#[$variant_doc:meta])* $variant:ident = $word:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
        pub enum $name { #[default] $(#[$first_doc])* $first, $($(#[$variant_doc])* $variant,)* }

        impl $name {
            /// The accepted words, in the order of the variants.
            pub const WORDS: &'static [&'static str] = &[$first_word, $($word,)*];

            /// The word that configuration and INFO use.
            pub const fn as_str(self) -> &'static str {
                match self { $name::$first => $first_word, $($name::$variant => $word,)* }
            }
        }

        impl Setting for $name {
            fn to_value(&self) -> Value {
                Value::Choice(self.as_str())
            }

            fn from_value(value: Value) -> Option<Self> {
                match value {
                    Value::Choice($first_word) => Some($name::$first),
                    $(Value::Choice($word) => Some($name::$variant),)*
                    _ => None,
                }
            }
        }
    };
}

choices! {
    /// How much is logged; each level includes the ones below it in this list.
    LogLevel {
        /// Everything, for development.
        Debug = "debug",
        /// Rarely useful detail.
        Verbose = "verbose",
        /// What an operator wants to see.
        Notice = "notice",
        /// Only what needs attention.
        Warning = "warning",
        /// Nothing at all.
        Nothing = "nothing",
    }
}

choices! {
    /// The shape of a log line.
    LogFormat {
        /// One line for people.
        Text = "text",
        /// One JSON object a line.
        Json = "json",
        /// Valkey's word for its own lines: here the same as `text`.
        Legacy = "legacy",
        /// Valkey's word for `name=value` lines, which those of `text` are.
        Logfmt = "logfmt",
    }
}

choices! {
    /// Which keys go when `maxmemory` is reached.
    EvictionPolicy {
        /// Least recently used key with a TTL.
        VolatileLru = "volatile-lru",
        /// Least frequently used key with a TTL.
        VolatileLfu = "volatile-lfu",
        /// Any key with a TTL.
        VolatileRandom = "volatile-random",
        /// The key that would expire next.
        VolatileTtl = "volatile-ttl",
        /// Least recently used key.
        AllkeysLru = "allkeys-lru",
        /// Least frequently used key.
        AllkeysLfu = "allkeys-lfu",
        /// Any key.
        AllkeysRandom = "allkeys-random",
        /// None: commands that need memory fail.
        NoEviction = "noeviction",
    }
}

impl EvictionPolicy {
    /// True when keys are chosen by how often they are used.
    pub const fn is_lfu(self) -> bool {
        matches!(self, EvictionPolicy::VolatileLfu | EvictionPolicy::AllkeysLfu)
    }

    /// True when only keys with a TTL may be evicted.
    pub const fn is_volatile(self) -> bool {
        matches!(
            self,
            EvictionPolicy::VolatileLru
                | EvictionPolicy::VolatileLfu
                | EvictionPolicy::VolatileRandom
                | EvictionPolicy::VolatileTtl
        )
    }
}

choices! {
    /// Who may use a protected feature.
    Permission {
        /// Nobody.
        No = "no",
        /// Everybody who may run the command.
        Yes = "yes",
        /// Clients of the loopback interface and of the Unix socket.
        Local = "local",
    }
}

impl Permission {
    /// Whether a client may use the feature; `local` tells if it comes over loopback or the Unix socket.
    pub const fn allows(self, local: bool) -> bool {
        match self {
            Permission::No => false,
            Permission::Yes => true,
            Permission::Local => local,
        }
    }
}

choices! {
    /// Which service manager hears when the server is ready.
    Supervision {
        /// upstart.
        Upstart = "upstart",
        /// systemd.
        Systemd = "systemd",
        /// Whichever the environment names.
        Auto = "auto",
        /// None.
        No = "no",
    }
}

choices! {
    /// When the write log is flushed to disk.
    AppendFsync {
        /// Once a second.
        Everysec = "everysec",
        /// Before a write is acknowledged.
        Always = "always",
        /// When the operating system likes to.
        No = "no",
    }
}

choices! {
    /// The keyed hash of the key tables.
    HashFunction {
        /// Fast, keyed.
        Ahash = "ahash",
        /// Slower, for tenants who may try to make keys collide.
        Siphash = "siphash",
    }
}
