//! Rows: thresholds at which Redis changes the encoding of a collection.

use super::{COUNT, Directive, Group, Kind, LONG_COUNT, MEMORY};

/// The group.
pub const GROUP: Group = Group { title: "Encodings of data types", rows: ROWS };

const NO_SUCH_TYPE: &str = "The type does not exist yet.";

const ROWS: &[Directive] = &[
    Directive::accepted("hash-max-listpack-entries", LONG_COUNT, "512", NO_SUCH_TYPE)
        .alias("hash-max-ziplist-entries"),
    Directive::accepted("hash-max-listpack-value", MEMORY, "64", NO_SUCH_TYPE)
        .alias("hash-max-ziplist-value"),
    Directive::accepted(
        "list-max-listpack-size",
        Kind::Integer { min: i32::MIN as i64, max: i32::MAX as i64 },
        "-2",
        NO_SUCH_TYPE,
    )
    .alias("list-max-ziplist-size"),
    Directive::accepted("list-compress-depth", COUNT, "0", NO_SUCH_TYPE),
    Directive::accepted("set-max-intset-entries", LONG_COUNT, "512", NO_SUCH_TYPE),
    Directive::accepted("set-max-listpack-entries", LONG_COUNT, "128", NO_SUCH_TYPE),
    Directive::accepted("set-max-listpack-value", LONG_COUNT, "64", NO_SUCH_TYPE),
    Directive::accepted("zset-max-listpack-entries", LONG_COUNT, "128", NO_SUCH_TYPE)
        .alias("zset-max-ziplist-entries"),
    Directive::accepted("zset-max-listpack-value", MEMORY, "64", NO_SUCH_TYPE)
        .alias("zset-max-ziplist-value"),
    Directive::accepted("hll-sparse-max-bytes", MEMORY, "3000", NO_SUCH_TYPE),
    Directive::accepted("stream-node-max-bytes", MEMORY, "4096", NO_SUCH_TYPE),
    Directive::accepted("stream-node-max-entries", LONG_COUNT, "100", NO_SUCH_TYPE),
];
