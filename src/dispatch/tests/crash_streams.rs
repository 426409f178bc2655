//! Streams and crashes: requests that mean something to streams, drawn at random, between cuts. What the log and the snapshot leave is what there was.

use super::crash::World;
use super::*;
use crate::base::random::Random;

const CONSUMERS: [&str; 3] = ["alice", "bob", "carol"];

fn one_of<'w>(random: &mut Random, words: &[&'w str]) -> &'w str {
    words[random.below(words.len() as u64) as usize]
}

/// An id near those that are there, or one that has a meaning.
fn id(random: &mut Random) -> String {
    match random.below(12) {
        0 => String::from("0"),
        1 => String::from("99999"),
        _ => format!("{}-{}", random.below(80), random.below(3)),
    }
}

fn trim(random: &mut Random) -> String {
    let sign = one_of(random, &["", "=", "~", "~"]);
    let what = match random.below(2) {
        0 => format!("MAXLEN {sign} {}", random.below(30)),
        _ => format!("MINID {sign} {}", id(random)),
    };
    let references = one_of(random, &["", "", "KEEPREF", "DELREF", "ACKED"]);
    format!("{what} {references}")
}

/// A request on one of two streams. `step` makes most ids of new entries high enough.
fn line(random: &mut Random, step: u64) -> String {
    let key = one_of(random, &["key0", "key1"]);
    let group = format!("{key} {}", one_of(random, &["group", "group", "other"]));
    let (of_group, consumer) = (group.clone(), one_of(random, &CONSUMERS));
    let (first, second) = (id(random), id(random));
    let drawn = match random.below(20) {
        0..4 => format!("XADD {key} {}-{} field {step}", step / 3, random.below(9)),
        4 => format!("XADD {key} {} {}-* a 1 b {step}", trim(random), step / 3),
        5 => format!("XADD {key} * late {step}"),
        6 => format!("XDEL {key} {first} {second}"),
        7 => format!("XTRIM {key} {}", trim(random)),
        8 => format!("XSETID {key} {} ENTRIESADDED {step}", step / 2 + 40),
        9 => format!("XGROUP CREATE {of_group} {} MKSTREAM", one_of(random, &["$", "0", "5-1"])),
        10 => format!("XGROUP SETID {of_group} {first} ENTRIESREAD {}", random.below(30)),
        11 => match random.below(3) {
            0 => format!("XGROUP DESTROY {of_group}"),
            1 => format!("XGROUP CREATECONSUMER {of_group} {consumer}"),
            _ => format!("XGROUP DELCONSUMER {of_group} {consumer}"),
        },
        12 | 13 => {
            let group = &group[5..];
            let no_ack = one_of(random, &["", "", "", "NOACK"]);
            let from = one_of(random, &[">", ">", "0", "3-1"]);
            let count = random.below(5);
            format!("XREADGROUP GROUP {group} {consumer} COUNT {count} {no_ack} STREAMS {key} {from}")
        }
        14 => format!("XACK {of_group} {first} {second}"),
        15 => format!(
            "XACKDEL {of_group} {} IDS 2 {first} {second}",
            one_of(random, &["DELREF", "ACKED", "KEEPREF"])
        ),
        16 => {
            format!("XDELEX {key} {} IDS 2 {first} {second}", one_of(random, &["DELREF", "ACKED", "KEEPREF"]))
        }
        17 => {
            let options = one_of(
                random,
                &["", "FORCE", "JUSTID", "FORCE RETRYCOUNT 3 TIME 1000", "LASTID 9-9 IDLE 50"],
            );
            format!("XCLAIM {of_group} {consumer} 0 {first} {second} {options}")
        }
        18 => format!("XAUTOCLAIM {of_group} {consumer} 0 {first} COUNT {}", 1 + random.below(4)),
        _ => String::from(one_of(
            random,
            &["DEL key0", "COPY key0 key1 REPLACE", "RENAME key1 key0", "PEXPIRE key0 100000"],
        )),
    };
    // Words that were left out leave spaces.
    drawn.split_whitespace().collect::<Vec<_>>().join(" ")
}

#[test]
fn streams_are_as_they_were_in_a_snapshot_and_after_a_crash() {
    for seed in 0..6 {
        println!("seed {seed}");
        let services = services(1, |config| {
            config.collection_leaf_bytes = 64;
            config.stream_node_max_entries = 4;
        });
        let mut world = World::new(&services, seed);
        for round in 0..4 {
            world.cut();
            for step in 0..200 {
                let line = line(&mut world.random, round * 200 + step);
                world.ask(&line);
                if world.random.below(20) == 0 {
                    world.visit(4);
                }
                if step % 20 == 0 {
                    world.check(&format!("seed {seed}, {line}"));
                }
            }
            world.finish(&format!("seed {seed}"));
            world.check(&format!("seed {seed}, after the visit"));
        }
    }
}
