//! GEOADD: ZADD with places instead of scores.

use super::super::cx::{Cx, Failure, Outcome};
use super::super::keys::UPDATE_KEY;
use super::super::sorted_set::{Flag, Options, Pairs, add};
use super::super::spec::{CommandSpec, Flags};
use super::{ROW, place};

pub const ROWS: &[CommandSpec] = &[CommandSpec {
    name: "geoadd",
    syntax: "GEOADD key [NX | XX] [CH] longitude latitude member [longitude latitude member ...]",
    complexity: "O(log(N)) for each item added, where N is the number of elements in the sorted set.",
    summary: "Adds members with their places to a sorted set, or moves them. Creates the set if it does not exist.",
    flags: Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME),
    keys: UPDATE_KEY,
    run: geoadd,
    ..ROW
}];

fn geoadd(cx: &mut Cx<'_, '_>) -> Outcome {
    const WORDS: &[(&str, Flag)] = &[("NX", Flag::Nx), ("XX", Flag::Xx), ("CH", Flag::Ch)];
    let (options, first) = Options::parse(cx, 2, WORDS);
    let args = cx.args;
    if !(args.len() - first).is_multiple_of(3) || options.only_new && options.only_there {
        return Err(Failure::SYNTAX);
    }
    let pairs = (first..args.len()).step_by(3).map(|at| {
        let place = place(args.at(at), args.at(at + 1))?;
        Ok((place.bits() as f64, args.at(at + 2)))
    });
    let pairs: Pairs<'_> = pairs.collect::<Result<_, Failure>>()?;
    if pairs.is_empty() {
        return Err(Failure::SYNTAX);
    }
    add(cx, options, &pairs)
}
