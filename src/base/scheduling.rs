//! What the server asks of the operating system's scheduler: how many processors it has, and who goes first.

use std::mem::{size_of, zeroed};
use std::ptr;

use rustix::thread::{CpuSet, sched_getaffinity};

/// How many processors this process may run on; 0 if the system does not tell.
pub fn processors() -> usize {
    let Ok(set) = sched_getaffinity(None) else { return 0 };
    (0..CpuSet::MAX_CPU).filter(|processor| set.is_set(*processor)).count()
}

/// A "nice" value that leaves the processor to event loops, but not for long: a visitor that is set aside in the middle of a bite
/// holds a shard's lock. (At 19 such a visitor waits for tens of milliseconds on a busy machine.) Linux has one for each thread.
const BACKGROUND_PRIORITY: i32 = 5;

/// Lets the calling thread run only when others leave it a processor: for work in the background.
pub fn yield_to_others() {
    if let Err(error) = rustix::process::setpriority_process(None, BACKGROUND_PRIORITY) {
        tracing::debug!(%error, "a background thread runs with the priority of the others");
    }
}

/// The shortest slice that Linux gives.
const SHORT_TURN_NS: u64 = 100_000;

/// Lets the calling thread run in short turns, and so interrupt a thread with the usual ones (3 ms) as soon as it has something to do: for event
/// loops, which somebody waits for. It gets no more of the processor by that. Linux looks at it from version 6.12 on; elsewhere
/// nothing changes.
pub fn run_in_short_turns() {
    // SAFETY: a structure of numbers, for which zeros are values.
    let mut attributes: libc::sched_attr = unsafe { zeroed() };
    let (this_thread, flags, size) = (0, 0, size_of::<libc::sched_attr>());
    // SAFETY: the system writes at most `size` bytes, and the structure has so many.
    let got = unsafe {
        libc::syscall(libc::SYS_sched_getattr, this_thread, ptr::from_mut(&mut attributes), size, flags)
    };
    // Who started the server under another policy had reasons.
    if got != 0 || attributes.sched_policy != libc::SCHED_OTHER as u32 {
        return;
    }
    attributes.sched_runtime = SHORT_TURN_NS;
    // SAFETY: the structure begins with its size, and the system only reads it.
    let set =
        unsafe { libc::syscall(libc::SYS_sched_setattr, this_thread, ptr::from_ref(&attributes), flags) };
    if set != 0 {
        let error = std::io::Error::last_os_error();
        tracing::debug!(%error, "an event loop runs in turns of the usual length");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The slice of the calling thread; 0 where the system does not tell.
    fn slice_ns() -> u64 {
        // SAFETY: a structure of numbers, for which zeros are values.
        let mut attributes: libc::sched_attr = unsafe { zeroed() };
        let (at, size) = (ptr::from_mut(&mut attributes), size_of::<libc::sched_attr>());
        // SAFETY: the system writes at most as many bytes as it is told.
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, at, size, 0) };
        attributes.sched_runtime
    }

    #[test]
    fn turns_are_short_where_the_system_has_slices() {
        let slices = std::thread::spawn(|| {
            let usual = slice_ns();
            run_in_short_turns();
            (usual, slice_ns())
        });
        let (usual, asked) = slices.join().expect("a thread");
        assert_eq!(asked, usual.min(SHORT_TURN_NS), "the usual slice is {usual} ns");
    }
}
