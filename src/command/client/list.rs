//! CLIENT LIST and CLIENT INFO: a line of `field=value` for each connection, in the order that the Redis documentation of CLIENT LIST
//! gives them.

use std::fmt::Write;
use std::sync::atomic::AtomicUsize;
use std::sync::atomic::Ordering::Relaxed;

use crate::base::number::parse_i64;
use crate::client::{ClientFlags, ClientInfo};
use crate::command::cx::{Cx, Failure, Outcome};
use crate::command::registry::COMMANDS;
use crate::resp::Protocol;

/// The types of clients that CLIENT LIST and CLIENT KILL tell apart.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum ClientType {
    Normal,
    Pubsub,
    /// Links of replication, of which there are none.
    Replica,
    Master,
}

impl ClientType {
    /// # Errors
    /// Redis's text for a word that names no type.
    pub fn named(word: &[u8]) -> Result<ClientType, Failure> {
        let types = [
            ("normal", ClientType::Normal),
            ("pubsub", ClientType::Pubsub),
            ("replica", ClientType::Replica),
            ("slave", ClientType::Replica),
            ("master", ClientType::Master),
        ];
        let found = types.iter().find(|(name, _)| name.as_bytes().eq_ignore_ascii_case(word));
        found
            .map(|(_, of_type)| *of_type)
            .ok_or_else(|| Failure::echo("ERR Unknown client type '", word, "'"))
    }

    pub fn of(info: &ClientInfo) -> ClientType {
        if info.is_subscriber() { ClientType::Pubsub } else { ClientType::Normal }
    }
}

pub fn info(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut text = String::new();
    write_own_line(cx, &mut text);
    cx.reply.verbatim("txt", &text);
    Ok(())
}

pub fn list(cx: &mut Cx<'_, '_>) -> Outcome {
    let mut text = String::new();
    let clients = &cx.services().clients;
    match cx.args.get(2) {
        None => clients.all().iter().for_each(|info| write_any_line(cx, info, &mut text)),
        Some(word) if word.eq_ignore_ascii_case(b"TYPE") && cx.args.len() == 4 => {
            let wanted = ClientType::named(cx.args.at(3))?;
            for info in clients.all().iter().filter(|info| ClientType::of(info) == wanted) {
                write_any_line(cx, info, &mut text);
            }
        }
        Some(word) if word.eq_ignore_ascii_case(b"ID") && cx.args.len() > 3 => {
            for id in cx.args.iter_from(3) {
                let id = parse_i64(id).ok_or(Failure::text("ERR Invalid client ID"))?;
                let found = u64::try_from(id).ok().and_then(|id| clients.find(id));
                if let Some(info) = found {
                    write_any_line(cx, &info, &mut text);
                }
                if text.len() > cx.reply.allowed() {
                    break;
                }
            }
        }
        Some(_) => return Err(Failure::SYNTAX),
    }
    cx.reply.verbatim("txt", &text);
    Ok(())
}

fn write_any_line(cx: &Cx<'_, '_>, info: &ClientInfo, text: &mut String) {
    if info.id == cx.client.info.id {
        write_own_line(cx, text);
    } else {
        write_line(info, cx.steady_ms(), Running::default(), text);
    }
}

/// The caller is in the middle of a request: its arguments, and the replies of the batch that wait before this one, count.
fn write_own_line(cx: &Cx<'_, '_>, text: &mut String) {
    let running = Running { args_bytes: cx.args.bytes(), reply_bytes: cx.reply.mark() };
    write_line(&cx.client.info, cx.steady_ms(), running, text);
}

/// What only the loop knows of a request that is running.
#[derive(Clone, Copy, Default)]
struct Running {
    args_bytes: usize,
    reply_bytes: usize,
}

