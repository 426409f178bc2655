//! GEOSEARCH and GEORADIUS: the members in an area, told or stored.
//!
//! GEORADIUS and its like are older ways to say the same; what they are given stands at fixed places.

use smallvec::SmallVec;

use super::super::cx::{Cx, Failure, Outcome};
use super::super::effects::Event;
use super::super::keys::READ_KEY;
use super::super::keys::{Begin, Find, Found as FoundKeys};
use super::super::sorted_set::{Gathered, STORE_KEYS, store};
use super::super::spec::{Access, CommandSpec, Effect, Flags, Keys};
use super::area::{Found, Order, arrange, members_in};
use super::{ROW, place, reply_length, reply_place, unit};
use crate::base::geohash::{Place, Search, Shape};
use crate::base::number::parse_f64;
use crate::keyspace::values::Scores;
use crate::keyspace::{EntryRef, Kind};
use crate::resp::{Args, Reply};

const SEARCH_COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements in the grid-aligned bounding box area around the shape provided as the filter and M is the number of items inside the shape";
const RADIUS_COMPLEXITY: &str = "O(N+log(M)) where N is the number of elements inside the bounding box of the circular area delimited by center and radius and M is the number of items inside the index.";
const STORES: Flags = Flags::WRITE.and(Flags::DENYOOM).and(Flags::LOGGED_AS_IT_CAME);

pub const ROWS: &[CommandSpec] = &[
    CommandSpec {
        name: "georadius",
        syntax: "GEORADIUS key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
        complexity: RADIUS_COMPLEXITY,
        summary: "Returns the members within a distance from a place, or stores them in a key.",
        flags: STORES,
        keys: &[READ, behind("STORE", FIRST_OF_RADIUS), behind("STOREDIST", FIRST_OF_RADIUS)],
        run: |cx| search(cx, Form::Radius),
        ..ROW
    },
    CommandSpec {
        name: "georadius_ro",
        syntax: "GEORADIUS_RO key longitude latitude radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        since: "3.2.10",
        complexity: RADIUS_COMPLEXITY,
        summary: "Returns the members within a distance from a place.",
        run: |cx| search(cx, Form::RadiusRead),
        ..ROW
    },
    CommandSpec {
        name: "georadiusbymember",
        syntax: "GEORADIUSBYMEMBER key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC] [STORE key | STOREDIST key]",
        complexity: RADIUS_COMPLEXITY,
        summary: "Returns the members within a distance from one of them, or stores them in a key.",
        flags: STORES,
        keys: &[READ, behind("STORE", FIRST_OF_MEMBER), behind("STOREDIST", FIRST_OF_MEMBER)],
        run: |cx| search(cx, Form::RadiusOfMember),
        ..ROW
    },
    CommandSpec {
        name: "georadiusbymember_ro",
        syntax: "GEORADIUSBYMEMBER_RO key member radius <M | KM | FT | MI> [WITHCOORD] [WITHDIST] [WITHHASH] [COUNT count [ANY]] [ASC | DESC]",
        since: "3.2.10",
        complexity: RADIUS_COMPLEXITY,
        summary: "Returns the members within a distance from one of them.",
        run: |cx| search(cx, Form::RadiusOfMemberRead),
        ..ROW
    },
    CommandSpec {
        name: "geosearch",
        syntax: "GEOSEARCH key <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [WITHCOORD] [WITHDIST] [WITHHASH]",
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        summary: "Returns the members in a circle or a box.",
        run: |cx| search(cx, Form::Search),
        ..ROW
    },
    CommandSpec {
        name: "geosearchstore",
        syntax: "GEOSEARCHSTORE destination source <FROMMEMBER member | FROMLONLAT longitude latitude> <BYRADIUS radius <M | KM | FT | MI> | BYBOX width height <M | KM | FT | MI>> [ASC | DESC] [COUNT count [ANY]] [STOREDIST]",
        since: "6.2.0",
        complexity: SEARCH_COMPLEXITY,
        summary: "Stores the members in a circle or a box in a key.",
        flags: STORES,
        keys: STORE_KEYS,
        run: |cx| search(cx, Form::SearchStore),
        ..ROW
    },
];

