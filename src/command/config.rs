//! CONFIG: reading and changing the configuration.
//!
//! What a directive accepts is the business of `crate::config`; here is the order of a change: check, apply outside the core, put
//! in place. Changes are made one at a time (`Settings::begin_change`). Inside EXEC they come when its shards are released, and so does GET, which
//! would else not see what SET before it has changed.

use std::fs::File;
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use super::cx::{Cx, Failure, Outcome};
use super::help;
use super::spec::{CommandSpec, Flags, Group};
use crate::base::waiting::may_wait;
use crate::client::{ClientFlags, Gates};
use crate::config::{Rejection, SetError, UNKNOWN_OPTION, rewrite};

const FLAGS: Flags =
    Flags::ADMIN.and(Flags::NOSCRIPT).and(Flags::LOADING).and(Flags::STALE).and(Flags::CONTROL);
/// The mode of a configuration file that did not exist before.
const OWNER_ONLY: u32 = 0o600;
const EVERYWHERE: &[&str] = &["request_policy:all_nodes", "response_policy:all_succeeded"];

pub const ROWS: &[CommandSpec] = &[help::container(
    "config",
    "CONFIG <subcommand>",
    Group::Server,
    "2.0.0",
    "A container for server configuration commands.",
    SUBCOMMANDS,
)];

const SUBCOMMANDS: &[CommandSpec] = &[
    CommandSpec {
        name: "get",
        syntax: "CONFIG GET parameter [parameter ...]",
        group: Group::Server,
        since: "2.0.0",
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Returns the effective values of the configuration parameters that the patterns match.",
        flags: FLAGS,
        keys: &[],
        tips: &[],
        subcommands: &[],
        run: get,
    },
    help::row("CONFIG HELP", Group::Server, "5.0.0", Flags::NONE),
    CommandSpec {
        name: "resetstat",
        syntax: "CONFIG RESETSTAT",
        group: Group::Server,
        since: "2.0.0",
        complexity: "O(1)",
        summary: "Starts the counters that INFO shows again at zero.",
        flags: FLAGS,
        keys: &[],
        tips: EVERYWHERE,
        subcommands: &[],
        run: reset_statistics,
    },
    CommandSpec {
        name: "rewrite",
        syntax: "CONFIG REWRITE",
        group: Group::Server,
        since: "2.8.0",
        complexity: "O(1)",
        summary: "Writes the present configuration into the file that the server was started with.",
        flags: FLAGS,
        keys: &[],
        tips: EVERYWHERE,
        subcommands: &[],
        run: rewrite_file,
    },
    CommandSpec {
        name: "set",
        syntax: "CONFIG SET parameter value [parameter value ...]",
        group: Group::Server,
        since: "2.0.0",
        complexity: "O(N) when N is the number of configuration parameters provided",
        summary: "Changes configuration parameters while the server runs: all of the given ones, or none.",
        flags: FLAGS.and(Flags::SECRET_VALUES),
        keys: &[],
        tips: EVERYWHERE,
        subcommands: &[],
        run: set,
    },
];

fn get(cx: &mut Cx<'_, '_>) -> Outcome {
    let patterns: Vec<&[u8]> = cx.args.iter_from(2).collect();
    let found = cx.config().get(&patterns);
    cx.reply.map(found.len());
    for (name, value) in found {
        cx.reply.bulk(name.as_bytes());
        cx.reply.bulk(&value);
    }
    Ok(())
}

fn set(cx: &mut Cx<'_, '_>) -> Outcome {
    let words: Vec<&[u8]> = cx.args.iter_from(2).collect();
    if !words.len().is_multiple_of(2) {
        return Err(Failure::SYNTAX);
    }
    let pairs: Vec<(&[u8], &[u8])> = words.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
    let services = cx.services();
    let local = cx.client.info.has(ClientFlags::LOCAL);
    let change = services.settings.begin_change();
    let old = services.settings.load();
    let new = old
        .set(&pairs, old.enable_protected_configs.allows(local))
        .and_then(|new| match services.control.apply(&old, &new) {
            Ok(()) => Ok(new),
            Err((name, text)) => Err(SetError::Rejected { name, rejection: Rejection::NotApplied(text) }),
        })
        .map_err(|error| match error {
            // The name may be any bytes, and the client gets them back.
            SetError::Unknown { name } => Failure::echo(UNKNOWN_OPTION, &name, "'"),
            error => Failure::owned(error.to_string()),
        })?;
    services.set_gate(Gates::MEMORY_LIMIT, new.maxmemory > 0);
    services.put_in_force(new, cx.steady_ms());
    drop(change);
    // What is recorded of this very request goes by the new limits, as in Redis.
    cx.state.refresh();
    cx.reply.ok();
    Ok(())
}

