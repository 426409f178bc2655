//! GEOPOS, GEOHASH, GEODIST: what is known of members by name.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::sorted_set::read;
use super::super::spec::CommandSpec;
use super::{ROW, reply_length, reply_place, unit};
use crate::base::geohash::Place;
use crate::resp::Reply;

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "geodist",
        syntax: "GEODIST key member1 member2 [M | KM | FT | MI]",
        complexity: "O(log(N))",
        summary: "Returns the distance between two members.",
        run: geodist,
        ..ROW
    },
    CommandSpec {
        name: "geohash",
        syntax: "GEOHASH key [member [member ...]]",
        complexity: "O(log(N)) for each member requested, where N is the number of elements in the sorted set.",
        summary: "Returns the places of members as the letters of their geohashes.",
        run: |cx| each(cx, |reply, place| reply.bulk(&place.letters()), |reply| reply.null()),
        ..ROW
    },
    CommandSpec {
        name: "geopos",
        syntax: "GEOPOS key [member [member ...]]",
        complexity: "O(N) where N is the number of members requested.",
        summary: "Returns the longitudes and latitudes of members.",
        run: |cx| each(cx, reply_place, |reply| reply.null_array()),
        ..ROW
    },
];

/// Tells something of each member that is named.
fn each(
    cx: &mut Cx<'_, '_>,
    tell: impl Fn(&mut Reply<'_>, Place),
    missing: impl Fn(&mut Reply<'_>),
) -> Outcome {
    let (key, args) = (cx.key(1)?, cx.args);
    read(cx, key, |scores, reply| {
        reply.array(args.len() - 2);
        for at in 2..args.len() {
            match scores.and_then(|scores| scores.score(args.at(at))) {
                Some(score) => tell(reply, Place::of_score(score)),
                None => missing(reply),
            }
        }
    })
}

fn geodist(cx: &mut Cx<'_, '_>) -> Outcome {
    let meters = match cx.args.get(4) {
        None => 1.0,
        Some(_) if cx.args.len() > 5 => return Err(Failure::SYNTAX),
        Some(word) => unit(word)?,
    };
    let (key, names) = (cx.key(1)?, [cx.args.at(2), cx.args.at(3)]);
    read(cx, key, |scores, reply| {
        let place = |name| scores.and_then(|scores| scores.score(name)).map(Place::of_score);
        match (place(names[0]), place(names[1])) {
            (Some(one), Some(other)) => reply_length(reply, one.meters_to(other) / meters),
            _ => reply.null(),
        }
    })
}
