//! Redis's own geohash: a place on the earth as 52 bits, 26 of longitude and of latitude in turns, and the boxes of them that cover an area.
//!
//! Replies depend on each step of this arithmetic, down to which of nine boxes is looked at first, so it follows `geohash.c` and `geohash_helper.c` of
//! Redis 7.0 step by step, with the C library's sine and cosine.

/// Bits of each coordinate that a place has.
pub const STEP_MAX: u32 = 26;

/// Degrees that have a geohash: those of EPSG:3857.
pub const LONGITUDES: Bounds = Bounds { min: -180.0, max: 180.0 };
pub const LATITUDES: Bounds = Bounds { min: -85.05112878, max: 85.05112878 };
/// All latitudes, as the geohashes of geohash.org have them.
const ALL_LATITUDES: Bounds = Bounds { min: -90.0, max: 90.0 };

const EARTH_RADIUS_METERS: f64 = 6_372_797.560856;
/// Half of the earth's circumference in the projection.
const MERCATOR_MAX: f64 = 20_037_726.37;

/// From one coordinate to another.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Bounds {
    pub min: f64,
    pub max: f64,
}

impl Bounds {
    pub fn contains(self, degrees: f64) -> bool {
        self.min <= degrees && degrees <= self.max
    }

    /// How far inside a coordinate is, in 2^`step` parts.
    fn part_of(self, degrees: f64, step: u32) -> u32 {
        let offset = (degrees - self.min) / (self.max - self.min);
        (offset * (1u64 << step) as f64) as u64 as u32
    }

    /// A part of it.
    fn part(self, part: u32, step: u32) -> Bounds {
        let (scale, parts) = (self.max - self.min, (1u64 << step) as f64);
        let end = |part: u32| self.min + f64::from(part) / parts * scale;
        Bounds { min: end(part), max: end(part.wrapping_add(1)) }
    }
}

/// A place, in degrees.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Place {
    pub longitude: f64,
    pub latitude: f64,
}

impl Place {
    /// Whether it has a geohash.
    pub fn is_valid(self) -> bool {
        LONGITUDES.contains(self.longitude) && LATITUDES.contains(self.latitude)
    }

    /// Its 52 bits, which are a sorted set's score.
    pub fn bits(self) -> u64 {
        Cell::at(self, STEP_MAX, LATITUDES).bits
    }

    /// The middle of the box that a score stands for. Scores that are no geohash stand for some place, too: C on x86-64 makes 64 bits of them in this way.
    pub fn of_score(score: f64) -> Place {
        let bits = match score {
            _ if score < 0.0 => score as i64 as u64,
            _ if score >= u64::MAX as f64 => 0,
            _ => score as u64,
        };
        let area = Cell { bits, step: STEP_MAX }.area();
        let middle = |own: Bounds, all: Bounds| ((own.min + own.max) / 2.0).clamp(all.min, all.max);
        Place { longitude: middle(area.longitude, LONGITUDES), latitude: middle(area.latitude, LATITUDES) }
    }

    /// The eleven letters of the usual geohash.
    pub fn letters(self) -> [u8; 11] {
        const LETTERS: &[u8; 32] = b"0123456789bcdefghjkmnpqrstuvwxyz";
        let bits = Cell::at(self, STEP_MAX, ALL_LATITUDES).bits;
        std::array::from_fn(|index| match index {
            // There are but 52 bits.
            10 => b'0',
            _ => LETTERS[(bits >> (52 - (index + 1) * 5) & 0x1f) as usize],
        })
    }

    /// Meters to another place on a sphere.
    pub fn meters_to(self, other: Place) -> f64 {
        let (longitude, other_longitude) = (radians(self.longitude), radians(other.longitude));
        let v = ((other_longitude - longitude) / 2.0).sin();
        if v == 0.0 {
            return meters_between(self.latitude, other.latitude);
        }
        let (latitude, other_latitude) = (radians(self.latitude), radians(other.latitude));
        let u = ((other_latitude - latitude) / 2.0).sin();
        let a = u * u + latitude.cos() * other_latitude.cos() * v * v;
        2.0 * EARTH_RADIUS_METERS * a.sqrt().asin()
    }
}

/// Meters along a meridian.
fn meters_between(latitude: f64, other: f64) -> f64 {
    EARTH_RADIUS_METERS * (radians(other) - radians(latitude)).abs()
}

fn radians(degrees: f64) -> f64 {
    degrees * (std::f64::consts::PI / 180.0)
}

fn degrees(radians: f64) -> f64 {
    radians / (std::f64::consts::PI / 180.0)
}

/// What is searched around a place.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    Circle {
        meters: f64,
    },
    /// Widths and heights are whole, not half.
    Rectangle {
        width: f64,
        height: f64,
    },
}

/// A search: a shape around a place. Sizes are given in a unit of so many meters.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Search {
    pub center: Place,
    pub shape: Shape,
    pub unit: f64,
}

