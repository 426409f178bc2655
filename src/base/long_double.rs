//! The arithmetic of INCRBYFLOAT and HINCRBYFLOAT: the 80-bit extended precision numbers of x87, which Redis uses on
//! its main platform as C's `long double`. Counters of clients must not change in the last digit when they move here,
//! so reading, adding and printing round as there.
//!
//! A number has a sign, a 64-bit significand without hidden bit, and an exponent: `significand * 2^exponent`.
//! Sums are exact and then rounded to the nearest such number, ties to even. Printing works on integers alone, so each
//! digit it shows is right.

use crate::base::number::{FloatText, Magnitude};
use rustc_apfloat::{Float, Round, Status, ieee::X87DoubleExtended};
use std::{borrow::Cow, ops::Add};

/// Significant digits that are read exactly. The conversion takes time with the square of their number, tens of
/// milliseconds for the longest text; so of what follows only matters whether it is zero.
const EXACT_DIGITS: usize = 800;

/// Texts of this many bytes and more are not read as numbers (the size of the buffer that Redis copies them to).
const TEXT_SIZE: usize = 5 * 1024;

/// Decimals that are printed.
const DECIMALS: usize = 17;

/// 10 to the power of [`DECIMALS`].
const DECIMAL_SCALE: u64 = 100_000_000_000_000_000;

/// Added to the exponent of a number as it is stored, with the 63 bits of its significand behind the point.
const EXPONENT_BIAS: i32 = 16383 + 63;

/// An 80-bit extended precision number. It is never NaN unless a sum makes it so.
#[derive(Clone, Copy, Debug)]
pub struct LongDouble {
    value: X87DoubleExtended,
}

impl LongDouble {
    /// Reads a number as C's `strtold` does: decimal or hexadecimal with optional sign and exponent, or infinity.
    ///
    /// Nothing for: empty text, 5,120 bytes or more, spaces anywhere, trailing bytes, NaN, a number beyond the range,
    /// and a number other than zero that is so small that it would become zero.
    pub fn parse(text: &[u8]) -> Option<Self> {
        if text.len() >= TEXT_SIZE {
            return None;
        }
        let FloatText { negative, magnitude } = FloatText::scan(text)?;
        let value = match magnitude {
            Magnitude::Infinity => X87DoubleExtended::INFINITY,
            Magnitude::Decimal { is_zero: true, .. } => X87DoubleExtended::ZERO,
            Magnitude::Decimal { text, .. } => {
                let rounded = X87DoubleExtended::from_str_r(&shorten(text), Round::NearestTiesToEven).ok()?;
                if rounded.status.intersects(Status::OVERFLOW) || rounded.value.is_zero() {
                    return None;
                }
                rounded.value
            }
            Magnitude::Hexadecimal(hexadecimal) => hexadecimal.round()?,
        };
        Some(LongDouble { value: if negative { -value } else { value } })
    }

    /// Neither infinity nor NaN.
    pub fn is_finite(self) -> bool {
        self.value.is_finite()
    }

    /// Prints in fixed notation with up to 17 decimals, rounded half to even, without trailing zeros; a result of
    /// minus zero is `0`. At most 4,934 bytes. `inf`, `-inf` and `nan` for what is not finite.
    pub fn format(self) -> String {
        if self.value.is_nan() {
            return "nan".to_owned();
        }
        let magnitude = if self.value.is_infinite() { "inf".to_owned() } else { self.format_magnitude() };
        if self.value.is_negative() && magnitude != "0" { format!("-{magnitude}") } else { magnitude }
    }

    fn format_magnitude(self) -> String {
        let bits = self.value.to_bits();
        // The low 64 bits are the significand, the 15 above it the exponent.
        let significand = bits as u64;
        let stored_exponent = (bits >> 64) as i32 & 0x7fff;
        // Subnormal numbers store 0 and mean 1.
        let exponent = stored_exponent.max(1) - EXPONENT_BIAS;
        match exponent {
            0.. => integer_text(significand, exponent.unsigned_abs()),
            _ => decimal_text(significand, exponent.unsigned_abs()),
        }
    }
}

impl Add for LongDouble {
    type Output = Self;

    /// The sum, rounded to the nearest number. Infinity when it is too large; NaN for infinity minus infinity.
    fn add(self, other: Self) -> Self {
        LongDouble { value: (self.value + other.value).value }
    }
}

