//! What the server asks of the operating system: descriptors, directories, the allocator's thread.

use std::io;
use std::os::unix::fs::DirBuilderExt;
use std::path::Path;
use std::time::Duration;

use rustix::fs::{Access, access};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use rustix::time::{ClockId, clock_gettime};

use super::waiting::may_wait;

/// Descriptors that are not clients: listeners, pollers, doorbells, logs, files of the data directory.
const RESERVED_DESCRIPTORS: u64 = 32;
const DESCRIPTORS_A_LOOP: u64 = 2;
/// Only the owner reads what sessions leave on disk.
const DATA_DIRECTORY_MODE: u32 = 0o700;

/// Raises the limit of open descriptors as far as `clients` connections need and the system allows; gives how many clients it
/// allows, which may be 0.
pub fn allow_clients(clients: u32, loops: usize) -> u32 {
    let reserved = RESERVED_DESCRIPTORS + DESCRIPTORS_A_LOOP * loops as u64;
    let wanted = u64::from(clients) + reserved;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|current| current >= wanted) {
        return clients;
    }
    let raised = Rlimit { current: Some(wanted), maximum: limit.maximum.map(|maximum| maximum.max(wanted)) };
    // A privileged process may raise the hard limit too; any other has to be content with it.
    if setrlimit(Resource::Nofile, raised).is_err() {
        let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, maximum: limit.maximum });
    }
    let allowed = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX).saturating_sub(reserved);
    clients.min(u32::try_from(allowed).unwrap_or(u32::MAX))
}

/// Makes the data directory if it is missing and gives its absolute path.
///
/// # Errors
/// When it cannot be made, or cannot be used, see [`check_directory`].
pub fn data_directory(path: &str) -> io::Result<String> {
    let exists = Path::new(path).is_dir();
    if !exists {
        std::fs::DirBuilder::new().recursive(true).mode(DATA_DIRECTORY_MODE).create(path)?;
    }
    check_directory(path)?;
    Ok(std::fs::canonicalize(path)?.display().to_string())
}

/// Whether a process could change into the directory.
///
/// # Errors
/// Those of `chdir`.
pub fn check_directory(path: &str) -> io::Result<()> {
    if !std::fs::metadata(path)?.is_dir() {
        return Err(rustix::io::Errno::NOTDIR.into());
    }
    Ok(access(path, Access::EXEC_OK)?)
}

/// An error as the operating system names it, without Rust's addition.
pub fn error_text(error: &io::Error) -> String {
    let text = error.to_string();
    text.split(" (os error").next().unwrap_or_default().to_owned()
}

/// Lets the allocator give unused memory back from a thread of its own.
pub fn start_allocator_thread() {
    if let Err(error) = tikv_jemalloc_ctl::background_thread::write(true) {
        tracing::warn!(%error, "the allocator gives memory back only while it is used");
    }
}

/// The processor time that the calling thread has used.
pub fn thread_time() -> Duration {
    Duration::try_from(clock_gettime(ClockId::ThreadCPUTime)).unwrap_or_default()
}

/// Leaves the processor to others for so long.
#[allow(clippy::disallowed_methods, reason = "a thread in the background that nobody waits for")]
pub fn rest(time: Duration) {
    may_wait();
    std::thread::sleep(time);
}

/// Stops the calling thread for a number of microseconds, if that is more than none (DEBUG SLEEP).
#[allow(clippy::disallowed_methods, reason = "to stop the event loop is what DEBUG SLEEP is for")]
pub fn sleep(us: i64) {
    may_wait();
    std::thread::sleep(Duration::from_micros(us.max(0) as u64));
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn more_descriptors_than_the_system_has_are_not_promised() {
        assert_eq!(allow_clients(10, 1), 10);
        let limit = getrlimit(Resource::Nofile);
        let allowed = allow_clients(u32::MAX, 1);
        let now = getrlimit(Resource::Nofile).current.unwrap_or(u64::MAX);
        assert!(u64::from(allowed) <= now && now >= limit.current.unwrap_or(u64::MAX), "{allowed} {now}");
    }
}
