//! The command table at run time: all groups' rows with ids, arity and key plans, found by name.

use std::sync::LazyLock;

use super::effects::Record;
use super::spec::{CommandSpec, Flags, arity};
use super::{
    acl, bitmap, client, cluster, config, connection, debug, generic, geo, hash, hyperloglog, info,
    introspection, list, memory, module, monitor, persistence, pubsub, records, server, set, sorted_set,
    stream, string, transactions,
};
use crate::client::Gates;

/// How the keys of a command are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlan {
    /// No keys.
    None,
    /// One key, at this argument.
    One(usize),
    /// Several keys, or a number that depends on the request ([`super::keys::RequestKeys`]).
    Many,
    /// Inside a transaction, those of the queued requests (EXEC).
    Queue,
}

/// A row with what is derived from it.
pub struct Command {
    /// Dense, from 0: the index into statistics.
    pub id: usize,
    /// `get`, or `client|list`.
    pub full_name: String,
    pub spec: &'static CommandSpec,
    pub arity: i32,
    pub concerns: Gates,
    pub plan: KeyPlan,
    pub subcommands: Vec<Command>,
}

impl Command {
    fn new(spec: &'static CommandSpec, parent: Option<&str>, next_id: &mut usize) -> Command {
        let full_name =
            parent.map_or_else(|| spec.name.to_owned(), |parent| format!("{parent}|{}", spec.name));
        let id = *next_id;
        *next_id += 1;
        let plan = match spec.keys {
            _ if spec.flags.has(Flags::RUNS_QUEUE) => KeyPlan::Queue,
            [] if !spec.flags.has(Flags::OPEN_KEYS) => KeyPlan::None,
            [keys] if keys.not_key => KeyPlan::None,
            [keys] if !spec.flags.has(Flags::OPEN_KEYS) => keys.fixed().map_or(KeyPlan::Many, KeyPlan::One),
            _ => KeyPlan::Many,
        };
        let name = full_name.clone();
        let subcommands =
            spec.subcommands.iter().map(|spec| Command::new(spec, Some(&name), next_id)).collect();
        Command { id, full_name, spec, arity: arity_of(spec), concerns: spec.concerns(), plan, subcommands }
    }

