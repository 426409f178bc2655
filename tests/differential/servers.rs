//! A Cloakroom and an oracle side by side, set up alike.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::Command;
use std::sync::Once;

use super::support::process::{Folder, Server, is_redis, program};
use super::syntax::{Syntax, learn, tokens};
use super::wire::{Value, Wire, Words, words};

/// Whom Cloakroom is compared with.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Oracle {
    /// 7.0.15 of Debian, which is followed in every word.
    Redis7,
    /// 8.2.3, for what came after 7.0.
    Redis8,
    /// 9.1.2, likewise.
    Valkey9,
}

pub const ORACLES: [Oracle; 3] = [Oracle::Redis7, Oracle::Redis8, Oracle::Valkey9];

impl Oracle {
    fn program(self) -> String {
        static FETCHED: Once = Once::new();
        let name = match self {
            Oracle::Redis7 => return "redis-server".to_owned(),
            Oracle::Redis8 => "redis8",
            Oracle::Valkey9 => "valkey9",
        };
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        FETCHED.call_once(|| {
            let fetched = Command::new(root.join("tests/oracles")).status().expect("a script that runs");
            assert!(fetched.success(), "tests/oracles fetches the servers");
        });
        root.join("target/oracles").join(name).display().to_string()
    }
}

/// Which form values have: that of the directives' defaults, or the large one from the first element on.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Form {
    Default,
    Large,
}

/// No string longer than this, so that no request makes one of half a gigabyte.
const COMMON: &[&str] =
    &["--save", "", "--appendonly", "no", "--enable-debug-command", "yes", "--proto-max-bulk-len", "1mb"];
const LARGE: &[&str] = &[
    "--hash-max-listpack-entries",
    "0",
    "--hash-max-listpack-value",
    "0",
    "--set-max-intset-entries",
    "0",
    "--zset-max-listpack-entries",
    "0",
    "--zset-max-listpack-value",
    "0",
    "--list-max-listpack-size",
    "1",
    "--stream-node-max-entries",
    "3",
    "--hll-sparse-max-bytes",
    "0",
];

/// Two servers with connections of both versions.
pub struct Pair {
    pub oracle: Oracle,
    ours: [Wire; 2],
    theirs: [Wire; 2],
    /// What the oracle does not know of what we have: for each command's name in capitals, its tokens; none if it does not know the command.
    unknown: BTreeMap<String, Option<BTreeSet<String>>>,
    /// Commands, in capitals, that Redis 7.2 does not have.
    recent: BTreeSet<String>,
    /// What can be drawn.
    pub commands: Vec<Syntax>,
    /// Values of every type, as the oracle dumps them.
    pub payloads: Vec<Vec<u8>>,
    _servers: [(Server, Folder); 2],
}

/// What is drawn: the groups of data commands, without what waits, is our own, or takes a second.
fn is_drawn(syntax: &Syntax) -> bool {
    const GROUPS: &[&str] =
        &["generic", "string", "bitmap", "hyperloglog", "hash", "list", "set", "sorted-set", "geo", "stream"];
    const LEFT_OUT: &[&str] = &["migrate", "wait", "waitaof", "pfselftest", "hexpired"];
    GROUPS.contains(&syntax.group.as_str())
        && !LEFT_OUT.contains(&syntax.name.as_str())
        && !syntax.name.ends_with("|help")
}