impl Search {
    /// How far from the middle a place in the shape is, in meters.
    pub fn meters_inside(&self, place: Place) -> Option<f64> {
        let center = self.center;
        match self.shape {
            Shape::Circle { meters } => {
                let distance = center.meters_to(place);
                (distance <= meters * self.unit).then_some(distance)
            }
            Shape::Rectangle { width, height } => {
                if meters_between(place.latitude, center.latitude) > height * self.unit / 2.0 {
                    return None;
                }
                let beside = Place { longitude: center.longitude, latitude: place.latitude };
                if place.meters_to(beside) > width * self.unit / 2.0 {
                    return None;
                }
                Some(center.meters_to(place))
            }
        }
    }

    /// The box around the shape.
    fn bounds(&self) -> Area {
        let (width, height) = match self.shape {
            Shape::Circle { meters } => (meters, meters),
            Shape::Rectangle { width, height } => (width / 2.0, height / 2.0),
        };
        let (width, height) = (self.unit * width, self.unit * height);
        let Place { longitude, latitude } = self.center;
        let by_latitude = degrees(height / EARTH_RADIUS_METERS);
        // The side that is nearer to a pole spans more degrees.
        let widest = if latitude < 0.0 { latitude - by_latitude } else { latitude + by_latitude };
        let by_longitude = degrees(width / EARTH_RADIUS_METERS / radians(widest).cos());
        Area {
            longitude: Bounds { min: longitude - by_longitude, max: longitude + by_longitude },
            latitude: Bounds { min: latitude - by_latitude, max: latitude + by_latitude },
        }
    }

    fn step(&self) -> u32 {
        let meters = match self.shape {
            Shape::Circle { meters } => meters,
            Shape::Rectangle { width, height } => {
                (width / 2.0 * (width / 2.0) + height / 2.0 * (height / 2.0)).sqrt()
            }
        };
        let mut meters = meters * self.unit;
        if meters == 0.0 {
            return STEP_MAX;
        }
        let mut step = 1i32;
        while meters < MERCATOR_MAX {
            meters *= 2.0;
            step += 1;
        }
        step -= 2;
        let latitude = self.center.latitude.abs();
        step -= i32::from(latitude > 66.0) + i32::from(latitude > 80.0);
        step.clamp(1, STEP_MAX as i32) as u32
    }

    /// The cells that cover the shape, in the order in which Redis looks at them: the middle, north, south, east, west, and the corners. Those of no use are
    /// left out.
    pub fn cells(&self) -> impl Iterator<Item = Cell> {
        let (bounds, mut step) = (self.bounds(), self.step());
        let mut middle = Cell::at(self.center, step, LATITUDES);
        let is_short = {
            let area = |x, y| middle.moved(x, y).area();
            area(0, 1).latitude.max < bounds.latitude.max
                || area(0, -1).latitude.min > bounds.latitude.min
                || area(1, 0).longitude.max < bounds.longitude.max
                || area(-1, 0).longitude.min > bounds.longitude.min
        };
        if step > 1 && is_short {
            step -= 1;
            middle = Cell::at(self.center, step, LATITUDES);
        }
        let area = middle.area();
        let left_out = move |x: i32, y: i32| {
            step >= 2
                && (area.latitude.min < bounds.latitude.min && y < 0
                    || area.latitude.max > bounds.latitude.max && y > 0
                    || area.longitude.min < bounds.longitude.min && x < 0
                    || area.longitude.max > bounds.longitude.max && x > 0)
        };
        const ORDER: [(i32, i32); 9] =
            [(0, 0), (0, 1), (0, -1), (1, 0), (-1, 0), (1, 1), (-1, 1), (1, -1), (-1, -1)];
        let kept = ORDER.into_iter().filter(move |(x, y)| !left_out(*x, *y));
        kept.map(move |(x, y)| middle.moved(x, y))
    }
}

/// From one longitude and latitude to another.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Area {
    longitude: Bounds,
    latitude: Bounds,
}

/// A box: all places whose geohashes begin with `2 * step` bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    bits: u64,
    step: u32,
}

/// Bits of latitudes are the even ones.
const LATITUDE_BITS: u64 = 0x5555_5555_5555_5555;
const LONGITUDE_BITS: u64 = 0xaaaa_aaaa_aaaa_aaaa;

impl Cell {
    fn at(place: Place, step: u32, latitudes: Bounds) -> Cell {
        let (x, y) = (LONGITUDES.part_of(place.longitude, step), latitudes.part_of(place.latitude, step));
        Cell { bits: spread(y) | spread(x) << 1, step }
    }

    fn area(self) -> Area {
        Area {
            longitude: LONGITUDES.part(gathered(self.bits >> 1), self.step),
            latitude: LATITUDES.part(gathered(self.bits), self.step),
        }
    }

    /// So many cells to the east and to the north, -1 to 1 of each; around the earth, if need be.
    fn moved(self, east: i32, north: i32) -> Cell {
        let x = moved_by(self.bits & LONGITUDE_BITS, LATITUDE_BITS, LONGITUDE_BITS, self.step, east);
        let y = moved_by(self.bits & LATITUDE_BITS, LONGITUDE_BITS, LATITUDE_BITS, self.step, north);
        Cell { bits: x | y, ..self }
    }