/// Where the options of GEORADIUS and of GEORADIUSBYMEMBER begin.
const FIRST_OF_RADIUS: usize = 6;
const FIRST_OF_MEMBER: usize = 5;

const READ: Keys = READ_KEY[0];

/// A key behind a word among the options.
const fn behind(word: &'static str, from: usize) -> Keys {
    Keys {
        begin: Begin::Behind { word, from: from as isize },
        find: Find::Range { last: 0, step: 1, limit: 0 },
        exact: Some(stored_key),
        ..Keys::one(from, Access::Overwrite, Effect::UPDATE)
    }
}

/// The keys behind STORE and STOREDIST, the last of each, as far as these words are no keys themselves; the command uses the later one. They come in their order,
/// so the first specification has the first of them, whichever word it stands behind.
fn stored_key(keys: &Keys, args: Args<'_>) -> FoundKeys {
    let (mut at, is_first) = match keys.begin {
        Begin::Behind { word, from } => (from as usize, word == "STORE"),
        Begin::At(at) => (at, false),
        Begin::Unknown => return keys.declared(args),
    };
    let (mut places, mut found) = ([None; 2], (0, 0));
    while let Some(word) = args.get(at) {
        let known = [&b"STORE"[..], b"STOREDIST"].iter().position(|own| word.eq_ignore_ascii_case(own));
        if let (Some(which), Some(_)) = (known, args.get(at + 1)) {
            at += 1;
            places[which] = Some(at);
        }
        at += 1;
    }
    let mut places: SmallVec<[usize; 2]> = places.into_iter().flatten().collect();
    places.sort_unstable();
    if let Some(place) = places.get(usize::from(!is_first)) {
        found = (*place, *place + 1);
    }
    let (first, end) = found;
    FoundKeys { first, end, step: 1, access: keys.access, effect: keys.effect, database: None, also_in: None }
}

/// What a command's arguments look like.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Radius,
    RadiusRead,
    RadiusOfMember,
    RadiusOfMemberRead,
    Search,
    SearchStore,
}

impl Form {
    fn is_search(self) -> bool {
        matches!(self, Form::Search | Form::SearchStore)
    }

    /// The argument that is the source's key.
    fn source(self) -> usize {
        if self == Form::SearchStore { 2 } else { 1 }
    }

    /// Whether STORE and STOREDIST name a key.
    fn may_store(self) -> bool {
        matches!(self, Form::Radius | Form::RadiusOfMember)
    }
}

/// How a center is given.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Given {
    Place,
    Member,
}

/// What a request asks for.
struct Asked {
    center: Option<Place>,
    /// How the center is given. There is one also where the source is not there, of whose members one was named.
    given: Option<Given>,
    shape: Option<(Shape, f64)>,
    order: Order,
    count: Option<usize>,
    any: bool,
    with_length: bool,
    with_hash: bool,
    with_place: bool,
    /// The argument that is the destination's key.
    destination: Option<usize>,
    stores_length: bool,
}

impl Asked {
    fn new(form: Form) -> Asked {
        Asked {
            center: None,
            given: None,
            shape: None,
            order: Order::Any,
            count: None,
            any: false,
            with_length: false,
            with_hash: false,
            with_place: false,
            destination: (form == Form::SearchStore).then_some(1),
            stores_length: false,
        }
    }

    /// Reads all arguments. `scores` is the source, if it is there.
    fn parse(args: Args<'_>, form: Form, scores: Option<Scores<'_>>) -> Result<Asked, Failure> {
        let mut asked = Asked::new(form);
        let mut at = match form {
            Form::Radius | Form::RadiusRead => {
                asked.set_center(place(args.at(2), args.at(3))?);
                asked.shape = Some(circle(args.at(4), args.at(5))?);
                FIRST_OF_RADIUS
            }
            Form::RadiusOfMember | Form::RadiusOfMemberRead => {
                // Without a source nothing of this is looked at.
                if let Some(scores) = scores {
                    asked.set_center(place_of(&scores, args.at(2))?);
                    asked.shape = Some(circle(args.at(3), args.at(4))?);
                }
                FIRST_OF_MEMBER
            }
            Form::Search | Form::SearchStore => form.source() + 1,
        };
        while args.get(at).is_some() {
            at = asked.option(args, at, form, scores)?;
        }
        asked.check(args, form)?;
        Ok(asked)
    }