    /// A command that is not in the table, but is found by its id. Tests have [`ROWS_OF_TESTS`] of them.
    #[cfg(test)]
    pub fn of_test(spec: &'static CommandSpec) -> &'static Command {
        let commands = &mut *OF_TESTS.lock();
        if let Some(known) = commands.iter().find(|command| std::ptr::eq(command.spec, spec)) {
            return known;
        }
        assert!(commands.len() < ROWS_OF_TESTS, "statistics have room for so many");
        let command = Command::new(spec, None, &mut (COMMANDS.count + commands.len()));
        commands.push(Box::leak(Box::new(command)));
        commands[commands.len() - 1]
    }

    /// Whether a request with `argc` arguments has a permitted number of them.
    #[inline]
    pub fn accepts(&self, argc: usize) -> bool {
        if self.arity >= 0 { argc == self.arity as usize } else { argc >= self.arity.unsigned_abs() as usize }
    }

    /// Whether a request with `argc` arguments that names this row, and no subcommand of it, can run.
    #[inline]
    pub fn runs_itself(&self, argc: usize) -> bool {
        self.subcommands.is_empty() || self.arity == -1 && argc == 1
    }

    pub fn has(&self, flag: Flags) -> bool {
        self.spec.flags.has(flag)
    }

    /// Whether the row says that its changes may go into the write log in this form.
    pub fn is_logged_as(&self, form: Record) -> bool {
        match form {
            Record::None => true,
            Record::Verbatim => self.has(Flags::LOGGED_AS_IT_CAME),
            Record::Set { .. } => self.has(Flags::LOGGED_AS_SET),
            Record::Written => self.has(Flags::LOGGED_OTHERWISE),
        }
    }

    /// The subcommand with this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Command> {
        self.subcommands.iter().find(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }
}

fn arity_of(spec: &CommandSpec) -> i32 {
    // A container is called with a subcommand, whose own row then decides; COMMAND alone does something without one.
    match arity(spec.syntax) {
        -1 if !spec.subcommands.is_empty() => -1,
        _ if !spec.subcommands.is_empty() => -2,
        own => own,
    }
}

/// Commands that are not in the table, each a test's own.
#[cfg(test)]
static OF_TESTS: parking_lot::Mutex<Vec<&'static Command>> = parking_lot::Mutex::new(Vec::new());
#[cfg(test)]
pub const ROWS_OF_TESTS: usize = 4;

/// All commands.
pub struct Commands {
    /// Top-level commands, sorted by name.
    pub all: Vec<Command>,
    /// Commands and subcommands together.
    pub count: usize,
    index: Box<[Slot; INDEX_SLOTS]>,
}

const INDEX_SLOTS: usize = 1024;

/// A slot of the index by name: names are compared in two words, without a look at the command.
#[derive(Clone, Copy, Default)]
struct Slot {
    name: Name,
    /// The place in [`Commands::all`].
    at: u16,
}

/// The table. Built once, at the first use.
pub static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let groups = [
        acl::ROWS,
        bitmap::BIT_ROWS,
        bitmap::COMBINE_ROWS,
        bitmap::COUNT_ROWS,
        bitmap::FIELD_ROWS,
        client::ROWS,
        cluster::ROWS,
        config::ROWS,
        connection::ROWS,
        debug::ROWS,
        generic::ROWS,
        generic::DUMP_ROWS,
        generic::EXPIRE_ROWS,
        generic::MIGRATE_ROWS,
        generic::OBJECT_ROWS,
        generic::RELOCATE_ROWS,
        generic::SCAN_ROWS,
        generic::SORT_ROWS,
        generic::WAIT_ROWS,
        geo::ADD_ROWS,
        geo::PLACES_ROWS,
        geo::SEARCH_ROWS,
        hash::DEADLINE_ROWS,
        hash::NUMBER_ROWS,
        hash::RANDOM_ROWS,
        hash::READ_ROWS,
        hash::SCAN_ROWS,
        hash::TOGETHER_ROWS,
        hash::WRITE_ROWS,
        hyperloglog::DEBUG_ROWS,
        hyperloglog::ROWS,
        info::ROWS,
        list::ENDS_ROWS,
        list::PART_ROWS,
        list::SEARCH_ROWS,
        set::ALGEBRA_ROWS,
        set::MEMBER_ROWS,
        set::RANDOM_ROWS,
        set::SCAN_ROWS,
        introspection::ROWS,
        memory::ROWS,
        module::ROWS,
        monitor::ROWS,
        pubsub::ROWS,
        records::ROWS,
        persistence::ROWS,
        server::ROWS,
        stream::ADD_ROWS,
        stream::CLAIM_ROWS,
        stream::DELETE_ROWS,
        stream::GROUP_ROWS,
        stream::INFO_ROWS,
        stream::PENDING_ROWS,
        stream::RANGE_ROWS,
        stream::READ_ROWS,
        sorted_set::ADD_ROWS,
        sorted_set::COMBINE_ROWS,
        sorted_set::POP_ROWS,
        sorted_set::RANDOM_ROWS,
        sorted_set::RANGE_ROWS,
        sorted_set::READ_ROWS,
        sorted_set::REMOVE_ROWS,
        sorted_set::SCAN_ROWS,
        string::CONDITION_ROWS,
        string::GET_ROWS,
        string::LCS_ROWS,
        string::NUMBER_ROWS,
        string::RANGE_ROWS,
        string::SET_ROWS,
        string::SEVERAL_ROWS,
        transactions::ROWS,
    ];
    Commands::new(groups.into_iter().flatten().collect())
});

/// Rows that no client can call: what the write log tells and no request does.
static RECORDS: LazyLock<[Command; 1]> = LazyLock::new(|| {
    // The replay counts nothing, so that no statistics have room for them.
    [Command::new(&hash::EXPIRED_ROW, None, &mut { usize::MAX / 2 })]
});

/// The row of a record that is no request.
pub fn record_named(name: &[u8]) -> Option<&'static Command> {
    RECORDS.iter().find(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(name))
}

