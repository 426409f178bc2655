//! Active expiry: handling what the wheels of one shard find due.

use super::partition::Due;
use super::{Entry, Keyspace, Site};

/// What one visit did.
#[derive(Default, Clone, Copy)]
pub struct ExpireProgress {
    /// The budget ran out; more is due.
    pub backlog: bool,
    /// How far behind the slowest wheel of the shard is, in milliseconds.
    pub lag_ms: i64,
}

/// Lets the wheels of one shard catch up with `now_ms`, spending at most `budget` record visits. Each expired entry is
/// removed and given to `expired` with its database while the shard is locked: `expired` must be short and may not lock
/// another shard.
pub fn expire_shard(
    keyspace: &Keyspace,
    shard: usize,
    now_ms: i64,
    budget: &mut usize,
    mut expired: impl FnMut(usize, Entry),
) -> ExpireProgress {
    let mut guard = keyspace.lock_shard(shard);
    let mut progress = ExpireProgress::default();
    keyspace.clear_due(shard);
    for database in 0..keyspace.databases() {
        let site = Site { keyspace, database, shard, now_ms };
        let (partition, watched) = guard.split(database);
        if partition.records() == 0 {
            continue;
        }
        loop {
            match partition.next_due(site, budget) {
                Due::Nothing => break,
                Due::Handled => {}
                Due::Expired(position) => {
                    let entry = partition.remove(site, position);
                    watched.touch(database, entry.view().key());
                    expired(database, entry);
                }
            }
        }
        partition.sweep_stale_records();
        if let Some(tick) = partition.next_tick() {
            keyspace.note_due(shard, tick);
        }
        progress.lag_ms = progress.lag_ms.max(partition.lag_ms(site));
    }
    progress.backlog = *budget == 0;
    progress
}
