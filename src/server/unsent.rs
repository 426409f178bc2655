//! Output that a socket has not taken yet: chunks in order, shared with whoever else has them.
//!
//! Nothing that waits here is moved or copied again; what a socket takes is dropped chunk by chunk.

use std::collections::VecDeque;
use std::io::IoSlice;
use std::os::fd::AsFd;

use bytes::Bytes;
use rustix::io::Errno;

use crate::resp::Output;

/// Smaller pieces are copied together, since a shared one takes a place in the list and keeps its whole buffer alive.
const SHARED_BYTES_MIN: usize = 1024;
/// Small pieces are copied into buffers of this size.
const GATHERED_BYTES: usize = 16 * 1024;
/// Chunks that one system call writes.
const CHUNKS_A_WRITE: usize = 32;

/// How a write ended.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Sent {
    All,
    /// The turn's share went; the socket may take more.
    Share,
    /// The socket takes no more now.
    Full,
    /// The peer is gone.
    Broken,
}

/// See the module's text.
#[derive(Default)]
pub struct Unsent {
    chunks: VecDeque<Bytes>,
    /// Bytes of the first chunk that are gone.
    sent: usize,
    /// Small pieces behind the chunks.
    gathered: Vec<u8>,
    /// Of the chunks, with what is gone of the first.
    chunk_bytes: usize,
}

impl Unsent {
    /// Bytes that wait.
    #[inline]
    pub fn len(&self) -> usize {
        self.chunk_bytes - self.sent + self.gathered.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Memory of what waits. Chunks that others have, too, count as if they had not.
    pub fn capacity(&self) -> usize {
        self.chunk_bytes + self.chunks.capacity() * size_of::<Bytes>() + self.gathered.capacity()
    }

    /// Adds bytes that nobody else needs, or that were meant to be shared.
    pub fn push(&mut self, bytes: Bytes) {
        if bytes.len() < SHARED_BYTES_MIN {
            return self.extend(&bytes);
        }
        self.seal();
        self.chunk_bytes += bytes.len();
        self.chunks.push_back(bytes);
    }

    /// Adds bytes that others have, too.
    pub fn share(&mut self, bytes: &Bytes) {
        match bytes.len() {
            0..SHARED_BYTES_MIN => self.extend(bytes),
            _ => self.push(bytes.clone()),
        }
    }

    /// Adds a copy of `bytes`.
    pub fn extend(&mut self, bytes: &[u8]) {
        if bytes.len() >= GATHERED_BYTES {
            return self.push(Bytes::copy_from_slice(bytes));
        }
        if self.gathered.len() + bytes.len() > GATHERED_BYTES {
            self.seal();
        }
        self.gathered.extend_from_slice(bytes);
    }

    /// Adds all that was written to `output`, which is empty then.
    pub fn take(&mut self, output: &mut Output) {
        for chunk in output.take() {
            self.push(chunk);
        }
    }

    /// Makes what was gathered a chunk.
    fn seal(&mut self) {
        if !self.gathered.is_empty() {
            self.chunk_bytes += self.gathered.len();
            self.chunks.push_back(std::mem::take(&mut self.gathered).into());
        }
    }

    /// Writes to a socket, at most `budget` bytes. Gives how it ended and how many bytes went.
    pub fn write_to(&mut self, socket: impl AsFd, budget: usize) -> (Sent, usize) {
        self.seal();
        let mut done = 0;
        while !self.is_empty() {
            if done == budget {
                return (Sent::Share, done);
            }
            let mut slices = [IoSlice::new(&[]); CHUNKS_A_WRITE];
            let (count, bytes) = self.slices(&mut slices, budget - done);
            match rustix::io::writev(&socket, &slices[..count]) {
                Ok(taken) => {
                    self.drop_front(taken);
                    done += taken;
                    if taken < bytes {
                        return (Sent::Full, done);
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return (Sent::Full, done),
                Err(_) => return (Sent::Broken, done),
            }
        }
        // A connection that rests holds no buffers.
        self.chunks = VecDeque::new();
        (Sent::All, done)
    }

    /// The first chunks, but no more than `budget` bytes of them. Gives how many slices and bytes those are.
    fn slices<'a>(&'a self, slices: &mut [IoSlice<'a>], budget: usize) -> (usize, usize) {
        let (mut count, mut bytes, mut skipped) = (0, 0, self.sent);
        for (slice, chunk) in slices.iter_mut().zip(&self.chunks) {
            let rest = &chunk[skipped..];
            let part = &rest[..rest.len().min(budget - bytes)];
            *slice = IoSlice::new(part);
            (count, bytes, skipped) = (count + 1, bytes + part.len(), 0);
            if bytes == budget {
                break;
            }
        }
        (count, bytes)
    }

    /// Drops bytes that are gone.
    fn drop_front(&mut self, count: usize) {
        self.sent += count;
        while let Some(first) = self.chunks.front()
            && first.len() <= self.sent
        {
            self.sent -= first.len();
            self.chunk_bytes -= first.len();
            self.chunks.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::net::UnixStream;

    use super::*;
    use crate::base::random::Random;

    #[test]
    fn a_slow_reader_gets_all_bytes_in_order_and_no_write_goes_beyond_its_budget() {
        for seed in 0..60 {
            let random = &mut Random::new(seed);
            let (ours, theirs) = UnixStream::pair().expect("two descriptors");
            ours.set_nonblocking(true).expect("a socket");
            theirs.set_nonblocking(true).expect("a socket");
            let (mut unsent, mut want, mut got) = (Unsent::default(), Vec::new(), Vec::new());
            for number in 0..60u8 {
                let most = [20, 2000, 50_000][random.below(3) as usize];
                let len = random.below(most) as usize;
                let bytes = vec![number; len];
                want.extend_from_slice(&bytes);
                match random.below(3) {
                    0 => unsent.push(bytes.into()),
                    1 => unsent.extend(&bytes),
                    _ => {
                        let mut output = Output::default();
                        output.extend(&bytes);
                        unsent.take(&mut output);
                    }
                }
                let budget = 1 + random.below(60_000) as usize;
                let before = unsent.len();
                let (how, count) = unsent.write_to(&theirs, budget);
                assert!(count <= budget && before - count == unsent.len());
                assert_eq!(how == Sent::All, unsent.is_empty());
                let mut read = vec![0; random.below(80_000) as usize];
                let count = (&ours).read(&mut read).unwrap_or(0);
                got.extend_from_slice(&read[..count]);
            }
            while !unsent.is_empty() {
                unsent.write_to(&theirs, 100_000);
                let _ = (&ours).read_to_end(&mut got);
            }
            let _ = (&ours).read_to_end(&mut got);
            assert!(got == want, "seed {seed}");
            assert_eq!(unsent.capacity(), 0, "nothing is held when all is sent");
        }
    }

    #[test]
    fn a_message_for_many_is_not_copied_for_each() {
        let message = Bytes::from(vec![b'm'; 100_000]);
        let mut readers: Vec<Unsent> = (0..3).map(|_| Unsent::default()).collect();
        readers.iter_mut().for_each(|unsent| unsent.share(&message));
        assert!(readers.iter().all(|unsent| unsent.chunks[0].as_ptr() == message.as_ptr()));
    }
}
