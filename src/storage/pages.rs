//! Whole pages of a file, in memory that begins at a page: what can be written around the system's cache.

/// Bytes of a page, which offsets, lengths and memory of direct writes are multiples of. The sectors of disks and the pages of most
/// processors are not larger; where they are, a write of such pages goes through the cache or is slower.
pub const PAGE: usize = 4096;

/// The offset at which the page of this byte begins.
pub fn page_start(offset: u64) -> u64 {
    offset - offset % PAGE as u64
}

/// Whether bytes for this offset of a file are whole pages of it, and lie in memory as pages.
pub fn are_pages(offset: u64, bytes: &[u8]) -> bool {
    let page = PAGE as u64;
    offset.is_multiple_of(page)
        && bytes.len().is_multiple_of(PAGE)
        && bytes.as_ptr().addr().is_multiple_of(PAGE)
}

/// A buffer that begins at a page, and keeps its memory.
#[derive(Debug, Default)]
pub struct PageBuffer {
    /// Longer than what is asked for by up to a page.
    bytes: Vec<u8>,
}

impl PageBuffer {
    /// A buffer of this length. What is in it is what was there before, or anything.
    pub fn sized(&mut self, len: usize) -> &mut [u8] {
        if self.bytes.len() < len + PAGE {
            // What grows a little will grow again.
            let wanted = len + PAGE + len / 2;
            self.bytes = Vec::new();
            self.bytes = vec![0; wanted];
        }
        let start = self.start();
        &mut self.bytes[start..start + len]
    }

    /// The first bytes of the buffer, at most as many as were asked for last.
    pub fn first(&self, len: usize) -> &[u8] {
        let start = self.start();
        &self.bytes[start..start + len]
    }

    /// How much memory it keeps.
    pub fn kept(&self) -> usize {
        self.bytes.len()
    }

    fn start(&self) -> usize {
        PAGE - self.bytes.as_ptr().addr() % PAGE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_buffer_begins_at_a_page_whatever_its_size() {
        let mut buffer = PageBuffer::default();
        for len in [1, PAGE, 3, 10 * PAGE + 1, 1 << 20, PAGE] {
            let bytes = buffer.sized(len);
            assert_eq!(bytes.len(), len);
            bytes.fill(7);
            let first = buffer.first(len);
            assert!(first.iter().all(|byte| *byte == 7) && first.as_ptr().addr().is_multiple_of(PAGE));
            assert!(buffer.kept() <= (2 << 20), "{}", buffer.kept());
        }
    }

    #[test]
    fn pages_are_pages_in_the_file_and_in_memory() {
        let mut buffer = PageBuffer::default();
        let bytes = &*buffer.sized(3 * PAGE);
        assert!(are_pages(0, bytes) && are_pages(7 * PAGE as u64, &bytes[PAGE..]));
        assert!(!are_pages(512, bytes) && !are_pages(0, &bytes[1..]) && !are_pages(0, &bytes[..PAGE + 1]));
        assert!(!are_pages(0, &bytes[512..512 + PAGE]), "a page of the file, and none in memory");
        assert_eq!(
            (page_start(0), page_start(4095), page_start(4096), page_start(10_000)),
            (0, 0, 4096, 8192)
        );
    }
}
