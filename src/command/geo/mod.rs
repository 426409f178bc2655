//! Commands on places: sorted sets whose scores are geohashes (`base/geohash.rs`).

mod add;
mod area;
mod places;
mod search;

pub use add::ROWS as ADD_ROWS;
pub use places::ROWS as PLACES_ROWS;
pub use search::ROWS as SEARCH_ROWS;

use super::cx::Failure;
use super::help;
use super::keys::READ_KEY;
use super::sorted_set::NOT_A_FLOAT;
use super::spec::{CommandSpec, Flags, Group};
use crate::base::geohash::Place;
use crate::base::number::parse_f64;
use crate::resp::{Protocol, Reply};

/// A row with what the commands have in common that read places at once.
const ROW: CommandSpec = CommandSpec {
    name: "",
    syntax: "",
    group: Group::Geo,
    since: "3.2.0",
    complexity: "O(log(N))",
    summary: "",
    flags: Flags::READONLY,
    keys: READ_KEY,
    tips: &[],
    subcommands: &[],
    run: help::help,
};

/// Reads a longitude and a latitude.
fn place(longitude: &[u8], latitude: &[u8]) -> Result<Place, Failure> {
    let longitude = parse_f64(longitude).ok_or(NOT_A_FLOAT)?;
    let latitude = parse_f64(latitude).ok_or(NOT_A_FLOAT)?;
    let place = Place { longitude, latitude };
    if place.is_valid() {
        return Ok(place);
    }
    Err(Failure::owned(format!("ERR invalid longitude,latitude pair {longitude:.6},{latitude:.6}")))
}

/// Reads a unit: how many meters it has.
fn unit(word: &[u8]) -> Result<f64, Failure> {
    const UNITS: [(&str, f64); 4] = [("m", 1.0), ("km", 1000.0), ("ft", 0.3048), ("mi", 1609.34)];
    let found = UNITS.iter().find(|(name, _)| word.eq_ignore_ascii_case(name.as_bytes()));
    let unknown = Failure::text("ERR unsupported unit provided. please use M, KM, FT, MI");
    found.map(|(_, meters)| *meters).ok_or(unknown)
}

/// A length that is told with four decimals, halves of the last one rounded to even.
fn reply_length(reply: &mut Reply<'_>, length: f64) {
    let units = (length * 10_000.0).round_ties_even() as i64;
    let (sign, size) = (if units < 0 { "-" } else { "" }, units.unsigned_abs());
    reply.bulk_text(format_args!("{sign}{}.{:04}", size / 10_000, size % 10_000));
}

/// Longitude and latitude, with up to 17 decimals.
fn reply_place(reply: &mut Reply<'_>, place: Place) {
    reply.array(2);
    for degrees in [place.longitude, place.latitude] {
        let text = format!("{degrees:.17}");
        let text = match text.trim_end_matches('0').trim_end_matches('.') {
            "-0" => "0",
            text => text,
        };
        match reply.protocol() {
            Protocol::Resp2 => reply.bulk(text.as_bytes()),
            Protocol::Resp3 => reply.raw(format!(",{text}\r\n").as_bytes()),
        }
    }
}
