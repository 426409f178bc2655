//! Replies while they are made: a list of chunks with a limit.
//!
//! Small replies are copied into one buffer, the tail. When that is full it becomes a chunk, and a large value is a chunk of its own, so nothing
//! that was written is ever moved to make room. The limit is checked whenever the tail has no room: a reply that goes beyond it is cut
//! there, what follows is thrown away, and [`Output::is_over`] tells. So no request builds more than the limit and one tail allow, and the usual
//! small reply costs one comparison of lengths.

use bytes::Bytes;

/// The size of a full tail. An output that is not chunked has at most this many bytes.
pub const TAIL_BYTES: usize = 64 * 1024;
/// A tail's first size; it doubles from there.
const TAIL_BYTES_MIN: usize = 64;
/// From this size on a value that does not fit into the tail becomes a chunk of its own.
const APART_BYTES_MIN: usize = 16 * 1024;

/// See the module's text.
#[derive(Debug)]
pub struct Output {
    /// What was written before the tail.
    chunks: Vec<Bytes>,
    chunk_bytes: usize,
    /// While the output is over its limit: one byte, and what is thrown away.
    tail: Vec<u8>,
    allowed: usize,
    over: bool,
}

impl Default for Output {
    fn default() -> Output {
        Output::limited(usize::MAX)
    }
}

impl Output {
    /// An output of at most `allowed` bytes.
    pub fn limited(allowed: usize) -> Output {
        Output { chunks: Vec::new(), chunk_bytes: 0, tail: Vec::new(), allowed, over: false }
    }

    /// Forgets what was written; from here on there may be `allowed` bytes.
    #[inline]
    pub fn begin(&mut self, allowed: usize) {
        self.allowed = allowed;
        self.clear();
    }

    #[inline]
    pub fn clear(&mut self) {
        self.tail.clear();
        if self.is_chunked() {
            self.chunks.clear();
            (self.chunk_bytes, self.over) = (0, false);
        }
    }

    #[inline]
    pub fn len(&self) -> usize {
        self.chunk_bytes + self.tail.len()
    }

    #[inline]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// Whether there is more than a tail; so it is if the output is over its limit.
    #[inline]
    pub fn is_chunked(&self) -> bool {
        !self.chunks.is_empty()
    }

    /// Whether something was cut off because it did not keep to the limit.
    pub fn is_over(&self) -> bool {
        self.over
    }

    /// Bytes that may still be written.
    pub fn allowed(&self) -> usize {
        if self.over { 0 } else { self.allowed.saturating_sub(self.len()) }
    }

    /// What was written last, and all if the output is not chunked.
    #[inline]
    pub fn tail(&self) -> &[u8] {
        &self.tail
    }

    /// The tail, if it has room for `len` bytes more.
    #[inline]
    pub(super) fn tail_with_room(&mut self, len: usize) -> Option<&mut Vec<u8>> {
        (self.tail.capacity() - self.tail.len() >= len).then_some(&mut self.tail)
    }

    /// The tail, with room made for `len` bytes more: those of a line or another small piece.
    #[inline]
    pub(super) fn room(&mut self, len: usize) -> &mut Vec<u8> {
        if self.tail.capacity() - self.tail.len() < len {
            self.make_room(len);
        }
        &mut self.tail
    }

    #[cold]
    #[inline(never)]
    fn make_room(&mut self, len: usize) {
        debug_assert!(len <= APART_BYTES_MIN, "what is larger goes apart");
        if self.goes_over(len) {
            self.tail.truncate(1);
            self.tail.reserve(len);
        } else if self.tail.len() + len <= TAIL_BYTES {
            let size = (2 * self.tail.capacity()).max(self.tail.len() + len);
            self.tail.reserve_exact(size.clamp(TAIL_BYTES_MIN, TAIL_BYTES) - self.tail.len());
        } else {
            self.seal();
            self.tail.reserve_exact(TAIL_BYTES);
        }
    }

