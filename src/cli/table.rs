//! Tables in kubectl's format.

use super::output::Tone;
use crate::dingtalk::visible;

/// Number of spaces between columns.
const GAP: usize = 3;

#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Cell {
    text: String,
    tone: Tone,
}

impl Cell {
    pub(super) fn new(text: impl AsRef<str>, tone: Tone) -> Self {
        Self {
            text: visible(text.as_ref()),
            tone,
        }
    }
}

impl From<String> for Cell {
    fn from(text: String) -> Self {
        Self::new(text, Tone::Plain)
    }
}

impl From<&str> for Cell {
    fn from(text: &str) -> Self {
        Self::new(text, Tone::Plain)
    }
}

/// Shows `None` as a dash.
impl<T: Into<String>> From<Option<T>> for Cell {
    fn from(text: Option<T>) -> Self {
        text.map_or_else(|| Self::from("-"), |text| Self::from(text.into()))
    }
}

/// A table, stored by columns.
#[derive(Debug, Default)]
pub(super) struct Table {
    columns: Vec<(&'static str, Vec<Cell>)>,
}

impl Table {
    /// Adds a column on the right, with a cell for each of the `items`.
    #[must_use]
    pub(super) fn column<'a, T, C: Into<Cell>>(
        mut self,
        heading: &'static str,
        items: &'a [T],
        cell: impl Fn(&'a T) -> C,
    ) -> Self {
        let cells = items.iter().map(|item| cell(item).into()).collect();
        self.columns.push((heading, cells));
        self
    }

    /// Returns the table as text. Each line ends with a line feed.
    pub(super) fn render(&self, has_colours: bool) -> String {
        let rows = self.columns.iter().map(|(_, cells)| cells.len()).max();
        let mut lines = vec![String::new(); rows.unwrap_or_default() + 1];
        for (heading, cells) in &self.columns {
            let lengths = cells.iter().map(|cell| length(&cell.text));
            let width = lengths.chain([heading.len()]).max().unwrap_or_default();
            let heading = Cell::from(*heading);
            for (line, cell) in lines.iter_mut().zip([&heading].into_iter().chain(cells)) {
                line.push_str(&cell.tone.paint(&cell.text, has_colours));
                line.push_str(&" ".repeat(width - length(&cell.text) + GAP));
            }
        }
        let lines: Vec<&str> = lines.iter().map(|line| line.trim_end()).collect();
        lines.join("\n") + "\n"
    }
}

fn length(text: &str) -> usize {
    text.chars().count()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(has_colours: bool) -> String {
        let items = [("payroll", true), ("x", false)];
        Table::default()
            .column("NAME", &items, |(name, _)| *name)
            .column("READY", &items, |(_, is_ready)| {
                Cell::new(is_ready.to_string(), Tone::of(*is_ready))
            })
            .column("REASON", &items, |(_, is_ready)| {
                (!is_ready).then_some("Throttled")
            })
            .render(has_colours)
    }

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let expected = "NAME      READY   REASON\n\
                        payroll   true    -\n\
                        x         false   Throttled\n";
        assert_eq!(table(false), expected);
    }

    #[test]
    fn colours_take_no_room() {
        let uncoloured = table(true)
            .replace("\x1b[32m", "")
            .replace("\x1b[31m", "")
            .replace("\x1b[0m", "");
        assert_eq!(uncoloured, table(false));
        assert!(table(true).contains("\x1b[31mfalse\x1b[0m   Throttled"));
    }

    /// Regression: invisible and bidirectional characters were printed.
    #[test]
    fn what_others_wrote_cannot_steer_a_terminal_or_hide() {
        for (text, shown) in [
            ("a\x1b[2Jb\nc\u{9b}d", "a [2Jb c d"),
            ("pay\u{202e}roll\u{200b}", "payroll"),
            ("授权", "授权"),
        ] {
            assert_eq!(Cell::from(text).text, shown);
        }
    }

    #[test]
    fn a_table_without_rows_has_its_headings() {
        let empty: [&str; 0] = [];
        let table = Table::default().column("NAME", &empty, |name| *name);
        assert_eq!(table.render(false), "NAME\n");
    }
}
