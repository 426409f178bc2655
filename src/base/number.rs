//! How numbers are read from requests and printed into replies.
//!
//! Integers have exactly one spelling: what the server prints is what it reads, so a value such as `007` stays a
//! string. Floating point numbers are read as the C function `strtod` reads them, which is what Redis documents by
//! using it; printing gives the shortest digits that read back to the same number.
//!
//! Nothing here allocates except for hexadecimal floating point input, and no input of any length or content panics.

use rustc_apfloat::{Float, ieee::Double};
use std::io::Write;

/// Reads a decimal integer: an optional `-`, then digits without a leading zero. No `+`, no spaces, no `-0`.
pub fn parse_i64(text: &[u8]) -> Option<i64> {
    match text {
        [b'-', digits @ ..] => match parse_u64(digits)? {
            0 => None,
            magnitude => 0i64.checked_sub_unsigned(magnitude),
        },
        digits => i64::try_from(parse_u64(digits)?).ok(),
    }
}

/// Reads a decimal integer without sign, under the rules of [`parse_i64`].
pub fn parse_u64(text: &[u8]) -> Option<u64> {
    if text.first() == Some(&b'0') {
        return (text.len() == 1).then_some(0);
    }
    if text.is_empty() || text.len() > 20 {
        return None;
    }
    let mut value: u64 = 0;
    for byte in text {
        let digit = byte.wrapping_sub(b'0');
        if digit > 9 {
            return None;
        }
        value = value.checked_mul(10)?.checked_add(u64::from(digit))?;
    }
    Some(value)
}

/// Reads a double: decimal or hexadecimal with optional sign and exponent, or `inf` / `infinity` in any case.
///
/// Nothing for: empty text, spaces anywhere, trailing bytes, NaN, a number that is too large for a double, and a
/// number other than zero that is so small that it would become zero.
pub fn parse_f64(text: &[u8]) -> Option<f64> {
    let FloatText { negative, magnitude } = FloatText::scan(text)?;
    let value = match magnitude {
        Magnitude::Infinity => f64::INFINITY,
        Magnitude::Decimal { text, is_zero } => {
            let value = text.parse::<f64>().ok()?;
            if value.is_infinite() || (value == 0.0 && !is_zero) {
                return None;
            }
            value
        }
        // The bits of a double fit in 64.
        Magnitude::Hexadecimal(hexadecimal) => {
            f64::from_bits(hexadecimal.round::<Double>()?.to_bits() as u64)
        }
    };
    Some(if negative { -value } else { value })
}

/// Reads what C's `strtod` reads of a text up to its first zero byte, if that is all of it and not NaN. Unlike [`parse_f64`] it allows spaces in front, reads
/// nothing at all as 0, a number that is too large as infinity, and one that is too small as zero.
pub fn parse_f64_as_c(text: &[u8]) -> Option<f64> {
    let text = text.split(|byte| *byte == 0).next().unwrap_or_default();
    if text.is_empty() {
        return Some(0.0);
    }
    let is_space = |byte: &u8| matches!(byte, b' ' | b'\t'..=b'\r');
    let start = text.iter().position(|byte| !is_space(byte))?;
    let FloatText { negative, magnitude } = FloatText::scan(&text[start..])?;
    let value = match magnitude {
        Magnitude::Infinity => f64::INFINITY,
        Magnitude::Decimal { text, .. } => text.parse::<f64>().ok()?,
        Magnitude::Hexadecimal(hexadecimal) => {
            f64::from_bits(hexadecimal.nearest::<Double>()?.to_bits() as u64)
        }
    };
    Some(if negative { -value } else { value })
}

/// A floating point number as text, cut into its parts by the grammar of `strtod` in the C locale. It says nothing
/// yet about ranges or precision, so that readers of different precision share it.
pub struct FloatText<'a> {
    pub negative: bool,
    pub magnitude: Magnitude<'a>,
}

/// What follows the sign.
pub enum Magnitude<'a> {
    Infinity,
    /// Digits with at most one point and perhaps an exponent; `is_zero` if all digits before the exponent are zeros.
    Decimal {
        text: &'a str,
        is_zero: bool,
    },
    Hexadecimal(Hexadecimal<'a>),
}

