//! Draws the text of LATENCY GRAPH: one column per sample, four rows high, with the age of each sample written
//! downwards below it.
//!
//! A cell has three heights (`_`, `o`, `#`), so that the four rows show twelve steps between the lowest and the
//! highest sample; a cell below a column's top is filled with `|`.

/// Widest row of samples; more samples continue in a further block below.
const COLUMNS: usize = 80;
const ROWS: usize = 4;
const TOPS: [char; 3] = ['_', 'o', '#'];

/// One column: its height and its label.
pub(super) struct Column {
    pub value: u32,
    pub label: String,
}

/// A label for a sample that is `seconds` old: in the largest unit of which it is at least one.
pub(super) fn age_label(seconds: u64) -> String {
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m", seconds / 60),
        3600..86_400 => format!("{}h", seconds / 3600),
        _ => format!("{}d", seconds / 86_400),
    }
}

/// Appends the graph of `columns`, oldest first.
pub(super) fn draw(columns: &[Column], text: &mut String) {
    let lowest = columns.iter().map(|column| column.value).min().unwrap_or(0);
    let highest = columns.iter().map(|column| column.value).max().unwrap_or(0);
    for (block, columns) in columns.chunks(COLUMNS).enumerate() {
        if block > 0 {
            text.push('\n');
        }
        draw_block(columns, lowest, highest - lowest, text);
    }
}

fn draw_block(columns: &[Column], lowest: u32, range: u32, text: &mut String) {
    for row in (0..ROWS).rev() {
        for column in columns {
            text.push(cell(step(column.value - lowest, range), row));
        }
        text.push('\n');
    }
    text.extend(columns.iter().map(|_| ' '));
    text.push('\n');
    let label_rows = columns.iter().map(|column| column.label.len()).max().unwrap_or(0);
    for row in 0..label_rows {
        text.extend(
            columns.iter().map(|column| column.label.as_bytes().get(row).map_or(' ', |byte| *byte as char)),
        );
        text.push('\n');
    }
}

/// The height of a column in thirds of a row, 0 to 11.
fn step(above_lowest: u32, range: u32) -> usize {
    let steps = ROWS * TOPS.len();
    let step = u64::from(above_lowest) * steps as u64 / u64::from(range.max(1));
    (step as usize).min(steps - 1)
}

/// What a column of height `step` shows in `row`, counted from the bottom.
fn cell(step: usize, row: usize) -> char {
    match step.checked_sub(row * TOPS.len()) {
        None => ' ',
        Some(within) => TOPS.get(within).copied().unwrap_or('|'),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ages_are_labelled_in_their_largest_unit() {
        let ages = [0, 59, 60, 119, 120, 3599, 3600, 86_399, 86_400, 864_000];
        let labels: Vec<_> = ages.into_iter().map(age_label).collect();
        assert_eq!(labels, ["0s", "59s", "1m", "1m", "2m", "59m", "1h", "23h", "1d", "10d"]);
    }

    #[test]
    fn a_column_is_filled_below_its_top() {
        let of = |step| (0..ROWS).rev().map(|row| cell(step, row)).collect::<String>();
        assert_eq!(of(0), "   _");
        assert_eq!(of(2), "   #");
        assert_eq!(of(3), "  _|");
        assert_eq!(of(11), "#|||");
    }
}
