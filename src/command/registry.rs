//! The command table at run time: all groups' rows with ids, arity and key plans, found by name.

use std::sync::LazyLock;

use super::spec::{CommandSpec, Flags, arity};
use super::{
    client, cluster, config, connection, debug, generic, info, introspection, memory, monitor, persistence,
    pubsub, records, server, string, transactions,
};
use crate::client::Gates;

/// How the keys of a command are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum KeyPlan {
    /// No keys.
    None,
    /// One key, at this argument.
    One(usize),
    /// Several keys, by the row's key positions.
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
            [] => KeyPlan::None,
            [keys] if keys.not_key => KeyPlan::None,
            [keys] if keys.last == keys.first as isize => KeyPlan::One(keys.first),
            _ => KeyPlan::Many,
        };
        let name = full_name.clone();
        let subcommands =
            spec.subcommands.iter().map(|spec| Command::new(spec, Some(&name), next_id)).collect();
        Command { id, full_name, spec, arity: arity_of(spec), concerns: spec.concerns(), plan, subcommands }
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

    /// The subcommand with this name, in any case.
    pub fn subcommand(&self, name: &[u8]) -> Option<&Command> {
        self.subcommands.iter().find(|command| command.spec.name.as_bytes().eq_ignore_ascii_case(name))
    }

    /// Argument indices of all keys of a request.
    pub fn key_positions(&self, argc: usize) -> impl Iterator<Item = usize> + use<'_> {
        let keys = self.spec.keys.iter().filter(|keys| !keys.not_key);
        keys.flat_map(move |keys| keys.positions(argc))
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

/// All commands.
pub struct Commands {
    /// Top-level commands, sorted by name.
    pub all: Vec<Command>,
    /// Commands and subcommands together.
    pub count: usize,
    index: Vec<u16>,
}

const EMPTY: u16 = u16::MAX;
const INDEX_SLOTS: usize = 1024;

/// The table. Built once, at the first use.
pub static COMMANDS: LazyLock<Commands> = LazyLock::new(|| {
    let groups = [
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
        generic::WAIT_ROWS,
        info::ROWS,
        introspection::ROWS,
        memory::ROWS,
        monitor::ROWS,
        pubsub::ROWS,
        records::ROWS,
        persistence::ROWS,
        server::ROWS,
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

impl Commands {
    fn new(mut rows: Vec<&'static CommandSpec>) -> Commands {
        rows.sort_unstable_by_key(|spec| spec.name);
        let mut count = 0;
        let all: Vec<Command> = rows.into_iter().map(|spec| Command::new(spec, None, &mut count)).collect();
        let mut index = vec![EMPTY; INDEX_SLOTS];
        for (at, command) in all.iter().enumerate() {
            let mut slot = slot_of(command.spec.name.as_bytes());
            while index[slot] != EMPTY {
                slot = (slot + 1) % INDEX_SLOTS;
            }
            index[slot] = at as u16;
        }
        Commands { all, count, index }
    }

    /// The command with this name, in any case.
    #[inline]
    pub fn find(&self, name: &[u8]) -> Option<&Command> {
        let mut slot = slot_of(name);
        loop {
            let at = self.index[slot];
            if at == EMPTY {
                return None;
            }
            let command = &self.all[usize::from(at)];
            if same_name(command.spec.name.as_bytes(), name) {
                return Some(command);
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
        let at = self.all.partition_point(|command| command.id <= id).checked_sub(1)?;
        let command = &self.all[at];
        if command.id == id { Some(command) } else { command.subcommands.get(id - command.id - 1) }
    }
}

/// Compares a command's lower-case name with a given one, in any case.
#[inline]
fn same_name(name: &[u8], given: &[u8]) -> bool {
    name.len() == given.len()
        && name.iter().zip(given).all(|(name, given)| *name == given.to_ascii_lowercase())
}

/// Folds length and first bytes, letters in lower case, into an index slot. Setting bit 5 makes letters lower case and maps
/// other bytes to something; both sides of a comparison are treated alike.
#[inline]
fn slot_of(name: &[u8]) -> usize {
    let mut word = [0u8; 8];
    let taken = name.len().min(8);
    word[..taken].copy_from_slice(&name[..taken]);
    let folded = (u64::from_le_bytes(word) | 0x2020_2020_2020_2020) ^ (name.len() as u64) << 56;
    (folded.wrapping_mul(0x9e37_79b9_7f4a_7c15) >> (64 - INDEX_SLOTS.ilog2())) as usize
}
