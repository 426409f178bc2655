//! The bytes of a sketch, as Redis writes them.
//!
//! ```text
//! "HYLL"  encoding (0 dense, 1 sparse)  3 unused  8 cached estimate, little-endian, its highest bit set: not valid
//! dense:  16,384 registers of 6 bits, from the lowest bit of the first byte on
//! sparse: 00xxxxxx           x + 1 registers that are zero
//!         01xxxxxx yyyyyyyy  xy + 1 registers that are zero
//!         1vvvvvxx           x + 1 registers that have the value v + 1
//! ```
//!
//! A sparse sketch becomes dense where a value above 32 comes, or where it would become longer than `hll-sparse-max-bytes`. Nothing here trusts the bytes:
//! a sparse sketch that does not tell of exactly 16,384 registers is [`Corrupt`].

use super::estimate::Histogram;

pub const REGISTERS: usize = 1 << 14;
const HEADER: usize = 16;
const ENCODING: usize = 4;
const CACHE: std::ops::Range<usize> = 8..16;
const CACHE_INVALID: u8 = 0x80;
const REGISTER_BITS: usize = 6;
const REGISTER_MAX: u16 = 63;
const DENSE_BYTES: usize = HEADER + REGISTERS * REGISTER_BITS / 8;

const DENSE: u8 = 0;
const SPARSE: u8 = 1;

const ZERO_MAX: usize = 64;
const VALUE_MAX: u8 = 32;
const VALUE_RUN_MAX: usize = 4;
/// Opcodes that are looked at for a merge after a change.
const MERGE_STEPS: usize = 5;

/// The bytes do not tell of all registers.
#[derive(Debug, PartialEq, Eq)]
pub struct Corrupt;

/// One value for each register.
pub type Registers = [u8; REGISTERS];

/// Whether a string looks like a sketch.
pub fn check(bytes: &[u8]) -> bool {
    bytes.len() >= HEADER
        && bytes.starts_with(b"HYLL")
        && (bytes[ENCODING] == SPARSE || is_dense(bytes) && bytes.len() == DENSE_BYTES)
}

/// A sketch of nothing.
pub fn empty() -> Vec<u8> {
    let mut bytes = vec![0; HEADER];
    bytes[..ENCODING].copy_from_slice(b"HYLL");
    bytes[ENCODING] = SPARSE;
    push_zeros(&mut bytes, REGISTERS);
    bytes
}

pub fn is_dense(bytes: &[u8]) -> bool {
    bytes[ENCODING] == DENSE
}

/// The estimate that was made of the registers as they are, if there is one.
pub fn cached(bytes: &[u8]) -> Option<u64> {
    let mut cache = [0; 8];
    cache.copy_from_slice(&bytes[CACHE]);
    (cache[7] & CACHE_INVALID == 0).then_some(u64::from_le_bytes(cache))
}

pub fn set_cached(bytes: &mut [u8], estimate: u64) {
    bytes[CACHE].copy_from_slice(&estimate.to_le_bytes());
}

pub fn forget_cached(bytes: &mut [u8]) {
    bytes[CACHE.end - 1] |= CACHE_INVALID;
}

/// A run of registers that a sparse sketch tells of, and the bytes that do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    pub value: u8,
    pub len: usize,
    pub long: bool,
    at: usize,
}

impl Run {
    fn end(self) -> usize {
        self.at + 1 + usize::from(self.long)
    }
}

/// The runs of a sparse sketch. Of one that lacks its second byte this counts as zero, as in Redis.
pub fn runs(bytes: &[u8]) -> impl Iterator<Item = Run> + '_ {
    let mut at = HEADER;
    std::iter::from_fn(move || {
        let run = run_at(bytes, at)?;
        at = run.end();
        Some(run)
    })
}

