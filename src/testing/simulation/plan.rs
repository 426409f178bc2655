//! What happens in a world, as data: drawn from a seed beforehand, so that a part of it can be left out when a failure is made small.

use super::requests::{DATABASES, KEYS, Request, any_write, one_of, session_write};
use super::values::{Type, value_write};
use crate::base::random::Random;
use crate::config::AppendFsync;
use crate::testing::power_cut_disk::{DEVICE_ERROR, Fault, NO_SPACE, Operation};

/// Clients; they are dealt out to the event loops in turn.
pub const CLIENTS: u64 = 4;

const MINUTE_MS: i64 = 60_000;
const DAY_MS: i64 = 24 * 60 * MINUTE_MS;

/// Something that happens.
#[derive(Clone, Debug)]
pub enum Op {
    /// A client sends a request; it connects before if it has no connection.
    Ask { client: usize, request: Request },
    /// The log's thread gets so many turns.
    Log { turns: u32 },
    /// The saving thread gets so many turns. Does nothing while no save runs.
    Save { turns: u32 },
    /// All loops let their keys expire.
    Expire,
    /// The control thread looks whether a save is due.
    Look,
    /// Time passes.
    Pass { ms: i64 },
    /// Somebody sets the wall clock.
    SetClock { ms: i64 },
    /// From here on the disk fails.
    Fail(Fault),
    /// The disk works again.
    Heal,
    /// From here on each flush takes so long.
    Slow { ms: i64 },
    /// A client's connection breaks.
    Disconnect { client: usize },
    /// SIGTERM. What follows happens while the server ends; it is up again, with another configuration, after it has ended.
    Terminate { down: Down },
    /// The process is killed, or the machine loses power.
    Crash { power: Option<u64>, down: Down },
}

/// A time without a server, and how it starts again.
#[derive(Clone, Copy, Debug)]
pub struct Down {
    pub ms: i64,
    /// How the clock was set meanwhile.
    pub clock_ms: i64,
    pub start: Start,
}

/// The configuration at a start.
#[derive(Clone, Copy, Debug)]
pub struct Start {
    pub appendonly: bool,
    pub policy: AppendFsync,
    /// `save 1 3` instead of no save points.
    pub saves: bool,
    /// Blocks of the log and its buffer are small.
    pub tight: bool,
    /// `collection-leaf-bytes 64`: what has some elements is large.
    pub small_leaves: bool,
    /// A first attempt to start is made on a disk that fails so.
    pub fault: Option<Fault>,
}

impl Start {
    fn draw(random: &mut Random) -> Start {
        Start {
            appendonly: random.below(4) > 0,
            policy: one_of(random, &[AppendFsync::Always, AppendFsync::Everysec, AppendFsync::No]),
            saves: random.below(2) == 0,
            tight: random.below(2) == 0,
            small_leaves: random.below(2) == 0,
            fault: (random.below(4) == 0).then(|| start_fault(random)),
        }
    }
}

impl std::fmt::Display for Op {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Op::Ask { client, request } => write!(f, "client {client}: {request}"),
            other => write!(f, "{other:?}"),
        }
    }
}

/// How a world begins and what happens in it.
#[derive(Clone, Debug)]
pub struct Plan {
    pub start: Start,
    pub ops: Vec<Op>,
}

impl Plan {
    pub fn draw(seed: u64) -> Plan {
        let mut random = Random::new(seed);
        let start = Start::draw(&mut random);
        let mut ops = Vec::new();
        let wanted = 60 + random.below(140) as usize;
        while ops.len() < wanted {
            draw_op(&mut ops, &mut random);
        }
        Plan { start, ops }
    }
}

/// Draws what happens next. To add a fault or an actor, give it a number here and an arm in `Life::act`.
fn draw_op(ops: &mut Vec<Op>, random: &mut Random) {
    let client = random.below(CLIENTS) as usize;
    let op = match random.below(100) {
        0..13 => Op::Ask { client, request: session_write(random) },
        13..27 => Op::Ask { client, request: value_write(random) },
        27..42 => Op::Ask { client, request: any_write(random) },
        42..44 => return draw_transaction(ops, client, random),
        44..51 => Op::Ask { client, request: order(random) },
        51..66 => Op::Log { turns: 1 + random.below(8) as u32 },
        66..73 => Op::Save { turns: one_of(random, &[1, 3, 300, 2000]) },
        73..78 => Op::Expire,
        78..82 => Op::Look,
        82..91 => Op::Pass { ms: pause_ms(random) },
        91 => return draw_changes(ops, client, random),
        92 => return draw_clock(ops, client, random),
        93 => Op::Fail(fault(random)),
        94 if random.below(4) == 0 => Op::Slow { ms: one_of(random, &[40, 3_000]) },
        94 => Op::Heal,
        95 if random.below(2) == 0 => return draw_slides(ops, client, random),
        95 => Op::Disconnect { client },
        96 => return draw_end(ops, client, random),
        97..99 => crash(random),
        _ => return draw_outage(ops, client, random),
    };
    ops.push(op);
}

