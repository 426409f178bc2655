//! The index of a snapshot: where its blocks are and how many entries each database and shard has. Parts, so that it has no longest length.
//!
//! What it says is believed by those who make room for entries, so it must add up, and it may not say more than the file has bytes for: a part is
//! not compressed (in version 1 the whole is one block of at most 64 MB, which may be).

use std::io;

use serde::{Deserialize, Serialize};

use super::blocks::{BlockHeader, BlockKind, HEADER_LEN, Opener};
use super::damage::Damage;
use super::disk::DiskFile;
use super::encoding::{decode, encode};
use super::format::Format;
use super::keys::FileKey;
use super::snapshot_entry::ENTRY_LEN_MIN;
use super::snapshot_file::{IndexedBlock, ShardCount, Trailer};

/// The body of an index block.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct IndexPart {
    /// In the order of their numbers; threads that write at the same time may place them in another.
    pub blocks: Vec<IndexedBlock>,
    /// Ordered by database and shard.
    pub counts: Vec<ShardCount>,
}

impl IndexPart {
    /// Blocks or counts in a part, at most: some 500 KB.
    pub const LEN_MAX: usize = 1 << 15;

    /// The part as a body.
    ///
    /// # Errors
    /// If it is too long, which parts of at most [`IndexPart::LEN_MAX`] are not.
    pub fn encode(&self) -> io::Result<Vec<u8>> {
        let mut raw = Vec::new();
        encode(self, &mut raw).map_err(io::Error::other)?;
        Ok(raw)
    }
}

/// All parts of an index.
pub type Index = IndexPart;

/// Reads the index that the trailer tells of, which lies in the file.
///
/// # Errors
/// Damage, or what the disk says.
pub fn read_index(
    file: &dyn DiskFile,
    path: &str,
    trailer: Trailer,
    seal: (Format, Option<&FileKey>),
) -> Result<Index, Damage> {
    let (mut at, end) = (trailer.index_offset, trailer.index_offset + trailer.index_len);
    let mut opener = Opener::new().map_err(|error| Damage::unreadable(path, at, error))?;
    let (mut index, mut first) = (Index::default(), None);
    let mut parts = 0;
    while at < end {
        let header = read_block_header(file, path, at, seal.0)?;
        let wrong = |what: &str| Damage::wrong(path, at, what);
        let len = header.len_with_header();
        if len > end - at {
            return Err(wrong("the index ends inside a block"));
        }
        let expected = first.get_or_insert(header.sequence).checked_add(parts);
        if header.kind != BlockKind::SnapshotIndex || Some(header.sequence) != expected {
            return Err(wrong("the block is not the index of this file"));
        }
        if seal.0 != Format::One && header.is_compressed() || seal.0 == Format::One && len != end - at {
            return Err(wrong("the index is not made as one of its version is"));
        }
        let body = opener.open_at(file, (at, len as usize), seal, |_| Ok(()));
        let body = body.map_err(|problem| Damage::new(path, at, problem))?;
        let part: IndexPart =
            decode(body).map_err(|what| wrong(&format!("the index cannot be read: {what}")))?;
        index.blocks.extend(part.blocks);
        index.counts.extend(part.counts);
        (at, parts) = (at + len, parts + 1);
    }
    if first != Some(index.blocks.len() as u64 + 1) {
        return Err(Damage::wrong(path, trailer.index_offset, "the index is not the one of this file"));
    }
    Ok(index)
}

fn read_block_header(
    file: &dyn DiskFile,
    path: &str,
    at: u64,
    format: Format,
) -> Result<BlockHeader, Damage> {
    let mut bytes = [0; HEADER_LEN];
    file.read_exact_at(at, &mut bytes).map_err(|error| Damage::unreadable(path, at, error))?;
    BlockHeader::read(&bytes, format).map_err(|what| Damage::wrong(path, at, what))
}

impl Index {
    /// The blocks fill the file from the header to the index, and the counts add up.
    ///
    /// # Errors
    /// What does not.
    pub fn check(&self, header_end: u64, index_offset: u64) -> Result<(), &'static str> {
        let mut places: Vec<(u64, u32)> =
            self.blocks.iter().map(|block| (block.offset, block.stored_len)).collect();
        places.sort_unstable();
        let mut end = header_end;
        for (offset, len) in places {
            if offset != end || (len as usize) < HEADER_LEN {
                return Err("the index has a gap between two blocks");
            }
            end = end.checked_add(u64::from(len)).ok_or("the index has a block beyond all bounds")?;
        }
        if self.blocks.iter().any(|block| u64::from(block.entries) * ENTRY_LEN_MIN > u64::from(block.raw_len))
        {
            return Err("the index has a block with more entries than its bytes can hold");
        }
        if end != index_offset {
            return Err("the last block does not end where the index begins");
        }
        let in_blocks: u64 = self.blocks.iter().map(|block| u64::from(block.entries)).sum();
        let in_shards = self.counts.iter().try_fold(0u64, |sum, count| sum.checked_add(count.entries));
        let place = |count: &ShardCount| (count.database, count.shard);
        let ordered = self.counts.is_sorted_by(|left, right| place(left) < place(right));
        // What is sized by these counts must not be larger than what the file holds.
        if in_shards == Some(in_blocks) && ordered {
            Ok(())
        } else {
            Err("the counts of the index do not add up")
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_index_does_not_claim_more_entries_than_there_is_room_for() {
        let index = |raw_len, entries| Index {
            blocks: vec![IndexedBlock { offset: 100, stored_len: 40, raw_len, entries }],
            counts: vec![ShardCount { database: 0, shard: 0, entries: u64::from(entries) }],
        };
        assert_eq!(index(60, 10).check(100, 140), Ok(()));
        assert!(index(60, 11).check(100, 140).is_err());
        assert!(index(u32::MAX, u32::MAX).check(100, 140).is_err());
    }
}
