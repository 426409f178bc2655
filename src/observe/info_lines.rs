//! The lines of INFO commandstats, latencystats and errorstats, in the form of Redis 7.2.
//!
//! Each function appends whole lines that end in CR LF. Section headers and the order of commands are the caller's.

use super::command_stats::CommandTotals;
use super::histogram::Histogram;
use std::io::Write;

/// Appends `cmdstat_get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0`, or nothing for a
/// command that was neither called nor rejected. `name` is lower case, a subcommand's is `config|set`.
pub fn command_line(name: &str, totals: &CommandTotals, lines: &mut Vec<u8>) {
    if !totals.any() {
        return;
    }
    // Single precision, because Redis divides floats and the rounding shows in the second decimal.
    let usec_per_call = if totals.calls == 0 { 0.0 } else { totals.usec as f32 / totals.calls as f32 };
    // Writing into a Vec cannot fail.
    let _ = write!(
        lines,
        "cmdstat_{name}:calls={},usec={},usec_per_call={usec_per_call:.2},rejected_calls={},failed_calls={}\r\n",
        totals.calls, totals.usec, totals.rejected_calls, totals.failed_calls,
    );
}

/// Appends `latency_percentiles_usec_get:p50=1.003,p99=2.007,p99.9=2.007`, or nothing for a command without
/// samples. `percentiles` are those of `latency-tracking-info-percentiles`.
pub fn latency_line(name: &str, histogram: &Histogram, percentiles: &[f64], lines: &mut Vec<u8>) {
    if histogram.count() == 0 {
        return;
    }
    let _ = write!(lines, "latency_percentiles_usec_{name}:");
    for (index, &percentile) in percentiles.iter().enumerate() {
        let comma = if index == 0 { "" } else { "," };
        let nanoseconds = histogram.percentile_ns(percentile);
        let (whole, fraction) = (nanoseconds / 1000, nanoseconds % 1000);
        let _ = write!(lines, "{comma}p{}={whole}.{fraction:03}", percentile_name(percentile));
    }
    lines.extend_from_slice(b"\r\n");
}

/// Appends `errorstat_ERR:count=1`. Characters that would break the line are shown as `_`.
pub fn error_line(code: &[u8], count: u64, lines: &mut Vec<u8>) {
    lines.extend_from_slice(b"errorstat_");
    lines.extend(
        code.iter().map(|byte| if matches!(byte, b'#' | b':' | b'\n' | b'\r') { b'_' } else { *byte }),
    );
    let _ = write!(lines, ":count={count}\r\n");
}

/// A percentile with at most six decimals and no trailing zeros: `50`, `99.9`.
fn percentile_name(percentile: f64) -> String {
    let decimals = format!("{percentile:.6}");
    decimals.trim_end_matches('0').trim_end_matches('.').to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text_of(append: impl FnOnce(&mut Vec<u8>)) -> String {
        let mut lines = Vec::new();
        append(&mut lines);
        String::from_utf8(lines).expect("ASCII")
    }

    fn command(calls: u64, usec: u64, rejected_calls: u64, failed_calls: u64) -> String {
        let totals = CommandTotals { calls, usec, rejected_calls, failed_calls };
        text_of(|lines| command_line("get", &totals, lines))
    }

    #[test]
    fn command_lines_look_as_in_redis() {
        assert_eq!(
            command(1, 2, 0, 0),
            "cmdstat_get:calls=1,usec=2,usec_per_call=2.00,rejected_calls=0,failed_calls=0\r\n"
        );
        assert_eq!(
            command(0, 0, 3, 0),
            "cmdstat_get:calls=0,usec=0,usec_per_call=0.00,rejected_calls=3,failed_calls=0\r\n"
        );
        assert_eq!(command(0, 0, 0, 0), "");
    }

    #[test]
    fn time_per_call_rounds_as_redis_does() {
        // The first three were printed by redis-server 7.0.15, the last is an exact tie.
        for (calls, usec, expected) in
            [(3, 32, "10.67"), (120, 72_879, "607.33"), (8, 383, "47.88"), (8, 1, "0.12")]
        {
            let line = command(calls, usec, 0, 0);
            assert!(line.contains(&format!(",usec_per_call={expected},")), "{line}");
        }
    }

    #[test]
    fn latency_lines_look_as_in_redis() {
        let histogram = Histogram::default();
        for elapsed_us in [1, 1, 1, 2379] {
            histogram.record_us(elapsed_us);
        }
        let line = |percentiles| text_of(|lines| latency_line("config|set", &histogram, percentiles, lines));
        assert_eq!(
            line(&[50.0, 99.0, 99.9, 100.0]),
            "latency_percentiles_usec_config|set:p50=1.003,p99=2392.063,p99.9=2392.063,p100=2392.063\r\n"
        );
        assert_eq!(
            line(&[0.0, 66.66666666]),
            "latency_percentiles_usec_config|set:p0=1.000,p66.666667=1.003\r\n"
        );
        assert_eq!(line(&[]), "latency_percentiles_usec_config|set:\r\n");
        assert_eq!(text_of(|lines| latency_line("get", &Histogram::default(), &[50.0], lines)), "");
    }

    #[test]
    fn error_lines_cannot_be_broken_by_their_code() {
        assert_eq!(text_of(|lines| error_line(b"WRONGTYPE", 2, lines)), "errorstat_WRONGTYPE:count=2\r\n");
        assert_eq!(text_of(|lines| error_line(b"a:b#c=d,e", 1, lines)), "errorstat_a_b_c=d,e:count=1\r\n");
        assert_eq!(text_of(|lines| error_line(b"a\r\nb", 1, lines)), "errorstat_a__b:count=1\r\n");
        assert_eq!(text_of(|lines| error_line(b"", 3, lines)), "errorstat_:count=3\r\n");
    }
}
