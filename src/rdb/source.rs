//! Bytes from a reader, with their offset and checksum.
//!
//! The checksum is brought up to date when the buffer is refilled and when somebody asks, not at each of the many small reads.

use std::io::Read;

use crc_fast::Digest;

use super::CHECKSUM;
use super::error::{Error, Problem};

/// What is read ahead. Also the step in which a long string's memory grows, so that a length alone allocates nothing large.
const BUFFER_BYTES: usize = 64 * 1024;

/// See the module's text.
pub struct Source<R> {
    input: R,
    buffer: Box<[u8]>,
    /// How much of the buffer was read.
    filled: usize,
    /// The next byte that is not consumed yet, in the buffer.
    at: usize,
    /// How much of the buffer is in the checksum.
    hashed: usize,
    /// The offset of the buffer's first byte.
    base: u64,
    digest: Digest,
}

impl<R: Read> Source<R> {
    pub fn new(input: R) -> Source<R> {
        Source::for_bytes(input, BUFFER_BYTES)
    }

    /// [`Source::new`] for an input of about so many bytes.
    pub fn for_bytes(input: R, bytes: usize) -> Source<R> {
        let buffer = vec![0; bytes.clamp(1, BUFFER_BYTES)].into_boxed_slice();
        Source { input, buffer, filled: 0, at: 0, hashed: 0, base: 0, digest: Digest::new(CHECKSUM) }
    }

    /// Bytes consumed so far.
    pub fn offset(&self) -> u64 {
        self.base + self.at as u64
    }

    /// The checksum of all bytes consumed so far.
    pub fn checksum(&mut self) -> u64 {
        self.digest.update(&self.buffer[self.hashed..self.at]);
        self.hashed = self.at;
        self.digest.finalize()
    }

    /// Reads more into the buffer, which is consumed.
    fn refill(&mut self) -> Result<(), Error> {
        self.digest.update(&self.buffer[self.hashed..self.filled]);
        self.base += self.filled as u64;
        (self.filled, self.at, self.hashed) = (0, 0, 0);
        let read = loop {
            match self.input.read(&mut self.buffer) {
                Err(error) if error.kind() == std::io::ErrorKind::Interrupted => {}
                other => break other,
            }
        };
        match read {
            Ok(0) => Err(self.error(Problem::Truncated)),
            Ok(count) => {
                self.filled = count.min(self.buffer.len());
                Ok(())
            }
            Err(error) => Err(self.error(Problem::Io(error))),
        }
    }

    /// Consumes at least one and at most `most` bytes.
    fn piece(&mut self, most: u64) -> Result<&[u8], Error> {
        if self.at == self.filled {
            self.refill()?;
        }
        let taken = ((self.filled - self.at) as u64).min(most) as usize;
        self.at += taken;
        Ok(&self.buffer[self.at - taken..self.at])
    }

    pub fn byte(&mut self) -> Result<u8, Error> {
        Ok(self.array::<1>()?[0])
    }

    pub fn array<const N: usize>(&mut self) -> Result<[u8; N], Error> {
        let mut array = [0; N];
        let mut filled = 0;
        while filled < N {
            let piece = self.piece((N - filled) as u64)?;
            array[filled..filled + piece.len()].copy_from_slice(piece);
            filled += piece.len();
        }
        Ok(array)
    }

    /// Reads `length` bytes. Memory grows as they really come.
    pub fn bytes(&mut self, length: u64) -> Result<Vec<u8>, Error> {
        let mut bytes = Vec::new();
        self.append_bytes(length, &mut bytes)?;
        Ok(bytes)
    }

    /// Appends `length` bytes. Memory grows as they really come.
    pub fn append_bytes(&mut self, length: u64, bytes: &mut Vec<u8>) -> Result<(), Error> {
        bytes.reserve(length.min(BUFFER_BYTES as u64) as usize);
        let mut left = length;
        while left > 0 {
            let piece = self.piece(left)?;
            bytes.extend_from_slice(piece);
            left -= piece.len() as u64;
        }
        Ok(())
    }

    pub fn skip(&mut self, length: u64) -> Result<(), Error> {
        let mut left = length;
        while left > 0 {
            left -= self.piece(left)?.len() as u64;
        }
        Ok(())
    }

    pub fn error(&self, problem: Problem) -> Error {
        Error { offset: self.offset(), problem }
    }
}