fn draw_transaction(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    let mut ask = |request| ops.push(Op::Ask { client, request });
    ask(Request::of("MULTI"));
    for _ in 0..1 + random.below(4) {
        ask(match random.below(3) {
            0 => session_write(random),
            1 => value_write(random),
            _ => any_write(random),
        });
    }
    ask(Request::of(one_of(random, &["EXEC", "EXEC", "EXEC", "DISCARD"])));
    if random.below(4) == 0 {
        // In the midst of its blocks.
        let turns = 1 + random.below(5) as u32;
        ops.extend([Op::Log { turns: 1 }, Op::Pass { ms: 6 }, Op::Log { turns }]);
        ops.push(crash(random));
    }
}

/// Somebody sets the clock while a client waits, and keys are about to expire.
fn draw_clock(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    let key = one_of(random, &KEYS);
    let waits = Op::Ask { client, request: Request::of("WAIT 1 200") };
    let sets = |ttl_ms| Op::Ask {
        client: (client + 1) % CLIENTS as usize,
        request: Request::of(&format!("SET {key} 1 PX {ttl_ms}")),
    };
    let clock = Op::SetClock { ms: clock_ms(random) };
    if random.below(2) == 0 {
        ops.push(clock);
    } else {
        ops.extend([waits, sets(1_800_000), clock, sets(300), Op::Pass { ms: 500 }, Op::Expire]);
    }
}

/// A session whose deadline slides, around a save, until the server is killed.
fn draw_slides(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    let key = one_of(random, &KEYS);
    let ask = |ops: &mut Vec<Op>, line: String| ops.push(Op::Ask { client, request: Request::of(&line) });
    if random.below(2) == 0 {
        // Changed and slid between the cut of a save and its visit.
        let mut ttl_ms = 1_800_000;
        for line in ["SET {key} 1 PX {ttl}", "PEXPIRE {key} {ttl}", "BGSAVE", "CHANGE", "PEXPIRE {key} {ttl}"]
        {
            ttl_ms += random.below(300);
            let changes = ["APPEND {key} 1", "INCRBY {key} 1", "SETRANGE {key} 0 7", "SET {key} 2 KEEPTTL"];
            let line = if line == "CHANGE" { one_of(random, &changes) } else { line };
            ask(ops, line.replace("{key}", key).replace("{ttl}", &ttl_ms.to_string()));
            // Of a save, no more than the cut and a shard.
            ops.extend([Op::Save { turns: 3 }, Op::Log { turns: 8 }]);
        }
        ops.extend([Op::Save { turns: 2000 }, Op::Pass { ms: 1_100 }, Op::Log { turns: 8 }, crash(random)]);
        return;
    }
    for _ in 0..4 + random.below(6) {
        let ttl_ms = 1_800_000 + random.below(2_000);
        match random.below(10) {
            0..4 => ask(ops, format!("PEXPIRE {key} {ttl_ms}")),
            4 => ask(ops, format!("SET {key} 1 PX {ttl_ms}")),
            5 => ask(ops, format!("{} {key} 1", one_of(random, &["APPEND", "INCRBY"]))),
            6 => ask(ops, format!("SET {key} 2 KEEPTTL")),
            7 => ask(ops, "BGSAVE".to_owned()),
            8 => ops.push(Op::Save { turns: one_of(random, &[3, 2000]) }),
            _ => ops.push(Op::Log { turns: 8 }),
        }
    }
    ops.extend([Op::Pass { ms: 1_100 }, Op::Log { turns: 8 }, crash(random)]);
}

