//! Tables in aligned columns. They never wrap by accident: what does not fit is cut or goes on in its own
//! column.

use super::{Output, columns, cut, pieces, plain};

/// Between two columns.
const GAP: usize = 2;

/// Narrower than this a column is useless.
const NARROWEST: usize = 8;

/// Names on the left, values on the right; long values go on in lines of their own under themselves.
pub(crate) fn facts(output: Output, facts: &[(&str, String)]) -> String {
    let left = facts.iter().map(|(name, _)| columns(name)).max().unwrap_or(0) + GAP;
    let right = output.width().map_or(usize::MAX, |width| width.saturating_sub(left).max(NARROWEST));
    let mut text = String::new();
    for (name, value) in facts {
        let value = plain(value);
        for (line, piece) in pieces(&value, right).into_iter().enumerate() {
            let name = if line == 0 { *name } else { "" };
            let name = format!("{name}{}", " ".repeat(left - columns(name)));
            text.push_str(format!("{}{piece}", output.head(&name)).trim_end());
            text.push('\n');
        }
    }
    text
}

/// A column of a [`Table`].
#[derive(Debug)]
pub(crate) struct Column {
    /// Its head.
    pub(crate) head: &'static str,
    /// Left out when the table would not fit; the highest number goes first. Zero stays.
    pub(crate) dispensable: u8,
}

/// Rows under a head, printed in parts: columns only ever grow wider from part to part.
#[derive(Debug)]
pub(crate) struct Table {
    columns: &'static [Column],
    widths: Vec<usize>,
    begun: bool,
}

impl Table {
    pub(crate) fn new(columns: &'static [Column]) -> Table {
        Table {
            columns,
            widths: columns.iter().map(|column| self::columns(column.head)).collect(),
            begun: false,
        }
    }

    /// The text for these rows; the head comes before the first.
    pub(crate) fn part(&mut self, output: Output, rows: &[Vec<String>]) -> String {
        let rows: Vec<Vec<_>> = rows.iter().map(|row| row.iter().map(|cell| plain(cell)).collect()).collect();
        for row in &rows {
            for (width, cell) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(columns(cell));
            }
        }
        let shown = self.layout(output.width());
        let mut text = String::new();
        if !self.begun {
            self.begun = true;
            let heads = line(&shown, |at| self.columns[at].head);
            text.push_str(&output.head(&heads));
            text.push('\n');
        }
        for row in &rows {
            text.push_str(&line(&shown, |at| row.get(at).map_or("", |cell| &**cell)));
            text.push('\n');
        }
        text
    }

    /// Which columns are shown, and how wide.
    fn layout(&self, width: Option<usize>) -> Vec<(usize, usize)> {
        let mut shown: Vec<(usize, usize)> = self.widths.iter().copied().enumerate().collect();
        let Some(width) = width else { return shown };
        let total = |shown: &[(usize, usize)]| -> usize {
            shown.iter().map(|(_, wide)| wide + GAP).sum::<usize>() - GAP
        };
        while total(&shown) > width {
            let last = shown.iter().map(|&(at, _)| self.columns[at].dispensable).max().unwrap_or(0);
            if last == 0 {
                break;
            }
            shown.retain(|&(at, _)| self.columns[at].dispensable != last);
        }
        // What is still too wide is taken from the last columns: the first one names the row.
        for place in (1..shown.len()).rev() {
            let over = total(&shown).saturating_sub(width);
            let wide = &mut shown[place].1;
            *wide = wide.saturating_sub(over).max(NARROWEST.min(*wide));
        }
        shown
    }
}

fn line<'a>(shown: &[(usize, usize)], cell: impl Fn(usize) -> &'a str) -> String {
    let mut line = String::new();
    for &(at, width) in shown {
        let cell = cut(cell(at), width);
        line.push_str(&cell);
        line.extend(std::iter::repeat_n(' ', width - columns(&cell) + GAP));
    }
    line.truncate(line.trim_end().len());
    line
}
