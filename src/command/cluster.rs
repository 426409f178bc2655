//! CLUSTER and what belongs to it. There is no cluster: every row answers what Redis answers when it runs alone, so that clients
//! that ask for a cluster first go on without one.

use super::cx::{Cx, Failure, Outcome};
use super::spec::{CommandSpec, Flags, Group};

const NO_CLUSTER: Failure = Failure::text("ERR This instance has cluster support disabled");
const VARIES: &[&str] = &["nondeterministic_output"];

/// What the rows have in common.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Cluster,
    since: "3.0.0",
    complexity: "O(1)",
    summary: "",
    flags: Flags::STALE,
    keys: &[],
    tips: &[],
    subcommands: &[],
    run: refuse,
};

const ANYTIME: Flags = Flags::LOADING.and(Flags::STALE).and(Flags::FAST).and(Flags::CONNECTION);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "asking",
        syntax: "ASKING",
        summary: "Would let the next command reach a slot that moves; there is no cluster.",
        flags: Flags::FAST.and(Flags::CONNECTION),
        ..ROW
    },
    CommandSpec {
        name: "cluster",
        syntax: "CLUSTER",
        complexity: "Depends on subcommand.",
        summary: "A container for commands about the cluster. There is none: all of them are refused.",
        flags: Flags::NONE,
        subcommands: SUBCOMMANDS,
        ..ROW
    },
    CommandSpec {
        name: "readonly",
        syntax: "READONLY",
        summary: "Would allow reads from a replica of a cluster; there is none.",
        flags: ANYTIME,
        ..ROW
    },
    CommandSpec {
        name: "readwrite",
        syntax: "READWRITE",
        summary: "Would end what READONLY began; there is no cluster.",
        flags: ANYTIME,
        ..ROW
    },
];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "countkeysinslot",
        syntax: "CLUSTER COUNTKEYSINSLOT slot",
        summary: "Would count the keys of a slot.",
        ..ROW
    },
    CommandSpec {
        name: "getkeysinslot",
        syntax: "CLUSTER GETKEYSINSLOT slot count",
        complexity: "O(N) where N is the number of requested keys",
        summary: "Would return keys of a slot.",
        tips: VARIES,
        ..ROW
    },
    CommandSpec {
        name: "help",
        syntax: "CLUSTER HELP",
        since: "5.0.0",
        summary: "Would describe the subcommands.",
        flags: Flags::LOADING.and(Flags::STALE),
        ..ROW
    },
    CommandSpec {
        name: "info",
        syntax: "CLUSTER INFO",
        summary: "Would describe the cluster.",
        tips: VARIES,
        ..ROW
    },
    CommandSpec {
        name: "keyslot",
        syntax: "CLUSTER KEYSLOT keyname",
        complexity: "O(N) where N is the number of bytes in the key",
        summary: "Would return the slot of a key.",
        ..ROW
    },
    CommandSpec {
        name: "links",
        syntax: "CLUSTER LINKS",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Would list the connections between nodes.",
        tips: VARIES,
        ..ROW
    },
    CommandSpec { name: "myid", syntax: "CLUSTER MYID", summary: "Would return the id of the node.", ..ROW },
    CommandSpec {
        name: "myshardid",
        syntax: "CLUSTER MYSHARDID",
        since: "7.2.0",
        summary: "Would return the id of the node's shard.",
        tips: VARIES,
        ..ROW
    },
    CommandSpec {
        name: "nodes",
        syntax: "CLUSTER NODES",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Would list the nodes and their slots.",
        tips: VARIES,
        ..ROW
    },
    CommandSpec {
        name: "shards",
        syntax: "CLUSTER SHARDS",
        since: "7.0.0",
        complexity: "O(N) where N is the total number of cluster nodes",
        summary: "Would list the shards with their nodes and slots.",
        flags: Flags::LOADING.and(Flags::STALE),
        tips: VARIES,
        ..ROW
    },
    CommandSpec {
        name: "slots",
        syntax: "CLUSTER SLOTS",
        complexity: "O(N) where N is the total number of Cluster nodes",
        summary: "Would list the nodes of each range of slots.",
        flags: Flags::LOADING.and(Flags::STALE),
        tips: VARIES,
        ..ROW
    },
];

fn refuse(_: &mut Cx<'_, '_>) -> Outcome {
    Err(NO_CLUSTER)
}
