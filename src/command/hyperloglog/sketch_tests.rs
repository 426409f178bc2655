//! Sketches against plain arrays of registers, and damaged ones.

use super::super::estimate::estimate;
use super::super::hash::register_of;
use super::*;
use crate::base::random::Random;

const SPARSE_MAX: usize = 3000;

fn registers(bytes: &[u8]) -> Registers {
    let mut registers = [0; REGISTERS];
    merge_into(&mut registers, bytes).expect("a whole sketch");
    registers
}

/// Where the test of a change of form lies: both forms are met.
#[test]
fn a_sketch_holds_the_highest_run_of_each_register_in_either_form() {
    for sparse_max in [0, 100, SPARSE_MAX, 20_000] {
        let (mut sketch, mut want) = (empty(), [0; REGISTERS]);
        for element in 0..20_000u32 {
            let (register, value) = register_of(&element.to_le_bytes());
            let raises = value > want[register];
            want[register] = want[register].max(value);
            assert_eq!(raise(&mut sketch, register, value, sparse_max), Ok(raises), "element {element}");
            if element % 997 == 0 {
                assert!(registers(&sketch) == want, "after {element}");
                assert_eq!(histogram(&sketch), Ok(histogram_of(&want)));
                let dense = to_dense(&sketch).expect("a whole sketch");
                assert!(registers(&dense) == want && check(&dense));
            }
        }
        assert!(registers(&sketch) == want);
        assert!(check(&sketch));
    }
}

#[test]
fn estimates_are_near() {
    let mut sketch = empty();
    for count in 1..=100_000u64 {
        let (register, value) = register_of(&count.to_le_bytes());
        raise(&mut sketch, register, value, SPARSE_MAX).expect("a whole sketch");
        if [1, 10, 100, 1000, 10_000, 100_000].contains(&count) {
            let estimated = estimate(&histogram(&sketch).expect("a whole sketch"));
            let error = estimated.abs_diff(count) as f64 / count as f64;
            assert!(error < 0.05, "{estimated} for {count}");
        }
    }
}

/// Bytes are changed, cut and added at random: nothing panics, and what is refused is left as it was.
#[test]
fn damaged_sketches_are_refused_or_read_but_never_panic() {
    let random = &mut Random::new(4);
    let (mut refused, mut read) = (0, 0);
    for round in 0..4_000 {
        let mut sketch = empty();
        for _ in 0..random.below(300) {
            let (register, value) = register_of(&random.next_u64().to_le_bytes());
            raise(&mut sketch, register, value, SPARSE_MAX).expect("a whole sketch");
        }
        if round % 16 == 0 {
            sketch = to_dense(&sketch).expect("a whole sketch");
        }
        for _ in 0..1 + random.below(4) {
            let at = random.below(sketch.len() as u64) as usize;
            match random.below(4) {
                0 => sketch[at] = random.next_u64() as u8,
                1 => sketch[at] ^= 1 << random.below(8),
                2 if sketch.len() > 1 => drop(sketch.remove(at)),
                _ => sketch.insert(at, random.next_u64() as u8),
            }
        }
        if !check(&sketch) {
            continue;
        }
        let counted = histogram(&sketch).map(|histogram| estimate(&histogram));
        let merged = merge_into(&mut [0; REGISTERS], &sketch);
        assert_eq!(counted.is_err(), merged.is_err());
        assert_eq!(counted.is_err(), to_dense(&sketch).is_err());
        refused += usize::from(counted.is_err());
        read += usize::from(counted.is_ok());
        for _ in 0..20 {
            let before = sketch.clone();
            let (register, value) = (random.below(REGISTERS as u64) as usize, 1 + random.below(51) as u8);
            if raise(&mut sketch, register, value, SPARSE_MAX).is_err() {
                assert!(sketch == before);
            }
        }
    }
    assert!(refused > 500 && read > 100, "{refused} refused, {read} read");
}