    /// Writes bytes that are copied.
    #[inline]
    pub fn extend(&mut self, bytes: &[u8]) {
        match self.tail_with_room(bytes.len()) {
            Some(tail) => tail.extend_from_slice(bytes),
            None => self.extend_apart(bytes),
        }
    }

    #[cold]
    #[inline(never)]
    fn extend_apart(&mut self, bytes: &[u8]) {
        if bytes.len() >= APART_BYTES_MIN {
            self.push(bytes.len(), || Bytes::copy_from_slice(bytes));
        } else {
            self.room(bytes.len()).extend_from_slice(bytes);
        }
    }

    /// Writes bytes that others may have, too: large ones are not copied.
    pub fn append(&mut self, bytes: Bytes) {
        if bytes.len() >= APART_BYTES_MIN {
            self.push(bytes.len(), || bytes);
        } else {
            self.extend(&bytes);
        }
    }

    /// Writes all that was written to `other`.
    pub fn append_all(&mut self, other: Output) {
        if other.over && !self.over {
            self.cut();
        }
        for chunk in other.chunks {
            self.append(chunk);
        }
        self.append(Bytes::from(other.tail));
    }

    fn push(&mut self, len: usize, chunk: impl FnOnce() -> Bytes) {
        if !self.goes_over(len) {
            self.seal();
            self.chunk_bytes += len;
            self.chunks.push(chunk());
        }
    }

    /// Makes the tail a chunk.
    fn seal(&mut self) {
        if self.tail.is_empty() {
            return;
        }
        self.chunk_bytes += self.tail.len();
        if self.tail.len() >= self.tail.capacity() / 2 {
            self.chunks.push(std::mem::take(&mut self.tail).into());
        } else {
            // A few bytes need not keep the whole buffer.
            self.chunks.push(Bytes::copy_from_slice(&self.tail));
            self.tail.clear();
        }
    }

    /// Whether `len` bytes more are too many; if so, all that follows is thrown away.
    fn goes_over(&mut self, len: usize) -> bool {
        if !self.over && self.len().saturating_add(len) > self.allowed {
            self.cut();
        }
        self.over
    }

    fn cut(&mut self) {
        self.seal();
        if self.chunks.is_empty() {
            self.chunks.push(Bytes::new());
        }
        self.over = true;
        // A mark that is set from here on is behind all that is kept.
        self.tail.push(0);
    }

    /// Takes back all that was written since `len()` was `mark`.
    #[cold]
    pub fn rewind(&mut self, mark: usize) {
        if self.over && mark > self.chunk_bytes {
            return;
        }
        self.over = false;
        self.tail.truncate(mark.saturating_sub(self.chunk_bytes));
        while self.chunk_bytes > mark
            && let Some(last) = self.chunks.pop()
        {
            self.chunk_bytes -= last.len();
            if self.chunk_bytes < mark {
                let kept = last.slice(..mark - self.chunk_bytes);
                self.chunk_bytes = mark;
                self.chunks.push(kept);
            }
        }
    }

    /// Takes away all that was written since `len()` was `mark`.
    #[cold]
    pub fn split_off(&mut self, mark: usize) -> Output {
        let mut rest = Output::limited(self.allowed);
        if self.over && mark > self.chunk_bytes {
            return rest;
        }
        if self.over {
            self.tail.clear();
        }
        let (over, mut at) = (self.over, 0);
        for chunk in self.take() {
            let kept = mark.saturating_sub(at).min(chunk.len());
            at += chunk.len();
            self.append(chunk.slice(..kept));
            rest.append(chunk.slice(kept..));
        }
        if over {
            rest.cut();
        }
        rest
    }

    /// Gives all that was written, in order, and forgets it. A tail that does not fill half of its buffer is copied, so that the buffer stays.
    pub fn take(&mut self) -> Vec<Bytes> {
        self.seal();
        (self.chunk_bytes, self.over) = (0, false);
        std::mem::take(&mut self.chunks)
    }

