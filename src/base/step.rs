//! Work in steps: what a thread does in a loop, as an object that a test can step by hand.
//!
//! A step does what is to be done now, which may include the disk, and says what the next one waits for. It never waits itself and never asks a
//! clock, so that one thread can step many such objects, in any order and at any time that it likes. The threads' loops are thin: they step, and wait as they are told.

use std::time::Duration;

use super::clock::Now;
use super::lock::{Condvar, Mutex};

/// What the next step waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Next {
    /// Nothing: there is more to do at once.
    Now,
    /// A steady time in milliseconds, or a signal before it.
    At(i64),
    /// A signal.
    Signal,
    /// There is no next one.
    End,
}

/// How long it is until a steady time in milliseconds; none at all if that has passed.
pub fn until(now: Now, steady_ms: i64) -> Duration {
    Duration::from_millis(u64::try_from(steady_ms - now.steady_ms()).unwrap_or(0))
}

/// A signal to threads that wait until something has changed; each looks for itself what it was.
#[derive(Debug, Default)]
pub struct Bell {
    rings: Mutex<u64>,
    rung: Condvar,
}

impl Bell {
    /// How often it has rung; to be asked before a step, so that nothing that happens during the step is missed.
    pub fn rings(&self) -> u64 {
        *self.rings.lock()
    }

    pub fn ring(&self) {
        *self.rings.lock() += 1;
        self.rung.notify_all();
    }

    /// Waits as a step has said, if the bell has not rung more than `heard` times.
    pub fn wait(&self, heard: u64, now: Now, next: Next) {
        let mut rings = self.rings.lock();
        match next {
            Next::Now | Next::End => {}
            Next::At(steady_ms) => {
                if *rings == heard {
                    (rings, _) = self.rung.wait_for(rings, until(now, steady_ms));
                }
                drop(rings);
            }
            Next::Signal => {
                while *rings == heard {
                    rings = self.rung.wait(rings);
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ring_between_the_step_and_the_wait_is_heard() {
        let bell = Bell::default();
        let heard = bell.rings();
        bell.ring();
        // Would never return else.
        bell.wait(heard, Now::at_ms(0), Next::Signal);
        bell.wait(heard, Now::at_ms(0), Next::At(i64::MAX));
        assert_eq!(bell.rings(), heard + 1);
    }

    #[test]
    fn a_time_that_has_passed_is_not_waited_for() {
        let now = Now::at_ms(1000);
        assert_eq!(until(now, 1250), Duration::from_millis(250));
        assert_eq!(until(now, 999), Duration::ZERO);
        Bell::default().wait(0, now, Next::At(1000));
    }
}
