//! Intsets: sets of integers as a sorted array.
//!
//! ```text
//! bytes of each (4: 2, 4 or 8)  members (4)  { member }          little-endian, ascending
//! ```

use super::packed::{Cursor, Malformed};

/// The most members that Redis keeps in this form, unless it is told otherwise.
pub const MEMBERS_MAX: usize = 512;

/// Goes through the members. As in Redis, an intset without any is not one.
pub fn for_members(
    bytes: &[u8],
    mut each: impl FnMut(i64) -> Result<(), Malformed>,
) -> Result<(), Malformed> {
    const WRONG: Malformed = Malformed("an intset whose header does not fit");
    let mut rest = Cursor(bytes);
    let width = rest.array().map(u32::from_le_bytes).ok_or(WRONG)?;
    let count = rest.array().map(u32::from_le_bytes).ok_or(WRONG)?;
    let fits = matches!(width, 2 | 4 | 8) && u64::from(width) * u64::from(count) == rest.0.len() as u64;
    if !fits || count == 0 {
        return Err(WRONG);
    }
    let mut last = None;
    for member in rest.0.chunks_exact(width as usize) {
        // The sign comes from the highest of the bytes that are there.
        let mut wide = [0; 8];
        wide[8 - member.len()..].copy_from_slice(member);
        let member = i64::from_le_bytes(wide) >> (64 - 8 * width);
        if last.is_some_and(|last| last >= member) {
            return Err(Malformed("an intset whose members do not ascend"));
        }
        last = Some(member);
        each(member)?;
    }
    Ok(())
}

/// The intset of these members, of which no two are the same.
pub fn encode(mut members: Vec<i64>) -> Vec<u8> {
    members.sort_unstable();
    let ends = [members.first(), members.last()];
    let width = ends.into_iter().flatten().map(|member| width_of(*member)).max().unwrap_or(2);
    let mut bytes = Vec::with_capacity(8 + members.len() * width);
    bytes.extend_from_slice(&(width as u32).to_le_bytes());
    bytes.extend_from_slice(&(members.len() as u32).to_le_bytes());
    for member in members {
        bytes.extend_from_slice(&member.to_le_bytes()[..width]);
    }
    bytes
}

fn width_of(member: i64) -> usize {
    if i16::try_from(member).is_ok() {
        2
    } else if i32::try_from(member).is_ok() {
        4
    } else {
        8
    }
}
