//! Rows: thresholds at which Redis changes the encoding of a collection, and that at which Cloakroom does.

use super::{COUNT, Directive, Effect, Group, Kind, LONG_COUNT, MEMORY, field};
use crate::keyspace::LEAF_BYTES;

/// The group.
pub const GROUP: Group = Group { title: "Encodings of data types", rows: ROWS };

const NO_LISTPACK: &str = "OBJECT ENCODING says intset or hashtable of a set, as Redis 7.0 does.";

const ROWS: &[Directive] = &[
    Directive::new(
        "collection-leaf-bytes",
        Kind::Memory { min: *LEAF_BYTES.start() as u64, max: *LEAF_BYTES.end() as u64 },
        "4096",
        "Bytes up to which a collection lies in its key's own block, and of one leaf of a larger one.",
        field!(collection_leaf_bytes),
    )
    .fixed(),
    Directive::new(
        "hash-max-listpack-entries",
        LONG_COUNT,
        "512",
        "Fields of a hash beyond which OBJECT ENCODING says hashtable.",
        field!(hash_max_listpack_entries),
    )
    .alias("hash-max-ziplist-entries"),
    Directive::new(
        "hash-max-listpack-value",
        MEMORY,
        "64",
        "Bytes of a field or value beyond which OBJECT ENCODING says hashtable of a hash.",
        field!(hash_max_listpack_value),
    )
    .alias("hash-max-ziplist-value"),
    Directive::accepted(
        "list-max-listpack-size",
        Kind::Integer { min: i32::MIN as i64, max: i32::MAX as i64 },
        "-2",
        "A list is always named quicklist, as in Redis 7.0.",
    )
    .alias("list-max-ziplist-size"),
    Directive::new(
        "set-max-intset-entries",
        LONG_COUNT,
        "512",
        "Members of a set of integers beyond which OBJECT ENCODING says hashtable.",
        field!(set_max_intset_entries),
    ),
    Directive::accepted("set-max-listpack-entries", LONG_COUNT, "128", NO_LISTPACK),
    Directive::accepted("set-max-listpack-value", LONG_COUNT, "64", NO_LISTPACK),
    Directive::new(
        "zset-max-listpack-entries",
        LONG_COUNT,
        "128",
        "Members of a sorted set beyond which OBJECT ENCODING says skiplist.",
        field!(zset_max_listpack_entries),
    )
    .alias("zset-max-ziplist-entries"),
    Directive::new(
        "zset-max-listpack-value",
        MEMORY,
        "64",
        "Bytes of a member beyond which OBJECT ENCODING says skiplist of a sorted set.",
        field!(zset_max_listpack_value),
    )
    .alias("zset-max-ziplist-value"),
    Directive::accepted("list-compress-depth", COUNT, "0", "Lists are not compressed."),
    Directive::new(
        "hll-sparse-max-bytes",
        MEMORY,
        "3000",
        "Bytes beyond which a HyperLogLog is stored in its dense form.",
        field!(hll_sparse_max_bytes),
    ),
    Directive::new(
        "stream-node-max-bytes",
        MEMORY,
        "4096",
        "Bytes of a node as Redis divides streams, which MAXLEN ~ and MINID ~ take out whole; 0 is without limit.",
        field!(stream_node_max_bytes),
    ),
    Directive::new(
        "stream-node-max-entries",
        LONG_COUNT,
        "100",
        "Entries of such a node; 0 is without limit.",
        field!(stream_node_max_entries),
    ),
];
