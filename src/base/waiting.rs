//! Who may wait: no thread that holds a shard of the keyspace. What it would wait for (an answer of the control thread, a file, another
//! thread) may itself need that shard, and then both wait for ever.
//!
//! Debug builds count what each thread holds, and whatever waits asserts that this is nothing; so a test that merely passes such a place
//! with a shard in its hands fails, whether or not the circle closes in it. Release builds have none of this.

#[cfg(debug_assertions)]
thread_local! {
    static HELD: std::cell::Cell<usize> = const { std::cell::Cell::new(0) };
}

/// The calling thread must not wait for as long as this lives. Stays on its thread, as the lock that it belongs to.
#[derive(Debug)]
pub struct NoWaiting(std::marker::PhantomData<*const ()>);

impl NoWaiting {
    #[inline]
    pub fn begin() -> NoWaiting {
        #[cfg(debug_assertions)]
        HELD.with(|held| held.set(held.get() + 1));
        NoWaiting(std::marker::PhantomData)
    }
}

#[cfg(debug_assertions)]
impl Drop for NoWaiting {
    fn drop(&mut self) {
        HELD.with(|held| held.set(held.get() - 1));
    }
}

/// Stands before everything that waits.
#[inline]
#[track_caller]
pub fn may_wait() {
    #[cfg(debug_assertions)]
    assert_eq!(HELD.get(), 0, "a thread that holds shards must not wait");
}

#[cfg(all(test, debug_assertions))]
mod tests {
    use super::*;

    #[test]
    fn who_holds_a_shard_must_not_wait() {
        may_wait();
        let held = NoWaiting::begin();
        let other = NoWaiting::begin();
        drop(held);
        assert!(std::panic::catch_unwind(may_wait).is_err());
        std::thread::spawn(may_wait).join().expect("another thread may");
        drop(other);
        may_wait();
    }
}