impl<'a> FloatText<'a> {
    /// Reads the whole of `text`; nothing if it is not one number or if it is NaN.
    pub fn scan(text: &'a [u8]) -> Option<Self> {
        let text = str::from_utf8(text).ok()?;
        let (negative, unsigned) = match text.strip_prefix('-') {
            Some(rest) => (true, rest),
            None => (false, text.strip_prefix('+').unwrap_or(text)),
        };
        let magnitude = if let Some(rest) = strip_hexadecimal_prefix(unsigned) {
            Magnitude::Hexadecimal(Hexadecimal::scan(rest)?)
        } else if unsigned.eq_ignore_ascii_case("inf") || unsigned.eq_ignore_ascii_case("infinity") {
            Magnitude::Infinity
        } else {
            let (digits, exponent) = split_exponent(unsigned, ['e', 'E']);
            check_exponent(exponent)?;
            let (whole, fraction) = split_point(digits, |byte| byte.is_ascii_digit())?;
            let is_zero = whole.bytes().chain(fraction.bytes()).all(|digit| digit == b'0');
            Magnitude::Decimal { text: unsigned, is_zero }
        };
        Some(FloatText { negative, magnitude })
    }
}

/// A hexadecimal number behind its `0x`: digits with at most one point, perhaps a binary exponent in decimal.
pub struct Hexadecimal<'a> {
    whole: &'a str,
    fraction: &'a str,
    exponent: i64,
}

/// Bound of a hexadecimal exponent. Any digits that fit into a request (512 MB) times two to this power are out of
/// range for each format, and sums with it stay far from the limits of an `i64`.
const EXPONENT_MAX: i64 = 1 << 40;

/// Significant digits that take part in rounding. More than any format's precision (16 digits); what follows is only
/// looked at for being zero or not.
const HEXADECIMAL_DIGITS: usize = 20;

impl<'a> Hexadecimal<'a> {
    fn scan(text: &'a str) -> Option<Self> {
        let (digits, exponent) = split_exponent(text, ['p', 'P']);
        check_exponent(exponent)?;
        let (whole, fraction) = split_point(digits, |byte| byte.is_ascii_hexdigit())?;
        let exponent = exponent.map_or(0, |exponent| {
            let magnitude = exponent.trim_start_matches(['+', '-']).bytes().fold(0, |sum: i64, digit| {
                sum.saturating_mul(10).saturating_add(i64::from(digit - b'0')).min(EXPONENT_MAX)
            });
            if exponent.starts_with('-') { -magnitude } else { magnitude }
        });
        Some(Hexadecimal { whole, fraction, exponent })
    }

    /// The nearest number of the format, ties to even. Nothing if that overflows, or becomes zero though a digit is
    /// not.
    pub fn round<F: Float>(&self) -> Option<F> {
        let is_zero = self.whole.bytes().chain(self.fraction.bytes()).all(|digit| digit == b'0');
        self.nearest::<F>().filter(|nearest| nearest.is_finite() && (is_zero || !nearest.is_zero()))
    }

    /// The nearest number of the format, ties to even: infinity or zero for what is out of range.
    fn nearest<F: Float>(&self) -> Option<F> {
        let mut digits = self.whole.chars().chain(self.fraction.chars());
        let leading_zeros = digits.clone().take_while(|digit| *digit == '0').count();
        let mut significant: String = digits.by_ref().skip(leading_zeros).take(HEXADECIMAL_DIGITS).collect();
        if significant.is_empty() {
            return Some(F::ZERO);
        }
        if digits.any(|digit| digit != '0') {
            significant.push('1');
        }
        // The number is 0.SIGNIFICANT * 2^exponent.
        let exponent = self.exponent + 4 * (self.whole.len() as i64 - leading_zeros as i64);
        if exponent.abs() > 1 << 20 {
            return Some(if exponent > 0 { F::INFINITY } else { F::ZERO });
        }
        let text = format!("0x0.{significant}p{exponent}");
        Some(F::from_str_r(&text, rustc_apfloat::Round::NearestTiesToEven).ok()?.value)
    }
}

/// The part behind `0x`; nothing without that prefix.
fn strip_hexadecimal_prefix(text: &str) -> Option<&str> {
    text.strip_prefix("0x").or_else(|| text.strip_prefix("0X"))
}

fn split_exponent(text: &str, marks: [char; 2]) -> (&str, Option<&str>) {
    text.split_once(marks).map_or((text, None), |(digits, exponent)| (digits, Some(exponent)))
}

/// An exponent needs a digit, and may have one sign before it.
fn check_exponent(exponent: Option<&str>) -> Option<()> {
    let Some(exponent) = exponent else { return Some(()) };
    let digits = exponent.strip_prefix(['+', '-']).unwrap_or(exponent);
    (!digits.is_empty() && digits.bytes().all(|byte| byte.is_ascii_digit())).then_some(())
}