impl Commands {
    fn new(mut rows: Vec<&'static CommandSpec>) -> Commands {
        rows.sort_unstable_by_key(|spec| spec.name);
        let mut count = 0;
        let all: Vec<Command> = rows.into_iter().map(|spec| Command::new(spec, None, &mut count)).collect();
        let mut index = Box::new([Slot::default(); INDEX_SLOTS]);
        for (at, command) in all.iter().enumerate() {
            // Clients send names in capitals or in small letters: both are in the index, so that those need no folding.
            for name in [command.spec.name.to_ascii_lowercase(), command.spec.name.to_ascii_uppercase()] {
                let Some(name) = Name::new(name.as_bytes()) else { continue };
                let mut slot = name.slot();
                while index[slot].name != Name::default() {
                    slot = (slot + 1) % INDEX_SLOTS;
                }
                index[slot] = Slot { name, at: at as u16 };
            }
        }
        Commands { all, count, index }
    }

    /// The command with this name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        let Some(name) = Name::new(name) else { return self.find_long(name) };
        let slot = &self.index[name.slot()];
        let at = if slot.name == name { slot.at } else { self.find_further(name)? };
        Some(&self.all[usize::from(at)])
    }

    /// [`Commands::find`], for a name that is not in its first slot or has both capitals and small letters.
    #[inline(never)]
    fn find_further(&self, name: Name) -> Option<u16> {
        let lower = Name { first: lower_case(name.first), last: lower_case(name.last), len: name.len };
        self.look_up(name).or_else(|| self.look_up(lower))
    }

    /// [`Commands::find`] for a name that is too long for the index, as GEORADIUSBYMEMBER is, or none at all.
    #[cold]
    fn find_long(&self, name: &[u8]) -> Option<&Command> {
        self.all.iter().find(|command| {
            // A length is compared first.
            command.spec.name.len() == name.len() && command.spec.name.as_bytes().eq_ignore_ascii_case(name)
        })
    }

    fn look_up(&self, name: Name) -> Option<u16> {
        let mut slot = name.slot();
        loop {
            let Slot { name: found, at } = self.index[slot];
            if found == name {
                return Some(at);
            }
            if found == Name::default() {
                return None;
            }
            slot = (slot + 1) % INDEX_SLOTS;
        }
    }

    /// The command or subcommand with this full name: `get`, `config|set`.
    pub fn find_full(&self, name: &[u8]) -> Option<&Command> {
        match name.iter().position(|byte| *byte == b'|') {
            Some(bar) => self.find(&name[..bar])?.subcommand(&name[bar + 1..]),
            None => self.find(name),
        }
    }

    /// Every command and subcommand, each behind its container.
    pub fn iter(&self) -> impl Iterator<Item = &Command> {
        self.all.iter().flat_map(|command| std::iter::once(command).chain(&command.subcommands))
    }

    /// The command or subcommand with this id.
    pub fn by_id(&self, id: usize) -> Option<&Command> {
        #[cfg(test)]
        if id >= self.count {
            return OF_TESTS.lock().get(id - self.count).copied();
        }
        let at = self.all.partition_point(|command| command.id <= id).checked_sub(1)?;
        let command = &self.all[at];
        if command.id == id { Some(command) } else { command.subcommands.get(id - command.id - 1) }
    }
}

/// A name of 1 to 16 bytes in two words, which together with the length say all of it: one of up to eight bytes is in the first, with
/// zeros behind it; of a longer one they are the first eight bytes and the last eight.
#[derive(Clone, Copy, PartialEq, Eq, Default)]
struct Name {
    first: u64,
    last: u64,
    /// 0 for no name.
    len: u64,
}

impl Name {
    /// `None` for a name of another length.
    #[inline]
    fn new(name: &[u8]) -> Option<Name> {
        let len = name.len() as u64;
        // Each is read with reads of fixed size that overlap; where they do, they agree, so they can be united.
        if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            let (first, last) = (u64::from_le_bytes(*first), u64::from_le_bytes(*last));
            return (len <= 16).then_some(Name { first, last: if len > 8 { last } else { 0 }, len });
        }
        let first = if let (Some(first), Some(last)) = (name.first_chunk(), name.last_chunk()) {
            u64::from(u32::from_le_bytes(*first)) | u64::from(u32::from_le_bytes(*last)) << (8 * (len - 4))
        } else {
            let (first, middle, last) = (*name.first()?, name[name.len() / 2], *name.last()?);
            u64::from(first) | u64::from(middle) << (len / 2 * 8) | u64::from(last) << (len * 8 - 8)
        };
        Some(Name { first, last: 0, len })
    }

    /// Where to look for the name first.
    #[inline]
    fn slot(self) -> usize {
        let mixed = (self.first ^ self.last.rotate_left(32) ^ self.len).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed >> (64 - INDEX_SLOTS.ilog2())) as usize
    }
}