    /// All that was written, in one piece.
    pub fn into_bytes(mut self) -> Bytes {
        if !self.is_chunked() {
            return Bytes::from(self.tail);
        }
        Bytes::from(self.take().concat())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::random::Random;

    fn contents(mut output: Output) -> Vec<u8> {
        output.take().concat()
    }

    /// Pieces of all sizes, whether they are copied or shared.
    fn write(output: &mut Output, number: u8, len: usize, kind: u64) {
        let bytes = vec![number; len];
        match kind {
            0 => output.append(bytes.into()),
            1 if len <= 100 => output.room(len).extend_from_slice(&bytes),
            2 => {
                let mut other = Output::limited(output.allowed());
                other.extend(&bytes[..len / 2]);
                other.append(Bytes::from(bytes).slice(len / 2..));
                output.append_all(other);
            }
            _ => output.extend(&bytes),
        }
    }

    #[test]
    fn it_holds_what_was_written_and_not_taken_back() {
        for seed in 0..400 {
            let random = &mut Random::new(seed);
            let (mut output, mut want, mut marks) = (Output::default(), Vec::new(), vec![0]);
            for number in 0..random.below(40) as u8 {
                let most = [10, 100, 20_000, 100_000][random.below(4) as usize];
                let len = random.below(most) as usize;
                write(&mut output, number, len, random.below(4));
                want.extend_from_slice(&vec![number; len]);
                assert_eq!(output.len(), want.len());
                if random.below(8) == 0 {
                    let mark = marks[random.below(marks.len() as u64) as usize];
                    let rest = output.split_off(mark);
                    assert_eq!((output.len(), rest.len()), (mark, want.len() - mark));
                    output.append_all(rest);
                }
                if random.below(8) == 0 {
                    let mark = marks[random.below(marks.len() as u64) as usize];
                    output.rewind(mark);
                    want.truncate(mark);
                    marks.retain(|earlier| *earlier <= mark);
                }
                marks.push(output.len());
            }
            assert!(!output.is_over());
            assert!(contents(output) == want, "seed {seed}");
        }
    }

    #[test]
    fn it_never_holds_more_than_is_allowed_and_one_tail() {
        for seed in 0..400 {
            let random = &mut Random::new(seed);
            let allowed = random.below(200_000) as usize;
            let (mut output, mut asked) = (Output::limited(allowed), 0);
            for number in 0..30 {
                let most = [100, 20_000, 1_000_000][random.below(3) as usize];
                let len = random.below(most) as usize;
                write(&mut output, number, len, random.below(4));
                asked += len;
                assert!(output.len() <= allowed + 2 * TAIL_BYTES, "{} {allowed}", output.len());
            }
            assert!(output.is_over() || asked <= allowed + TAIL_BYTES, "{asked} {allowed}");
            assert!(!output.is_over() || asked > allowed);
            output.begin(usize::MAX);
            output.extend(b"x");
            assert_eq!((output.is_over(), output.len()), (false, 1));
        }
    }

    #[test]
    fn what_goes_over_the_limit_can_be_taken_back_but_not_a_part_of_it() {
        let mut output = Output::limited(100_000);
        output.extend(&[1; 50_000]);
        let mark = output.len();
        output.extend(&[2; 40_000]);
        output.extend(&[3; 40_000]);
        assert!(output.is_over());
        let inside = output.len();
        output.extend(b"more");
        output.rewind(inside);
        assert!(output.is_over(), "what was cut off is not there");
        output.rewind(mark);
        assert!(!output.is_over());
        output.extend(b"end");
        assert!(contents(output) == [&[1; 50_000][..], b"end"].concat());
    }

    #[test]
    fn a_large_value_is_a_chunk_and_a_shared_one_is_not_copied() {
        let mut output = Output::default();
        output.extend(b"head");
        let shared = Bytes::from(vec![7; 100_000]);
        output.append(shared.clone());
        output.extend(b"end");
        let chunks = output.take();
        assert_eq!(chunks.iter().map(Bytes::len).collect::<Vec<_>>(), [4, 100_000, 3]);
        assert_eq!(chunks[1].as_ptr(), shared.as_ptr());
        assert!(output.is_empty());
    }
}
