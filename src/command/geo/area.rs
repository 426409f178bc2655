//! The members of a sorted set that lie in an area, and in which order they are found.

use crate::base::geohash::{Place, Search};
use crate::keyspace::values::{ScoreRange, Scores};

/// A member that was found.
pub struct Found {
    pub member: Vec<u8>,
    pub score: f64,
    pub place: Place,
    /// From the middle of the area.
    pub meters: f64,
}

/// In which order members are told.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Order {
    /// That of their boxes, and of their scores in each.
    Any,
    NearestFirst,
    FarthestFirst,
}

/// The members in an area: all of them, or as many as are enough.
pub fn members_in(scores: &Scores<'_>, search: &Search, enough: Option<usize>) -> Vec<Found> {
    let (mut found, mut last) = (Vec::new(), None);
    let is_enough = |found: &Vec<Found>| enough.is_some_and(|enough| found.len() >= enough);
    for (number, cell) in search.cells().enumerate() {
        // In a very large area boxes that follow each other can be the same. Redis does not compare with the middle one.
        if number > 0 && last == Some(cell) {
            continue;
        }
        if is_enough(&found) {
            break;
        }
        let (min, max) = cell.scores();
        let range = ScoreRange { min: min as f64, max: max as f64, excludes: (false, true) };
        for scored in scores.iter(scores.ranks_by_score(&range), false) {
            let place = Place::of_score(scored.score);
            let Some(meters) = search.meters_inside(place) else { continue };
            let member = scored.member.bytes(&mut itoa::Buffer::new()).to_vec();
            found.push(Found { member, score: scored.score, place, meters });
            if is_enough(&found) {
                break;
            }
        }
        last = (number > 0).then_some(cell);
    }
    found
}

/// Brings members into an order, and keeps the first so many of them.
pub fn arrange(found: &mut Vec<Found>, order: Order, count: Option<usize>) {
    match order {
        Order::Any => {}
        Order::NearestFirst => found.sort_by(|one, other| one.meters.total_cmp(&other.meters)),
        Order::FarthestFirst => found.sort_by(|one, other| other.meters.total_cmp(&one.meters)),
    }
    if let Some(count) = count {
        found.truncate(count);
    }
}