fn run_at(bytes: &[u8], at: usize) -> Option<Run> {
    let first = *bytes.get(at)?;
    let low = usize::from(first & 0x3f);
    Some(match first >> 6 {
        0 => Run { value: 0, len: low + 1, long: false, at },
        1 => {
            let second = bytes.get(at + 1).copied().unwrap_or(0);
            Run { value: 0, len: (low << 8 | usize::from(second)) + 1, long: true, at }
        }
        _ => Run { value: (first >> 2 & 0x1f) + 1, len: usize::from(first & 3) + 1, long: false, at },
    })
}

fn value_opcode(value: u8, len: usize) -> u8 {
    0x80 | (value - 1) << 2 | (len - 1) as u8
}

fn push_zeros(out: &mut Vec<u8>, len: usize) {
    let coded = len - 1;
    if len > ZERO_MAX {
        out.extend([0x40 | (coded >> 8) as u8, coded as u8]);
    } else {
        out.push(coded as u8);
    }
}

fn push_run(out: &mut Vec<u8>, value: u8, len: usize) {
    match (value, len) {
        (_, 0) => {}
        (0, len) => push_zeros(out, len),
        (value, len) => out.push(value_opcode(value, len)),
    }
}

/// Where a register lies in the dense registers: the byte, and the bit in it.
fn place(register: usize) -> (usize, usize) {
    (register * REGISTER_BITS / 8, register * REGISTER_BITS % 8)
}

fn dense_pair(registers: &[u8], byte: usize) -> u16 {
    u16::from(registers[byte]) | u16::from(registers.get(byte + 1).copied().unwrap_or(0)) << 8
}

fn dense_get(registers: &[u8], register: usize) -> u8 {
    let (byte, bit) = place(register);
    (dense_pair(registers, byte) >> bit & REGISTER_MAX) as u8
}

fn dense_set(registers: &mut [u8], register: usize, value: u8) {
    let (byte, bit) = place(register);
    let changed =
        dense_pair(registers, byte) & !(REGISTER_MAX << bit) | (u16::from(value) & REGISTER_MAX) << bit;
    registers[byte] = changed as u8;
    if let Some(second) = registers.get_mut(byte + 1) {
        *second = (changed >> 8) as u8;
    }
}

/// What a register of a dense sketch holds.
pub fn dense_register(bytes: &[u8], register: usize) -> u8 {
    dense_get(&bytes[HEADER..], register)
}

/// Raises a register of a dense sketch; says whether it was lower.
pub fn raise_dense(bytes: &mut [u8], register: usize, value: u8) -> bool {
    let registers = &mut bytes[HEADER..];
    let raises = value > dense_get(registers, register);
    if raises {
        dense_set(registers, register, value);
    }
    raises
}

/// Raises a register; says whether it was lower. `sparse_max` is `hll-sparse-max-bytes`.
///
/// # Errors
/// If the sketch is damaged; then it is unchanged.
pub fn raise(bytes: &mut Vec<u8>, register: usize, value: u8, sparse_max: usize) -> Result<bool, Corrupt> {
    if is_dense(bytes) {
        return Ok(raise_dense(bytes, register, value));
    }
    if value > VALUE_MAX {
        return promote(bytes, register, value);
    }
    let (run, first, before) = find_run(bytes, register)?;
    if run.value >= value {
        return Ok(false);
    }
    let mut opcodes = Vec::with_capacity(5);
    push_run(&mut opcodes, run.value, register - first);
    opcodes.push(value_opcode(value, 1));
    push_run(&mut opcodes, run.value, first + run.len - 1 - register);
    let grown = bytes.len() + opcodes.len() - (run.end() - run.at);
    if grown > bytes.len() && grown > sparse_max {
        return promote(bytes, register, value);
    }
    bytes.splice(run.at..run.end(), opcodes);
    merge(bytes, before);
    forget_cached(bytes);
    Ok(true)
}

/// The run that a register is in, the first register of that run, and where the opcode before it begins, or else the first.
fn find_run(bytes: &[u8], register: usize) -> Result<(Run, usize, usize), Corrupt> {
    let (mut first, mut before) = (0, HEADER);
    for run in runs(bytes) {
        if register < first + run.len {
            return if run.end() <= bytes.len() { Ok((run, first, before)) } else { Err(Corrupt) };
        }
        first += run.len;
        before = run.at;
    }
    Err(Corrupt)
}