impl Pair {
    pub fn start(oracle: Oracle, form: Form) -> Pair {
        let large = if form == Form::Large { LARGE } else { &[] };
        let start = |program: &str, more: &[&str]| {
            let folder = Folder::new("differential");
            let mut server = Server::launch_program(&folder, program, &[COMMON, large, more].concat());
            server.wait_until_loaded(|_| {});
            (server, folder)
        };
        let leaves: &[&str] = if form == Form::Large { &["--collection-leaf-bytes", "64"] } else { &[] };
        let ours = start(&program(), if is_redis() { &[] } else { leaves });
        let theirs = start(&oracle.program(), &[]);
        let connect =
            |port: u16| [2, 3].map(|protocol| Wire::connect(port, protocol).expect("the server accepts"));
        let (mut our_wires, mut their_wires) = (connect(ours.0.port), connect(theirs.0.port));
        let (our_docs, their_docs) = (learn(&mut our_wires[0]), learn(&mut their_wires[0]));
        let mut unknown = BTreeMap::new();
        for (name, syntax) in &our_docs {
            let theirs = their_docs.get(name).map(|theirs| tokens(&theirs.arguments));
            let lacking =
                theirs.map(|theirs| tokens(&syntax.arguments).difference(&theirs).cloned().collect());
            unknown.insert(name.to_ascii_uppercase(), lacking);
        }
        let recent = our_docs.values().filter(|syntax| syntax.since.as_str() >= "7.4");
        let recent = recent.map(|syntax| syntax.name.to_ascii_uppercase()).collect();
        let commands = our_docs.into_values().filter(is_drawn);
        let commands = commands.filter(|syntax| their_docs.contains_key(&syntax.name)).collect();
        let payloads = payloads(&mut their_wires[0]);
        Pair {
            oracle,
            ours: our_wires,
            theirs: their_wires,
            unknown,
            recent,
            commands,
            payloads,
            _servers: [ours, theirs],
        }
    }

    /// Whether the oracle has the request's command and options, by what it says itself.
    pub fn is_known(&self, words: &Words) -> bool {
        let capitals =
            |at: usize| words.get(at).map(|word| String::from_utf8_lossy(word).to_ascii_uppercase());
        let name = capitals(0).unwrap_or_default();
        let with_subcommand = format!("{name}|{}", capitals(1).unwrap_or_default());
        match self.unknown.get(&with_subcommand).or_else(|| self.unknown.get(&name)) {
            Some(Some(tokens)) => !words
                .iter()
                .any(|word| tokens.iter().any(|token| word.eq_ignore_ascii_case(token.as_bytes()))),
            Some(None) => false,
            // A subcommand that nobody knows, as far as we can tell.
            None => true,
        }
    }

    /// Whether a command is younger than Redis 7.2.
    pub fn is_recent(&self, name: &str) -> bool {
        self.recent.contains(name)
    }

    /// The replies of both to the same requests.
    pub fn exchange(&mut self, resp3: bool, requests: &[Words]) -> std::io::Result<(Vec<Value>, Vec<Value>)> {
        let version = usize::from(resp3);
        Ok((self.ours[version].exchange(requests)?, self.theirs[version].exchange(requests)?))
    }
}

fn payloads(wire: &mut Wire) -> Vec<Vec<u8>> {
    const BUILD: &[&str] = &[
        "FLUSHALL",
        "SET 1 text",
        "SET 2 12",
        "RPUSH 3 a b 3",
        "SADD 4 1 2 300",
        "SADD 5 a b 7",
        "HSET 6 f1 a f2 2",
        "ZADD 7 1 a 2.5 b",
        "PFADD 8 a b c",
        "XADD 9 1-1 f v",
        "XADD 9 2-1 f v g w",
        "XGROUP CREATE 9 g1 0",
        "XREADGROUP GROUP g1 c1 COUNT 1 STREAMS 9 >",
        "GEOADD 10 13 38 a",
    ];
    let build: Vec<Words> = BUILD.iter().map(|line| words(line)).collect();
    wire.exchange(&build).expect("the oracle answers");
    let dumps: Vec<Words> = (1..=10).map(|key| words(&format!("DUMP {key}"))).collect();
    let dumps = wire.exchange(&dumps).expect("the oracle answers");
    let mut payloads: Vec<Vec<u8>> =
        dumps.iter().filter_map(|dump| dump.text().map(<[u8]>::to_vec)).collect();
    let mut damaged = payloads[0].clone();
    damaged[1] ^= 1;
    payloads.extend([damaged, Vec::new(), b"x".to_vec()]);
    payloads
}