fn write_line(info: &ClientInfo, steady_ms: i64, running: Running, text: &mut String) {
    let load = |field: &AtomicUsize| field.load(Relaxed);
    // Redis reads a clock of whole seconds: a client can be one second old a millisecond after it came.
    let seconds_since = |moment_ms: i64| (steady_ms.div_euclid(1000) - moment_ms.div_euclid(1000)).max(0);
    let names = info.names.lock().clone();
    let shown = |name: &[u8]| String::from_utf8_lossy(name).into_owned();
    let input = load(&info.input_bytes);
    let waiting = load(&info.output_bytes) + load(&info.in_transit_bytes);
    let output = waiting + running.reply_bytes;
    let command = COMMANDS.by_id(load(&info.last_command)).map_or("NULL", |command| &command.full_name);
    let resp = if info.protocol() == Protocol::Resp3 { 3 } else { 2 };
    // Writing into a String cannot fail.
    let _ = write!(
        text,
        "id={} addr={} laddr={} fd={} name={} age={} idle={} flags={} db={} sub={} psub={} ssub={} multi={} ",
        info.id,
        info.address,
        info.local_address,
        info.descriptor,
        shown(&names.name),
        seconds_since(info.created_ms),
        seconds_since(info.last_active_ms.load(Relaxed)),
        flag_letters(info),
        load(&info.database),
        load(&info.channels),
        load(&info.patterns),
        load(&info.shard_channels),
        info.queued.load(Relaxed),
    );
    let _ = write!(
        text,
        "qbuf={} qbuf-free={} argv-mem={} multi-mem={} rbs={} rbp={} obl={} oll=0 omem={} tot-mem={} ",
        input,
        load(&info.input_capacity).saturating_sub(input),
        running.args_bytes,
        load(&info.queued_bytes),
        load(&info.output_capacity),
        load(&info.output_peak),
        output,
        waiting,
        info.memory_bytes() + running.args_bytes + running.reply_bytes,
    );
    let _ = writeln!(
        text,
        "events={} cmd={} user=default redir=-1 resp={} lib-name={} lib-ver={}",
        if waiting > 0 { "rw" } else { "r" },
        command,
        resp,
        shown(&names.library_name),
        shown(&names.library_version),
    );
}

/// The letters of the CLIENT LIST documentation, in the order in which Redis writes them.
fn flag_letters(info: &ClientInfo) -> String {
    let letters = [
        ('O', info.has(ClientFlags::MONITOR)),
        ('P', info.is_subscriber()),
        ('x', info.queued.load(Relaxed) >= 0),
        ('b', info.has(ClientFlags::BLOCKED)),
        ('d', info.watch_broken.load(Relaxed)),
        ('c', info.has(ClientFlags::CLOSE_AFTER_REPLY)),
        ('U', info.has(ClientFlags::UNIX_SOCKET)),
        ('e', info.has(ClientFlags::NO_EVICT)),
        ('T', info.has(ClientFlags::NO_TOUCH)),
    ];
    let set: String = letters.iter().filter(|(_, on)| *on).map(|(letter, _)| letter).collect();
    if set.is_empty() { "N".to_owned() } else { set }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn client() -> ClientInfo {
        let (address, local) = ("127.0.0.1:5000".to_owned(), "127.0.0.1:6379".to_owned());
        ClientInfo::new(7, address, local, 9, 0, 0, 1_000_000, ClientFlags::default())
    }

    fn line(info: &ClientInfo, now_ms: i64, running: Running) -> String {
        let mut text = String::new();
        write_line(info, now_ms, running, &mut text);
        text
    }

    #[test]
    fn a_line_has_the_fields_of_redis_7_2_in_their_order() {
        let info = client();
        let text = line(&info, 1_003_999, Running { args_bytes: 10, reply_bytes: 7 });
        let fields: Vec<&str> =
            text.trim_end().split(' ').map(|field| field.split_once('=').unwrap().0).collect();
        let order = "id addr laddr fd name age idle flags db sub psub ssub multi qbuf qbuf-free argv-mem multi-mem rbs rbp \
                     obl oll omem tot-mem events cmd user redir resp lib-name lib-ver";
        assert_eq!(fields, order.split_ascii_whitespace().collect::<Vec<_>>());
        assert!(text.starts_with(
            "id=7 addr=127.0.0.1:5000 laddr=127.0.0.1:6379 fd=9 name= age=3 idle=3 flags=N db=0 "
        ));
        assert!(text.contains(" argv-mem=10 multi-mem=0 ") && text.contains(" obl=7 oll=0 omem=0 "));
        assert!(text.ends_with("cmd=NULL user=default redir=-1 resp=2 lib-name= lib-ver=\n"));
    }

    #[test]
    fn letters_come_in_one_order_and_n_means_none() {
        let info = client();
        info.channels.store(1, Relaxed);
        info.queued.store(0, Relaxed);
        info.watch_broken.store(true, Relaxed);
        for flag in
            [ClientFlags::NO_TOUCH, ClientFlags::NO_EVICT, ClientFlags::UNIX_SOCKET, ClientFlags::BLOCKED]
        {
            info.set_flag(flag, true);
        }
        assert_eq!(flag_letters(&info), "PxbdUeT");
        assert_eq!(flag_letters(&client()), "N");
    }

    #[test]
    fn types_have_names_in_any_case() {
        assert_eq!(ClientType::named(b"NorMal"), Ok(ClientType::Normal));
        assert_eq!(ClientType::named(b"slave"), Ok(ClientType::Replica));
        assert!(ClientType::named(b"norma").is_err());
    }
}