fn reset_statistics(cx: &mut Cx<'_, '_>) -> Outcome {
    let services = cx.services();
    services.statistics.reset();
    services.rates.lock().reset();
    services.keyspace.reclaimer().reset_freed();
    cx.reply.ok();
    Ok(())
}

fn rewrite_file(cx: &mut Cx<'_, '_>) -> Outcome {
    rewrite_configuration(cx, false)
}

/// Writes the configuration into the server's file; with `all`, also what is at its default.
pub fn rewrite_configuration(cx: &mut Cx<'_, '_>, all: bool) -> Outcome {
    let services = cx.services();
    let _change = services.settings.begin_change();
    let Some(path) = services.settings.file.as_deref() else {
        return Err(Failure::text("ERR The server is running without a config file"));
    };
    let written = read_or_empty(path)
        .and_then(|old| replace_file(path, &rewrite(&old, &services.settings.load(), all)));
    if let Err(error) = written {
        tracing::warn!(%error, path = %path.display(), "the configuration file could not be rewritten");
        return Err(Failure::owned(format!("ERR Rewriting config file: {}", bare_text(&error))));
    }
    cx.reply.ok();
    Ok(())
}

/// A file that is gone is written anew.
fn read_or_empty(path: &Path) -> io::Result<Vec<u8>> {
    match std::fs::read(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Vec::new()),
        other => other,
    }
}

/// Puts `text` in the place of a file so that whoever opens it, also after a crash, finds the old text or the new one.
fn replace_file(path: &Path, text: &[u8]) -> io::Result<()> {
    let mut name = path.file_name().unwrap_or_default().to_owned();
    name.push(format!(".{}.tmp", std::process::id()));
    let temporary = path.with_file_name(name);
    let written = write_durably(&temporary, path, text);
    if written.is_err() {
        // What is left of the attempt helps nobody; the first error is the one to report.
        let _ = std::fs::remove_file(&temporary);
    }
    written
}

fn write_durably(temporary: &Path, path: &Path, text: &[u8]) -> io::Result<()> {
    may_wait();
    // The text may hold passwords, so nobody else reads it, not even before it has the old file's permissions.
    let mut file = File::options().write(true).create_new(true).mode(OWNER_ONLY).open(temporary)?;
    file.write_all(text)?;
    if let Ok(old) = std::fs::metadata(path) {
        file.set_permissions(old.permissions())?;
    }
    file.sync_all()?;
    std::fs::rename(temporary, path)?;
    let folder = path.parent().filter(|folder| !folder.as_os_str().is_empty()).unwrap_or(Path::new("."));
    File::open(folder)?.sync_all()
}

/// The operating system's text without the number that the standard library adds.
fn bare_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_rewritten_file_keeps_its_permissions_and_leaves_nothing_beside_it() {
        use std::os::unix::fs::PermissionsExt;
        let folder = std::env::temp_dir().join(format!("cloakroom-rewrite-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("a folder for the test");
        let path = folder.join("cloakroom.conf");
        replace_file(&path, b"requirepass secret\n").expect("a new file");
        let mode = |path: &Path| std::fs::metadata(path).expect("metadata").permissions().mode() & 0o777;
        assert_eq!(mode(&path), OWNER_ONLY, "whatever the umask is");
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o640)).expect("permissions");
        replace_file(&path, b"port 2\n").expect("a replaced file");
        assert_eq!(read_or_empty(&path).expect("the file is there"), b"port 2\n");
        assert_eq!(mode(&path), 0o640);
        assert_eq!(std::fs::read_dir(&folder).expect("the folder").count(), 1);
        std::fs::remove_dir_all(&folder).expect("the folder goes");
        assert!(read_or_empty(&path).expect("a missing file reads as empty").is_empty());
    }

    #[test]
    fn an_error_is_shown_as_the_operating_system_words_it() {
        assert_eq!(bare_text(&io::Error::from_raw_os_error(13)), "Permission denied");
    }
}