/// Digits before and after the point. At least one digit is needed, on either side.
fn split_point(digits: &str, is_digit: impl Fn(u8) -> bool) -> Option<(&str, &str)> {
    let (whole, fraction) = digits.split_once('.').unwrap_or((digits, ""));
    let well_formed = whole.bytes().chain(fraction.bytes()).all(is_digit);
    (well_formed && whole.len() + fraction.len() > 0).then_some((whole, fraction))
}

/// A printed double. Dereferences to its bytes.
#[derive(Clone, Copy, Debug)]
pub struct DoubleText {
    bytes: [u8; DoubleText::SIZE],
    length: usize,
}

impl DoubleText {
    /// The longest text has 25 bytes: sign, 17 digits and seven zeros.
    const SIZE: usize = 32;

    fn new() -> Self {
        DoubleText { bytes: [0; Self::SIZE], length: 0 }
    }

    fn push(&mut self, text: &[u8]) {
        self.bytes[self.length..][..text.len()].copy_from_slice(text);
        self.length += text.len();
    }

    fn push_zeros(&mut self, count: usize) {
        self.bytes[self.length..][..count].fill(b'0');
        self.length += count;
    }
}

impl std::ops::Deref for DoubleText {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes[..self.length]
    }
}

/// Prints a double as replies show it: `3`, `0.1`, `1e+21`, `inf`, `-inf`, `nan`, `-0`.
///
/// Integers up to 2^62 are written out. Everything else has the shortest digits that read back to the same double, in
/// the notation that Redis 7.2 chooses: a plain integer if at most seven zeros follow the digits; a point if there are at
/// most six decimals, or any number of them while the decimal exponent is within -3..=3; otherwise an exponent.
pub fn format_f64(value: f64) -> DoubleText {
    let mut text = DoubleText::new();
    if value.is_nan() {
        text.push(b"nan");
        return text;
    }
    if value.is_sign_negative() {
        text.push(b"-");
    }
    let magnitude = value.abs();
    if magnitude.is_infinite() {
        text.push(b"inf");
    } else if magnitude <= (1u64 << 62) as f64 && magnitude.fract() == 0.0 {
        text.push(itoa::Buffer::new().format(magnitude as u64).as_bytes());
    } else {
        push_shortest(&mut text, magnitude);
    }
    text
}