    fn set_center(&mut self, place: Place) {
        (self.center, self.given) = (Some(place), Some(Given::Place));
    }

    /// Reads one option; gives the place behind it.
    fn option(
        &mut self,
        args: Args<'_>,
        at: usize,
        form: Form,
        scores: Option<Scores<'_>>,
    ) -> Result<usize, Failure> {
        let is = |name: &[u8]| args.at(at).eq_ignore_ascii_case(name);
        match args.get(at + 1) {
            _ if is(b"WITHDIST") => self.with_length = true,
            _ if is(b"WITHHASH") => self.with_hash = true,
            _ if is(b"WITHCOORD") => self.with_place = true,
            _ if is(b"ANY") => self.any = true,
            _ if is(b"ASC") => self.order = Order::NearestFirst,
            _ if is(b"DESC") => self.order = Order::FarthestFirst,
            Some(count) if is(b"COUNT") => {
                let count = crate::base::number::parse_i64(count).ok_or(Failure::NOT_AN_INTEGER)?;
                let count = usize::try_from(count).ok().filter(|count| *count > 0);
                self.count = Some(count.ok_or(Failure::text("ERR COUNT must be > 0"))?);
                return Ok(at + 2);
            }
            Some(_) if form.may_store() && (is(b"STORE") || is(b"STOREDIST")) => {
                (self.destination, self.stores_length) = (Some(at + 1), is(b"STOREDIST"));
                return Ok(at + 2);
            }
            _ if form == Form::SearchStore && is(b"STOREDIST") => self.stores_length = true,
            _ if form.is_search() => return self.search_option(args, at, scores),
            _ => return Err(Failure::SYNTAX),
        }
        Ok(at + 1)
    }

    /// Reads one of the options that say where GEOSEARCH searches.
    fn search_option(
        &mut self,
        args: Args<'_>,
        at: usize,
        scores: Option<Scores<'_>>,
    ) -> Result<usize, Failure> {
        let is = |name: &[u8]| args.at(at).eq_ignore_ascii_case(name);
        let left = args.len() - at - 1;
        if is(b"FROMMEMBER") && left >= 1 && self.given != Some(Given::Place) {
            self.center = scores.map(|scores| place_of(&scores, args.at(at + 1))).transpose()?;
            self.given = Some(Given::Member);
            return Ok(at + 2);
        }
        if is(b"FROMLONLAT") && left >= 2 && self.given != Some(Given::Member) {
            self.set_center(place(args.at(at + 1), args.at(at + 2))?);
            return Ok(at + 3);
        }
        let (is_circle, is_box) = match self.shape {
            Some((Shape::Circle { .. }, _)) => (true, false),
            Some((Shape::Rectangle { .. }, _)) => (false, true),
            None => (false, false),
        };
        if is(b"BYRADIUS") && left >= 2 && !is_box {
            self.shape = Some(circle(args.at(at + 1), args.at(at + 2))?);
            return Ok(at + 3);
        }
        if is(b"BYBOX") && left >= 3 && !is_circle {
            self.shape = Some(rectangle(args.at(at + 1), args.at(at + 2), args.at(at + 3))?);
            return Ok(at + 4);
        }
        Err(Failure::SYNTAX)
    }

