//! Things that are found by a number, which stays theirs until they are removed.
//!
//! They lie in chunks, so that growing never moves what is there.

const CHUNK: usize = 1024;

/// See the module's text.
#[derive(Clone)]
pub struct Arena<T> {
    chunks: Vec<Vec<Option<T>>>,
    free: Vec<u32>,
    len: usize,
}

impl<T> Default for Arena<T> {
    fn default() -> Arena<T> {
        Arena { chunks: Vec::new(), free: Vec::new(), len: 0 }
    }
}

impl<T> Arena<T> {
    pub fn len(&self) -> usize {
        self.len
    }

    /// Gives a thing a number.
    pub fn add(&mut self, thing: T) -> u32 {
        self.len += 1;
        if let Some(number) = self.free.pop() {
            *self.slot(number) = Some(thing);
            return number;
        }
        let number = self.chunks.last().map_or(0, |last| (self.chunks.len() - 1) * CHUNK + last.len());
        match self.chunks.last_mut() {
            Some(last) if last.len() < CHUNK => last.push(Some(thing)),
            _ => self.chunks.push(vec![Some(thing)]),
        }
        u32::try_from(number).expect("a tree has fewer nodes than records")
    }

    fn slot(&mut self, number: u32) -> &mut Option<T> {
        &mut self.chunks[number as usize / CHUNK][number as usize % CHUNK]
    }

    /// Numbers are less than this.
    pub fn slots(&self) -> u32 {
        self.chunks.last().map_or(0, |last| ((self.chunks.len() - 1) * CHUNK + last.len()) as u32)
    }

    /// The thing with a number, if there is one.
    pub fn get(&self, number: u32) -> Option<&T> {
        self.chunks.get(number as usize / CHUNK)?.get(number as usize % CHUNK)?.as_ref()
    }

    pub fn at(&self, number: u32) -> &T {
        let slot = &self.chunks[number as usize / CHUNK][number as usize % CHUNK];
        slot.as_ref().expect("a number is used only while its thing is there")
    }

    pub fn at_mut(&mut self, number: u32) -> &mut T {
        self.slot(number).as_mut().expect("as in `at`")
    }

    /// Takes a thing out; its number may be another's from now on.
    pub fn remove(&mut self, number: u32) -> T {
        let thing = self.slot(number).take().expect("as in `at`");
        self.free.push(number);
        self.len -= 1;
        thing
    }

    /// Other things under the same numbers.
    pub fn map(&self, make: impl Fn(&T) -> T) -> Arena<T> {
        let made = |chunk: &Vec<Option<T>>| chunk.iter().map(|slot| slot.as_ref().map(&make)).collect();
        Arena { chunks: self.chunks.iter().map(made).collect(), free: self.free.clone(), len: self.len }
    }

    /// All things, in no order.
    pub fn iter(&self) -> impl Iterator<Item = &T> {
        self.chunks.iter().flatten().flatten()
    }

    /// Bytes that are set aside for numbers and things.
    pub fn owned_bytes(&self) -> usize {
        let slots: usize = self.chunks.iter().map(|chunk| chunk.capacity() * size_of::<Option<T>>()).sum();
        slots + self.chunks.capacity() * size_of::<Vec<T>>() + self.free.capacity() * size_of::<u32>()
    }
}