/// Prints a double as C's `printf` does with `%.17g`: as Redis tells the scores of a large sorted set in a scan.
pub fn format_f64_in_17(value: f64) -> String {
    let magnitude = value.abs();
    if !magnitude.is_finite() || magnitude == 0.0 {
        return String::from_utf8_lossy(&format_f64(value)).into_owned();
    }
    // All digits are right, and the exponent is that behind rounding.
    let scientific = format!("{magnitude:.16e}");
    let (digits, exponent) = scientific.split_once('e').unwrap_or((&scientific, "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let digits: String = digits.chars().filter(|digit| *digit != '.').collect();
    let sign = if value.is_sign_negative() { "-" } else { "" };
    let text = match exponent {
        0..17 => {
            let (whole, fraction) = digits.split_at(exponent as usize + 1);
            format!("{whole}.{fraction}")
        }
        -4..0 => format!("0.{zeros}{digits}", zeros = "0".repeat(exponent.unsigned_abs() as usize - 1)),
        _ => {
            let (first, rest) = digits.split_at(1);
            let digits = format!("{first}.{rest}");
            let (digits, mark) = (trimmed(&digits), if exponent < 0 { '-' } else { '+' });
            return format!("{sign}{digits}e{mark}{size:02}", size = exponent.unsigned_abs());
        }
    };
    format!("{sign}{}", trimmed(&text))
}

/// Without zeros at the end behind a point, or the point.
fn trimmed(text: &str) -> &str {
    text.trim_end_matches('0').trim_end_matches('.')
}

/// Appends a positive, finite number.
fn push_shortest(text: &mut DoubleText, magnitude: f64) {
    let mut digits = [0u8; 17];
    let (count, exponent) = shortest_digits(magnitude, &mut digits);
    let digits = &digits[..count];
    // The number is digits * 10^scale, and its first digit stands for 10^exponent.
    let scale = exponent - (count as i32 - 1);
    let size = exponent.unsigned_abs() as usize;
    if scale >= 0 && size < count + 7 {
        text.push(digits);
        text.push_zeros(scale as usize);
    } else if scale < 0 && (scale > -7 || size < 4) {
        if exponent < 0 {
            text.push(b"0.");
            text.push_zeros(size - 1);
            text.push(digits);
        } else {
            let (whole, fraction) = digits.split_at(size + 1);
            text.push(whole);
            text.push(b".");
            text.push(fraction);
        }
    } else {
        text.push(&digits[..1]);
        if count > 1 {
            text.push(b".");
            text.push(&digits[1..]);
        }
        text.push(if exponent < 0 { b"e-" } else { b"e+" });
        text.push(itoa::Buffer::new().format(size).as_bytes());
    }
}

/// Writes the shortest digits of a positive, finite number and returns how many there are, at most 17, and the decimal
/// exponent of the first one. The standard library knows the digits; it only writes them as `d.ddde-d`.
fn shortest_digits(magnitude: f64, digits: &mut [u8; 17]) -> (usize, i32) {
    let mut scientific = [0u8; 40];
    let mut rest = scientific.as_mut_slice();
    // A slice of 40 bytes has room for each double; the write cannot fail.
    let _ = write!(rest, "{magnitude:e}");
    let written = 40 - rest.len();
    let mut count = 0;
    let mut exponent_at = written;
    for (at, byte) in scientific[..written].iter().enumerate() {
        match byte {
            b'0'..=b'9' if count < digits.len() => {
                digits[count] = *byte;
                count += 1;
            }
            b'e' => {
                exponent_at = at + 1;
                break;
            }
            _ => {}
        }
    }
    let exponent = parse_i64(&scientific[exponent_at..written]).unwrap_or(0);
    (count, exponent as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn integers_have_one_spelling() {
        let accepted: &[(&[u8], i64)] = &[
            (b"0", 0),
            (b"7", 7),
            (b"-1", -1),
            (b"9223372036854775807", i64::MAX),
            (b"-9223372036854775808", i64::MIN),
        ];
        for (text, value) in accepted {
            assert_eq!(parse_i64(text), Some(*value), "{}", text.escape_ascii());
        }
        let rejected: &[&[u8]] = &[
            b"",
            b"-",
            b"+1",
            b"-0",
            b"00",
            b"01",
            b"-01",
            b" 1",
            b"1 ",
            b"1a",
            b"1\0",
            b"0x1",
            b"1.0",
            b"--1",
            b"9223372036854775808",
            b"-9223372036854775809",
            b"18446744073709551615",
            b"99999999999999999999",
            b"100000000000000000000",
            b"\xff",
        ];
        for text in rejected {
            assert_eq!(parse_i64(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn unsigned_integers() {
        assert_eq!(parse_u64(b"0"), Some(0));
        assert_eq!(parse_u64(b"18446744073709551615"), Some(u64::MAX));
        for text in [b"18446744073709551616".as_slice(), b"-1", b"+1", b"01", b"", b"999999999999999999999"] {
            assert_eq!(parse_u64(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn doubles_are_read_as_strtod_reads_them() {
        let facts: &[(&[u8], f64)] = &[
            (b"0", 0.0),
            (b"-0", -0.0),
            (b"3", 3.0),
            (b"+3", 3.0),
            (b"003", 3.0),
            (b".5", 0.5),
            (b"5.", 5.0),
            (b"1e3", 1000.0),
            (b"1E+3", 1000.0),
            (b"1.5e-3", 0.0015),
            (b"0.1", 0.1),
            (b"inf", f64::INFINITY),
            (b"+inf", f64::INFINITY),
            (b"-inf", f64::NEG_INFINITY),
            (b"-INFinity", f64::NEG_INFINITY),
            (b"0x1p3", 8.0),
            (b"0X1P+3", 8.0),
            (b"-0x.8", -0.5),
            (b"0xA.8p-1", 5.25),
            (b"0x1e5", 485.0),
            (b"0x0p99999999999999999999", 0.0),
            (b"0e99999999999999999999", 0.0),
            (b"1.7976931348623157e308", f64::MAX),
            (b"4.9e-324", 5e-324),
            (b"0x1p-1074", 5e-324),
            (b"0x1.fffffffffffff8p0", 2.0),
            (b"0x1.00000000000008p0", 1.0),
            (b"0x1.0000000000000800000000000000000001p0", 1.0000000000000002),
            (b"0x0.00000000000000000000000000000000000000001p164", 1.0),
        ];
        for (text, value) in facts {
            assert_eq!(parse_f64(text).map(f64::to_bits), Some(value.to_bits()), "{}", text.escape_ascii());
        }
    }

    #[test]
    fn texts_that_are_no_double() {
        let rejected: &[&[u8]] = &[
            b"",
            b" 1",
            b"1 ",
            b"\t1",
            b"1\0",
            b"\0",
            b"+",
            b"-",
            b".",
            b"+.",
            b"e5",
            b".e5",
            b"1e",
            b"1e+",
            b"1e5.0",
            b"1..0",
            b"--1",
            b"+-1",
            b"1,5",
            b"1_0",
            b"nan",
            b"-NaN",
            b"nan(1)",
            b"in",
            b"infi",
            b"infinityx",
            b"0x",
            b"0x.",
            b"0xp1",
            b"0x1p",
            b"0x1p+",
            b"0x1p1.0",
            b"0x1p0x1",
            b"1e400",
            b"-1e400",
            b"1e-400",
            b"1e99999999999999999999",
            b"1e-99999999999999999999",
            b"0x1p1024",
            b"0x1p-1076",
            b"0x1p99999999999999999999",
            b"0x1p-99999999999999999999",
            b"\xc3\xa9",
            b"\xff",
        ];
        for text in rejected {
            assert_eq!(parse_f64(text), None, "{}", text.escape_ascii());
        }
    }

    #[test]
    fn doubles_are_printed_as_redis_7_2_prints_them() {
        let facts = [
            (0.0, "0"),
            (-0.0, "-0"),
            (3.0, "3"),
            (-3.0, "-3"),
            (0.1, "0.1"),
            (-0.5, "-0.5"),
            (3.15, "3.15"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1.0 / 3.0, "0.3333333333333333"),
            (1234.567890123, "1234.567890123"),
            (12345.6789012, "1.23456789012e+4"),
            (12345.678901, "12345.678901"),
            (0.0012345678, "0.0012345678"),
            (0.00012345678, "1.2345678e-4"),
            (0.000001, "0.000001"),
            (0.0000001, "1e-7"),
            (1e15, "1000000000000000"),
            (9007199254740993.0, "9007199254740992"),
            (4611686018427387904.0, "4611686018427387904"),
            (5e18, "5e+18"),
            (9223372036854775807.0, "9223372036854776000"),
            (12345678901234567890.0, "12345678901234567000"),
            (1e20, "1e+20"),
            (1e21, "1e+21"),
            (1.5e300, "1.5e+300"),
            (-1.2345678901234568e-300, "-1.2345678901234568e-300"),
            (f64::MAX, "1.7976931348623157e+308"),
            (5e-324, "5e-324"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
            (f64::NAN, "nan"),
            (-f64::NAN, "nan"),
        ];
        for (value, text) in facts {
            assert_eq!(str::from_utf8(&format_f64(value)), Ok(text), "{value:e}");
        }
    }

    #[test]
    fn seventeen_digits_are_printed_as_by_c() {
        let facts: &[(f64, &str)] = &[
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (-1.5, "-1.5"),
            (3.4, "3.3999999999999999"),
            (0.1, "0.10000000000000001"),
            (0.0001, "0.0001"),
            (0.00012345, "0.00012344999999999999"),
            (0.00001, "1.0000000000000001e-05"),
            (100.0, "100"),
            (1e16, "10000000000000000"),
            (123456789012345678.0, "1.2345678901234568e+17"),
            (1e17, "1e+17"),
            (1e100, "1e+100"),
            (5e-324, "4.9406564584124654e-324"),
            (f64::MAX, "1.7976931348623157e+308"),
            (0.99999999999999999, "1"),
            (f64::INFINITY, "inf"),
            (f64::NEG_INFINITY, "-inf"),
        ];
        for (value, text) in facts {
            assert_eq!(format_f64_in_17(*value), *text, "{value:e}");
        }
    }

    #[test]
    fn what_is_printed_reads_back() {
        let mut state: u64 = 0x5eed;
        for round in 0..20_000 {
            state = state.wrapping_mul(6364136223846793005).wrapping_add(1442695040888963407);
            let value = f64::from_bits(state ^ (state >> 29));
            if value.is_finite() {
                let text = format_f64(value);
                assert!(text.len() <= 25);
                let read = parse_f64(&text).map(f64::to_bits);
                assert_eq!(read, Some(value.to_bits()), "round {round}: {}", text.escape_ascii());
            }
        }
    }
}