    fn check(&mut self, args: Args<'_>, form: Form) -> Result<(), Failure> {
        if self.destination.is_some() && (self.with_length || self.with_hash || self.with_place) {
            let what = if form == Form::SearchStore { "GEOSEARCHSTORE" } else { "STORE option in GEORADIUS" };
            return Err(Failure::owned(format!(
                "ERR {what} is not compatible with WITHDIST, WITHHASH and WITHCOORD options"
            )));
        }
        let missing = |what: &str| {
            Failure::echo(&format!("ERR exactly one of {what} can be specified for "), args.at(0), "")
        };
        if form.is_search() && self.given.is_none() {
            return Err(missing("FROMMEMBER or FROMLONLAT"));
        }
        if form.is_search() && self.shape.is_none() {
            return Err(missing("BYRADIUS and BYBOX"));
        }
        if self.any && self.count.is_none() {
            return Err(Failure::text("ERR the ANY argument requires COUNT argument"));
        }
        // The nearest ones are meant, unless any will do.
        if self.count.is_some() && self.order == Order::Any && !self.any {
            self.order = Order::NearestFirst;
        }
        Ok(())
    }

    /// The members that are asked for.
    fn find(&self, scores: &Scores<'_>) -> Vec<Found> {
        let (Some(center), Some((shape, unit))) = (self.center, self.shape) else { return Vec::new() };
        let search = Search { center, shape, unit };
        let mut found = members_in(scores, &search, self.count.filter(|_| self.any));
        arrange(&mut found, self.order, self.count);
        found.iter_mut().for_each(|found| found.meters /= unit);
        found
    }

    fn tell(&self, reply: &mut Reply<'_>, found: &[Found]) {
        let more = usize::from(self.with_length) + usize::from(self.with_hash) + usize::from(self.with_place);
        reply.array(found.len());
        for found in found {
            if more > 0 {
                reply.array(1 + more);
            }
            reply.bulk(&found.member);
            if self.with_length {
                reply_length(reply, found.meters);
            }
            if self.with_hash {
                reply.integer(found.score as i64);
            }
            if self.with_place {
                reply_place(reply, found.place);
            }
        }
    }
}

/// Reads a radius and its unit.
fn circle(radius: &[u8], word: &[u8]) -> Result<(Shape, f64), Failure> {
    let meters = parse_f64(radius).ok_or(Failure::text("ERR need numeric radius"))?;
    if meters < 0.0 {
        return Err(Failure::text("ERR radius cannot be negative"));
    }
    Ok((Shape::Circle { meters }, unit(word)?))
}

/// Reads width and height of a box, and their unit.
fn rectangle(width: &[u8], height: &[u8], word: &[u8]) -> Result<(Shape, f64), Failure> {
    let width = parse_f64(width).ok_or(Failure::text("ERR need numeric width"))?;
    let height = parse_f64(height).ok_or(Failure::text("ERR need numeric height"))?;
    if width < 0.0 || height < 0.0 {
        return Err(Failure::text("ERR height or width cannot be negative"));
    }
    Ok((Shape::Rectangle { width, height }, unit(word)?))
}

fn place_of(scores: &Scores<'_>, member: &[u8]) -> Result<Place, Failure> {
    let score = scores.score(member);
    score.map(Place::of_score).ok_or(Failure::text("ERR could not decode requested zset member"))
}

fn search(cx: &mut Cx<'_, '_>, form: Form) -> Outcome {
    let (source, args, keyspace) = (cx.key(form.source())?, cx.args, &cx.services().keyspace);
    let position = cx.access_as(source, Kind::SortedSet)?;
    let entry: Option<EntryRef<'_>> = position.map(|position| cx.entry(source, position));
    let scores = entry.map(|entry| Scores::of(keyspace, entry));
    let asked = Asked::parse(args, form, scores)?;
    let found = scores.map(|scores| asked.find(&scores)).unwrap_or_default();
    let Some(destination) = asked.destination else {
        asked.tell(&mut cx.reply, &found);
        return Ok(());
    };
    let mut gathered = Gathered::default();
    for found in &found {
        gathered.push(if asked.stores_length { found.meters } else { found.score }, &found.member);
    }
    let event = if form.is_search() { Event::GEOSEARCHSTORE } else { Event::GEORADIUSSTORE };
    let (destination, changes) = (cx.key(destination)?, gathered.len() as u64);
    store(cx, destination, gathered, event, changes);
    Ok(())
}