/// A string that a save copies in several bites, of which parts change before and while it does.
fn draw_parts(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    let (key, other) = (one_of(random, &KEYS), one_of(random, &KEYS));
    let length = 40_000 + random.below(120_000);
    let ask = |line: String| Op::Ask { client, request: Request::of(&line) };
    ops.extend([ask(format!("DEL {key}")), ask(format!("SETRANGE {key} {length} 1"))]);
    ops.extend([Op::Save { turns: 2000 }, ask("BGSAVE".to_owned())]);
    ops.push(Op::Save { turns: one_of(random, &[2, 3, 100, 300, 600, 1_000]) });
    for _ in 0..3 + random.below(5) {
        let at = random.below(length + 2_000);
        ops.push(ask(match random.below(12) {
            0..4 => format!("SETRANGE {key} {at} {at}"),
            4..6 => format!("APPEND {key} {at}"),
            6 => format!("SETRANGE {key} {} 1", length + random.below(60_000)),
            7 => format!("SETBIT {key} {} 1", at * 8),
            8 => format!("PEXPIRE {key} {}", 1_800_000 + at),
            9 => format!("{} {key} {other}", one_of(random, &["RENAME", "COPY"])),
            10 => format!("MOVE {key} {}", random.below(2)),
            _ => format!("DEL {key}"),
        }));
        ops.push(Op::Save { turns: one_of(random, &[1, 1, 2, 20, 300]) });
    }
    ops.extend([Op::Log { turns: 8 }, Op::Save { turns: one_of(random, &[3, 2000]) }]);
    if random.below(2) == 0 {
        ops.extend([Op::Pass { ms: 1_100 }, Op::Log { turns: 8 }, crash(random)]);
    }
}

/// A value grows, and while a save visits it it is changed, moved and removed.
fn draw_changes(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    if random.below(6) == 0 {
        return draw_parts(ops, client, random);
    }
    let kind = Type::any(random);
    let key = kind.key(random);
    let ask = |request| Op::Ask { client, request };
    for _ in 0..1 + random.below(3) {
        ops.push(ask(kind.growth(key, random)));
    }
    if kind == Type::Stream {
        ops.push(ask(Request::of(&format!("XGROUP CREATE {key} g1 0"))));
    }
    ops.extend([Op::Save { turns: 2000 }, ask(Request::of("BGSAVE"))]);
    // The cut, and as far as to some shard.
    ops.push(Op::Save { turns: one_of(random, &[2, 3, 100, 300, 600, 1_000]) });
    for _ in 0..2 + random.below(5) {
        let request = match random.below(6) {
            0 => kind.relocation(key, random),
            1 => kind.growth(key, random),
            _ => kind.change(key, random),
        };
        ops.push(ask(request));
        match random.below(3) {
            0 => ops.push(Op::Save { turns: one_of(random, &[1, 20, 100, 300]) }),
            1 => ops.push(Op::Log { turns: 4 }),
            _ => {}
        }
    }
    ops.extend([
        Op::Log { turns: 8 },
        Op::Save { turns: 2000 },
        Op::Pass { ms: 1_100 },
        Op::Log { turns: 8 },
    ]);
    if random.below(2) == 0 {
        ops.push(crash(random));
    }
}

fn crash(random: &mut Random) -> Op {
    Op::Crash { power: (random.below(2) == 0).then(|| random.next_u64()), down: down(random) }
}

/// The disk fails for a while, in which the server tries again and again.
fn draw_outage(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    ops.push(Op::Fail(Fault { lasting: true, ..fault(random) }));
    let (ms, writes) = (one_of(random, &[1_100, 6_000, 11_000]), random.below(2) == 0);
    // Somebody may try by hand, too; a save takes more than a thousand turns.
    let (saves, turns) = (random.below(2) == 0, one_of(random, &[300, 2_000]));
    for _ in 0..3 + random.below(6) {
        if writes {
            ops.push(Op::Ask { client, request: session_write(random) });
        }
        if saves {
            ops.push(Op::Ask { client, request: Request::of("BGSAVE") });
        }
        ops.extend([
            Op::Log { turns: 8 },
            Op::Look,
            Op::Save { turns },
            Op::Log { turns: 8 },
            Op::Pass { ms },
        ]);
    }
    ops.push(Op::Heal);
}