    /// The scores of its places: from the first up to and without the second.
    pub fn scores(self) -> (u64, u64) {
        let align = |bits: u64| bits << (2 * STEP_MAX - 2 * self.step);
        (align(self.bits), align(self.bits + 1))
    }
}

/// Adds to the number that has every second bit of `own`; `between` has the others.
fn moved_by(own: u64, between: u64, own_bits: u64, step: u32, by: i32) -> u64 {
    let unused = 64 - 2 * step;
    let between = between >> unused;
    let moved = match by {
        0 => return own,
        1.. => own.wrapping_add(between.wrapping_add(1)),
        _ => (own | between).wrapping_sub(between.wrapping_add(1)),
    };
    moved & own_bits >> unused
}

/// Puts a zero behind each bit.
fn spread(number: u32) -> u64 {
    const MASKS: [(u32, u64); 5] = [
        (16, 0x0000_ffff_0000_ffff),
        (8, 0x00ff_00ff_00ff_00ff),
        (4, 0x0f0f_0f0f_0f0f_0f0f),
        (2, 0x3333_3333_3333_3333),
        (1, 0x5555_5555_5555_5555),
    ];
    MASKS.iter().fold(u64::from(number), |bits, (shift, mask)| (bits | bits << shift) & mask)
}

/// The even bits.
fn gathered(bits: u64) -> u32 {
    const MASKS: [(u32, u64); 5] = [
        (1, 0x3333_3333_3333_3333),
        (2, 0x0f0f_0f0f_0f0f_0f0f),
        (4, 0x00ff_00ff_00ff_00ff),
        (8, 0x0000_ffff_0000_ffff),
        (16, 0x0000_0000_ffff_ffff),
    ];
    MASKS.iter().fold(bits & LATITUDE_BITS, |bits, (shift, mask)| (bits | bits >> shift) & mask) as u32
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    #[test]
    fn a_place_comes_back_from_its_bits() {
        let palermo = Place { longitude: 13.361389, latitude: 38.115556 };
        assert_eq!(palermo.bits(), 3_479_099_956_230_698);
        let back = Place::of_score(palermo.bits() as f64);
        assert_eq!((back.longitude, back.latitude), (13.361_389_338_970_184, 38.115_556_395_496_3));
        assert_eq!(&back.letters(), b"sqc8b49rny0");
        let mut random = Random::new(1);
        for _ in 0..10_000 {
            let x = random.below(3_600_000) as f64 / 10_000.0 - 180.0;
            let y = random.below(1_700_000) as f64 / 10_000.0 - 85.0;
            let place = Place { longitude: x, latitude: y };
            let back = Place::of_score(place.bits() as f64);
            assert!((back.longitude - x).abs() < 1e-5 && (back.latitude - y).abs() < 1e-5, "{place:?}");
        }
    }

    #[test]
    fn bits_are_spread_and_gathered() {
        let mut random = Random::new(2);
        for _ in 0..1_000 {
            let number = random.next_u64() as u32;
            assert_eq!(gathered(spread(number)), number);
            assert_eq!(spread(number) & LONGITUDE_BITS, 0);
        }
    }

    /// What is inside a shape is in a cell, but where the shape passes the date line or a pole, as in Redis.
    #[test]
    fn the_cells_of_a_search_cover_its_shape() {
        let mut random = Random::new(3);
        let mut degree = |most: u64| random.below(most * 2_000) as f64 / 1_000.0 - most as f64;
        let mut inside = 0;
        for _ in 0..20_000 {
            let center = Place { longitude: degree(100), latitude: degree(60) };
            let place =
                Place { longitude: center.longitude + degree(3), latitude: center.latitude + degree(3) };
            let shape = match (degree(100) as i64).rem_euclid(2) {
                0 => Shape::Circle { meters: degree(150).abs() },
                _ => Shape::Rectangle { width: degree(300).abs(), height: degree(300).abs() },
            };
            let search = Search { center, shape, unit: 1_000.0 };
            if search.meters_inside(place).is_some() {
                inside += 1;
                let bits = place.bits();
                let is_in = |cell: Cell| cell.scores().0 <= bits && bits < cell.scores().1;
                assert!(search.cells().any(is_in), "{search:?}: {place:?}");
            }
        }
        assert!(inside > 1_000, "{inside}");
    }

    /// Nothing that a sorted set or a request can hold panics.
    #[test]
    fn any_score_is_some_place_and_any_search_has_cells() {
        for score in [0.0, -0.0, -1.0, 0.5, 1e300, -1e300, f64::INFINITY, f64::NEG_INFINITY, 4.5e15] {
            let place = Place::of_score(score);
            assert!(place.is_valid(), "{score}: {place:?}");
        }
        for meters in [0.0, 1e-300, 1.0, 1e9, 1e300, f64::INFINITY] {
            for latitude in [-85.0, -70.0, 0.0, 85.0] {
                let center = Place { longitude: -180.0, latitude };
                for shape in [Shape::Circle { meters }, Shape::Rectangle { width: meters, height: meters }] {
                    let search = Search { center, shape, unit: 1_609.34 };
                    assert!((1..=9).contains(&search.cells().count()), "{search:?}");
                }
            }
        }
    }
}