/// Joins neighbours of one value, from the opcode at `at` on.
fn merge(bytes: &mut Vec<u8>, mut at: usize) {
    for _ in 0..MERGE_STEPS {
        let Some(run) = run_at(bytes, at) else { return };
        let next = run_at(bytes, run.end()).filter(|next| run.value != 0 && next.value == run.value);
        match next {
            Some(next) if run.len + next.len <= VALUE_RUN_MAX => {
                bytes[next.at] = value_opcode(run.value, run.len + next.len);
                bytes.remove(run.at);
            }
            _ => at = run.end(),
        }
    }
}

fn promote(bytes: &mut Vec<u8>, register: usize, value: u8) -> Result<bool, Corrupt> {
    *bytes = to_dense(bytes)?;
    Ok(raise_dense(bytes, register, value))
}

/// The same sketch in dense form.
///
/// # Errors
/// If it is damaged.
pub fn to_dense(bytes: &[u8]) -> Result<Vec<u8>, Corrupt> {
    if is_dense(bytes) {
        return Ok(bytes.to_vec());
    }
    let mut dense = vec![0; DENSE_BYTES];
    dense[..HEADER].copy_from_slice(&bytes[..HEADER]);
    dense[ENCODING] = DENSE;
    each_value(bytes, |register, value| dense_set(&mut dense[HEADER..], register, value))?;
    Ok(dense)
}

/// Calls `visit` for each register of a sparse sketch that is not zero.
fn each_value(bytes: &[u8], mut visit: impl FnMut(usize, u8)) -> Result<(), Corrupt> {
    let mut register = 0usize;
    for run in runs(bytes) {
        let end = register + run.len;
        if end > REGISTERS {
            return Err(Corrupt);
        }
        if run.value != 0 {
            (register..end).for_each(|register| visit(register, run.value));
        }
        register = end;
    }
    if register == REGISTERS { Ok(()) } else { Err(Corrupt) }
}

/// The registers of a dense sketch, four in three bytes.
fn dense_values(bytes: &[u8]) -> impl Iterator<Item = u8> + '_ {
    let (threes, _) = bytes[HEADER..].as_chunks::<3>();
    threes.iter().flat_map(|[a, b, c]| {
        let four = u32::from(*a) | u32::from(*b) << 8 | u32::from(*c) << 16;
        [0, 6, 12, 18].map(|shift| (four >> shift) as u8 & REGISTER_MAX as u8)
    })
}

/// How many registers have each value.
///
/// # Errors
/// If the sketch is damaged.
pub fn histogram(bytes: &[u8]) -> Result<Histogram, Corrupt> {
    let mut histogram = [0; 64];
    if is_dense(bytes) {
        dense_values(bytes).for_each(|value| histogram[usize::from(value)] += 1);
        return Ok(histogram);
    }
    let mut covered = 0;
    for run in runs(bytes) {
        covered += run.len;
        if covered > REGISTERS {
            return Err(Corrupt);
        }
        histogram[usize::from(run.value)] += run.len as u32;
    }
    if covered == REGISTERS { Ok(histogram) } else { Err(Corrupt) }
}

/// How many of these registers have each value.
pub fn histogram_of(registers: &Registers) -> Histogram {
    let mut histogram = [0; 64];
    registers.iter().for_each(|value| histogram[usize::from(*value & REGISTER_MAX as u8)] += 1);
    histogram
}

/// Raises each register to what the sketch has.
///
/// # Errors
/// If the sketch is damaged.
pub fn merge_into(registers: &mut Registers, bytes: &[u8]) -> Result<(), Corrupt> {
    if is_dense(bytes) {
        registers.iter_mut().zip(dense_values(bytes)).for_each(|(most, value)| *most = value.max(*most));
        return Ok(());
    }
    each_value(bytes, |register, value| registers[register] = value.max(registers[register]))
}

#[cfg(test)]
#[path = "sketch_tests.rs"]
mod tests;