/// The server ends while clients go on.
fn draw_end(ops: &mut Vec<Op>, client: usize, random: &mut Random) {
    ops.push(Op::Terminate { down: down(random) });
    for _ in 0..random.below(12) {
        ops.push(match random.below(8) {
            0..3 => Op::Save { turns: 1 + random.below(3) as u32 },
            3 => Op::Log { turns: 2 },
            4 => Op::Ask { client, request: Request::of("CLIENT UNPAUSE") },
            _ => Op::Ask { client, request: session_write(random) },
        });
    }
}

/// A request to the server itself.
fn order(random: &mut Random) -> Request {
    let database = random.below(DATABASES as u64);
    let line = match random.below(18) {
        0..3 => format!("SELECT {database}"),
        3 => "BGSAVE".to_owned(),
        4 => "BGREWRITEAOF".to_owned(),
        5 => "CONFIG SET appendonly no".to_owned(),
        6 | 7 => "CONFIG SET appendonly yes".to_owned(),
        8 | 9 => format!("CONFIG SET appendfsync {}", one_of(random, &["always", "everysec", "no"])),
        10 => one_of(random, &["CONFIG SET save 1", "CONFIG SET save "]).to_owned(),
        11 => {
            let policy = one_of(
                random,
                &["noeviction", "allkeys-lru", "allkeys-lfu", "volatile-ttl", "volatile-random"],
            );
            let limit = one_of(random, &["0", "0", "1"]);
            format!("CONFIG SET maxmemory {limit} maxmemory-policy {policy}")
        }
        12 => format!("CONFIG SET notify-keyspace-events {}", one_of(random, &["KEA", "Kx", ""])),
        13 => format!("CONFIG SET expire-log-slack {}", one_of(random, &["0", "2", "50"])),
        14 => one_of(random, &["WAITAOF 1 0 100", "WAIT 1 200"]).to_owned(),
        15 => one_of(random, &["CLIENT PAUSE 60 WRITE", "CLIENT PAUSE 60 ALL", "SAVE"]).to_owned(),
        16 => one_of(
            random,
            &["CLIENT UNPAUSE", "CLIENT KILL TYPE normal", "CLIENT KILL TYPE normal SKIPME no"],
        )
        .to_owned(),
        _ if random.below(4) > 0 => "CLIENT UNPAUSE".to_owned(),
        _ => one_of(random, &["SHUTDOWN", "SHUTDOWN SAVE", "SHUTDOWN NOSAVE", "SHUTDOWN NOSAVE FORCE"])
            .to_owned(),
    };
    match line.as_str() {
        "CONFIG SET save 1" => Request(
            ["CONFIG", "SET", "save", "1 3"].map(|word| super::requests::Word::Text(word.into())).to_vec(),
        ),
        line => Request::of(line),
    }
}

fn pause_ms(random: &mut Random) -> i64 {
    let exact = random.below(20) as i64;
    exact + one_of(random, &[1, 5, 16, 50, 300, 300, 1_000, 1_100, 6_000, 31 * MINUTE_MS])
}

fn clock_ms(random: &mut Random) -> i64 {
    one_of(random, &[-60 * MINUTE_MS, -2_000, -30, 30, 2_000, 60 * MINUTE_MS, 900 * DAY_MS])
}

fn down(random: &mut Random) -> Down {
    let ms = one_of(random, &[10, 10, 2_000, 4_000, 40 * MINUTE_MS, 2 * DAY_MS, 40 * DAY_MS]);
    let clock_ms = if random.below(8) == 0 { clock_ms(random) } else { 0 };
    Down { ms, clock_ms, start: Start::draw(random) }
}

fn start_fault(random: &mut Random) -> Fault {
    let reading = [Operation::Open, Operation::Read, Operation::Read];
    let writing =
        [Operation::Create, Operation::Write, Operation::SetSize, Operation::Rename, Operation::Remove];
    let operation = if random.below(2) == 0 { one_of(random, &reading) } else { one_of(random, &writing) };
    Fault {
        operation: Some(operation),
        after: random.below(16),
        lasting: random.below(2) == 0,
        ..fault(random)
    }
}

fn fault(random: &mut Random) -> Fault {
    let full = random.below(2) == 0;
    let operation = match full {
        true => one_of(random, &[Operation::Write, Operation::Create]),
        false => one_of(random, &Operation::CHANGING),
    };
    Fault {
        operation: Some(operation),
        after: random.below(6),
        errno: if full { NO_SPACE } else { DEVICE_ERROR },
        short: random.below(2) == 0,
        lasting: full,
    }
}