/// Cuts a decimal number down to [`EXACT_DIGITS`] and one digit more, which is 1 if anything but zeros was cut off. It
/// still rounds as the whole does, unless the whole agrees with the middle between two numbers in all these digits.
fn shorten(text: &str) -> Cow<'_, str> {
    let (digits, exponent) = text.split_at(text.find(['e', 'E']).unwrap_or(text.len()));
    let leading = digits.bytes().take_while(|byte| matches!(byte, b'0' | b'.')).count();
    let Some((kept, cut)) = digits.split_at_checked(leading + EXACT_DIGITS) else {
        return Cow::Borrowed(text);
    };
    let more = if cut.bytes().any(|byte| !matches!(byte, b'0' | b'.')) { "1" } else { "0" };
    // Digits before the point leave their places behind.
    let places = if kept.contains('.') { 0 } else { cut.find('.').unwrap_or(cut.len()) };
    let shortened = match places {
        0 if kept.contains('.') => format!("{kept}{more}"),
        0 => format!("{kept}.{more}"),
        _ => format!("{kept}{more}{zeros}", zeros = "0".repeat(places - 1)),
    };
    Cow::Owned(shortened + exponent)
}

/// Prints `significand / 2^down`. The number in units of the last decimal fits in 121 bits.
fn decimal_text(significand: u64, down: u32) -> String {
    let scaled = u128::from(significand) * u128::from(DECIMAL_SCALE);
    let floor = scaled.unbounded_shr(down);
    let lost = scaled ^ floor.unbounded_shl(down);
    // Beyond 128 bits all that is lost is less than a half.
    let half = 1u128.unbounded_shl(down - 1);
    let round_up = half != 0 && (lost > half || lost == half && floor % 2 == 1);
    let units = floor + u128::from(round_up);
    let scale = u128::from(DECIMAL_SCALE);
    let text = format!("{}.{:0decimals$}", units / scale, units % scale, decimals = DECIMALS);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// Prints `significand * 2^up`.
fn integer_text(significand: u64, up: u32) -> String {
    const CHUNK: u64 = 1_000_000_000;
    // Little-endian limbs; each division by 10^9 yields nine digits and shortens the number.
    let mut limbs = vec![0u32; up as usize / 32];
    let shifted = u128::from(significand) << (up % 32);
    limbs.extend([shifted as u32, (shifted >> 32) as u32, (shifted >> 64) as u32]);
    let mut chunks = Vec::new();
    loop {
        while limbs.last() == Some(&0) {
            limbs.pop();
        }
        if limbs.is_empty() {
            break;
        }
        let remainder = limbs.iter_mut().rev().fold(0, |remainder, limb| {
            let value = remainder << 32 | u64::from(*limb);
            *limb = (value / CHUNK) as u32;
            value % CHUNK
        });
        chunks.push(remainder);
    }
    let Some(first) = chunks.pop() else { return "0".to_owned() };
    chunks.iter().rev().fold(first.to_string(), |text, chunk| text + &format!("{chunk:09}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(value: &str, increment: &str) -> Option<String> {
        let sum = LongDouble::parse(value.as_bytes())? + LongDouble::parse(increment.as_bytes())?;
        Some(sum.format())
    }

    #[test]
    fn sums_that_redis_answers() {
        for (value, increment, expected) in SUM_FACTS {
            assert_eq!(sum(value, increment).as_deref(), Some(*expected), "{value} + {increment}");
        }
    }

    #[test]
    fn the_largest_number_has_all_its_digits() {
        let text = sum("1.189731495357231765e+4932", "0").expect("in range");
        assert_eq!(text.len(), 4933);
        assert!(text.starts_with("118973149535723176502126385303"), "{text}");
        assert!(text.ends_with("19552086811989770240"), "{text}");
    }

    #[test]
    fn sums_out_of_range_are_not_finite() {
        let parse = |text: &str| LongDouble::parse(text.as_bytes()).expect("a number");
        let largest = parse("1.189731495357231765e+4932");
        assert!(largest.is_finite());
        assert!(!(largest + largest).is_finite());
        assert_eq!((largest + largest).format(), "inf");
        assert_eq!(parse("-inf").format(), "-inf");
        let undefined = parse("inf") + parse("-inf");
        assert!(!undefined.is_finite());
        assert_eq!(undefined.format(), "nan");
    }

    #[test]
    fn half_of_the_last_decimal_rounds_to_even() {
        // 2^-18 has 18 decimals and ends in 5.
        assert_eq!(sum("0x1p-18", "0").as_deref(), Some("0.00000381469726562"));
        assert_eq!(sum("0x3p-18", "0").as_deref(), Some("0.00001144409179688"));
        // Here more than 64 bits are shifted out.
        assert_eq!(sum("0x1p-57", "0").as_deref(), Some("0.00000000000000001"));
        assert_eq!(sum("0x1p-58", "0").as_deref(), Some("0"));
    }

    #[test]
    fn reading_rounds_ties_to_even() {
        // Between 2^64 and 2^65 only even integers are numbers.
        assert_eq!(sum("18446744073709551617", "0").as_deref(), Some("18446744073709551616"));
        assert_eq!(sum("18446744073709551619", "0").as_deref(), Some("18446744073709551620"));
        let a_little_more = format!("18446744073709551617.{}1", "0".repeat(5000));
        assert_eq!(sum(&a_little_more, "0").as_deref(), Some("18446744073709551618"));
    }

    #[test]
    fn long_numbers_are_shortened_in_place() {
        let digits = "7".repeat(EXACT_DIGITS);
        assert_eq!(shorten("0.001e5"), "0.001e5");
        assert_eq!(shorten(&digits), format!("{digits}.0"));
        assert_eq!(shorten(&format!("{digits}.001e-9")), format!("{digits}.1e-9"));
        assert_eq!(shorten(&format!("{digits}000.5")), format!("{digits}100"));
        assert_eq!(shorten(&format!("{digits}000E7")), format!("{digits}000E7"));
        assert_eq!(shorten(&format!("0.00{digits}7003")), format!("0.00{digits}1"));
    }

    #[test]
    fn what_is_no_number() {
        let rejected: &[&str] = &[
            "",
            " 1",
            "1 ",
            "1\0",
            "nan",
            "-nan",
            "1e",
            "0x",
            "1e5000",
            "-1e5000",
            "1e-5000",
            "1e99999999999",
            "1e-99999999999",
            "0x1p16384",
            "0x1p-16447",
            "1,5",
            "abc",
        ];
        for text in rejected {
            assert!(LongDouble::parse(text.as_bytes()).is_none(), "{text:?}");
        }
        for text in ["1e4932", "3.7e-4951", "0x1p16383", "0x1p-16445", "0e99999", "+inf", "Infinity", "00001"]
        {
            assert!(LongDouble::parse(text.as_bytes()).is_some(), "{text:?}");
        }
    }

    #[test]
    fn the_length_of_a_text_is_bounded() {
        assert!(LongDouble::parse(&[b'1'; 4900]).is_some());
        assert!(LongDouble::parse(&[b'0'; 5119]).is_some());
        assert!(LongDouble::parse(&[b'0'; 5120]).is_none());
        let long_fraction = format!("0.{}", "3".repeat(5000));
        assert_eq!(sum(&long_fraction, "0").as_deref(), Some("0.33333333333333333"));
    }

    /// Value, increment, and what INCRBYFLOAT of redis-server 7.0.15 answers.
    const SUM_FACTS: &[(&str, &str, &str)] = &[
        ("0", "0.1", "0.1"),
        ("3.0", "1.1", "4.1"),
        ("10.50", "0.1", "10.6"),
        ("5.0e3", "2.0e2", "5200"),
        ("0.1", "0.2", "0.3"),
        ("1", "-1", "0"),
        ("-0", "-0", "0"),
        ("0", "-0.000000000000000001", "0"),
        ("1.1", "-1.1", "0"),
        ("9223372036854775807", "1", "9223372036854775808"),
        ("18446744073709551615", "1", "18446744073709551616"),
        ("18446744073709551616", "1", "18446744073709551616"),
        ("1e18", "0.1", "1000000000000000000.125"),
        ("1e19", "0.5", "10000000000000000000"),
        ("1e30", "1", "1000000000000000000024696061952"),
        (
            "1e100",
            "-1e99",
            "9000000000000000000081845696999446066712786521522115007797847473329187802778874503254209799309492224",
        ),
        ("0.333333333333333333333", "0", "0.33333333333333333"),
        ("3.14159265358979323846", "0", "3.14159265358979324"),
        ("1e-17", "0", "0.00000000000000001"),
        ("5e-18", "0", "0"),
        ("5.0000000000000000001e-18", "0", "0"),
        ("-4e-18", "0", "0"),
        ("0x1p3", "0x.8", "8.5"),
        ("-0x1.8p-1", "0", "-0.75"),
        ("1e-4940", "1e-4940", "0"),
        ("123456789.123456789", "987654321.987654321", "1111111111.11111110995989293"),
        ("17", "0.00000000000000001", "17.00000000000000001"),
        ("1000000", "1e-15", "1000000"),
        ("0.5", "0.25", "0.75"),
        ("100", "0", "100"),
        ("+1", ".5", "1.5"),
        ("1.", "007", "8"),
        ("0x1p-18", "0", "0.00000381469726562"),
        ("0x3p-18", "0", "0.00001144409179688"),
        ("0x1p-57", "0", "0.00000000000000001"),
        ("0x1p-58", "0", "0"),
        ("0x1p64", "0", "18446744073709551616"),
        ("0x1.0000000000000003p63", "0", "9223372036854775810"),
        ("1.189731495357231765e+4932", "-1.189731495357231765e+4932", "0"),
    ];
}