/// Eight bytes with ASCII letters in lower case and all others as they are.
#[inline]
fn lower_case(bytes: u64) -> u64 {
    const ONES: u64 = u64::MAX / 0xff;
    let low = bytes & (ONES * 0x7f);
    // The highest bit of each byte tells, without carries into the next: at least A; above Z; not ASCII.
    let from_a = low + ONES * (0x80 - b'A' as u64);
    let above_z = low + ONES * (0x7f - b'Z' as u64);
    let upper = from_a & !above_z & !bytes & (ONES * 0x80);
    bytes | upper >> 2
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_debug_needs_the_permission_to_debug() {
        let needs = COMMANDS.iter().filter(|command| command.has(Flags::PROTECTED));
        let names: Vec<&str> = needs.map(|command| command.full_name.as_str()).collect();
        assert!(!names.is_empty() && names.iter().all(|name| name.starts_with("debug")), "{names:?}");
    }

    #[test]
    fn no_client_can_send_what_only_the_write_log_tells() {
        for command in RECORDS.iter() {
            let name = command.spec.name.as_bytes();
            assert!(COMMANDS.find(name).is_none() && record_named(name).is_some());
        }
    }

    #[test]
    fn every_command_is_found_by_its_name_in_any_case_and_by_no_other() {
        for command in &COMMANDS.all {
            let name = command.spec.name.as_bytes();
            let mut mixed = name.to_ascii_lowercase();
            mixed[0] = mixed[0].to_ascii_uppercase();
            for given in [name.to_ascii_lowercase(), name.to_ascii_uppercase(), mixed] {
                assert_eq!(COMMANDS.find(&given).map(|found| found.id), Some(command.id));
                let wrong =
                    [&given[1..], &given[..given.len() - 1], &[&given[..], b"x"].concat()].map(|name| {
                        COMMANDS.find(name).map(|found| found.spec.name.as_bytes().eq_ignore_ascii_case(name))
                    });
                assert!(wrong.iter().all(|found| *found != Some(false)), "{wrong:?}");
                for at in 0..given.len() {
                    let mut near = given.clone();
                    near[at] ^= 0x40;
                    assert!(COMMANDS.find(&near).is_none(), "{}", near.escape_ascii());
                }
            }
        }
        assert!(COMMANDS.find(b"").is_none());
        assert!(COMMANDS.find(&[0; 8]).is_none());
        assert!(COMMANDS.find(&[b'a'; 17]).is_none());
    }

    #[test]
    fn every_row_that_writes_says_how_it_is_logged() {
        let forms = Flags::LOGGED_AS_IT_CAME.and(Flags::LOGGED_AS_SET).and(Flags::LOGGED_OTHERWISE);
        for command in COMMANDS.iter() {
            let says = command.spec.flags.has_any(forms);
            // PFCOUNT writes nothing but its own estimate.
            let may = command.spec.flags.has_any(Flags::WRITE.and(Flags::MAY_REPLICATE));
            assert!(says || !command.has(Flags::WRITE), "{}", command.full_name);
            assert!(!says || may, "{}", command.full_name);
        }
    }

    #[test]
    fn lower_case_is_that_of_ascii() {
        for byte in 0..=u8::MAX {
            for at in 0..8 {
                let mut bytes = [0xff, b'A', 0, b'Z', b'[', b'@', 0x80, 0xc1];
                bytes[at] = byte;
                let want = u64::from_le_bytes(bytes.map(|byte| byte.to_ascii_lowercase()));
                assert_eq!(lower_case(u64::from_le_bytes(bytes)), want, "byte {byte} at {at}");
            }
        }
    }

    #[test]
    fn names_that_differ_stay_different() {
        let names: Vec<Vec<u8>> = (1..=16)
            .flat_map(|len| {
                (0..len).map(move |at| (0..len).map(|i| if i == at { b'x' } else { b'a' }).collect())
            })
            .collect();
        for (first, one) in names.iter().enumerate() {
            for (second, other) in names.iter().enumerate() {
                let same = Name::new(one) == Name::new(other);
                assert_eq!(same, first == second, "{} {}", one.escape_ascii(), other.escape_ascii());
            }
        }
    }
}
