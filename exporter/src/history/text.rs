//! Pure: text for a terminal: wrapped, cut and coloured, if at all.

use comfy_table::presets::NOTHING;
use comfy_table::{CellAlignment, ContentArrangement, Table};

/// Widths below this are taken for this one.
const NARROWEST: usize = 20;
/// Longest name of a host or path that is shown, in bytes.
const NAME_BYTES: usize = 300;

/// How to write.
#[derive(Clone, Copy, Debug, Default)]
pub struct Style {
    /// Columns of the terminal; none where there is none, and lines are as long as they are.
    pub width: Option<usize>,
    /// Whether to colour.
    pub color: bool,
}

/// A column of a table.
#[derive(Clone, Debug)]
pub struct Column {
    /// Its header.
    pub header: &'static str,
    /// Its cells, one for each row.
    pub cells: Vec<String>,
    /// It holds numbers.
    pub is_number: bool,
    /// Those with the highest go first where there is no room; 0 stays.
    pub dispensable: u8,
}

impl Column {
    /// An empty one.
    pub const fn new(header: &'static str, is_number: bool, dispensable: u8) -> Self {
        Self { header, cells: Vec::new(), is_number, dispensable }
    }

    fn width(&self) -> usize {
        let cells = self.cells.iter().map(|cell| textwrap::core::display_width(cell));
        cells.chain([self.header.len()]).max().unwrap_or(0) + 2
    }
}

impl Style {
    /// A table: columns that say nothing or have no room are left out, and what is still too wide is wrapped.
    /// The words of the first column are coloured by [`Self::paint`].
    pub fn table(self, mut columns: Vec<Column>) -> String {
        columns.retain(|column| column.dispensable == 0 || column.cells.iter().any(|cell| cell != DASH));
        if let Some(width) = self.width() {
            while columns.iter().map(Column::width).sum::<usize>() > width {
                let most = columns.iter().map(|column| column.dispensable).max().unwrap_or(0);
                let Some(place) =
                    columns.iter().rposition(|column| column.dispensable == most).filter(|_| most > 0)
                else {
                    break;
                };
                columns.remove(place);
            }
        }
        let mut table = Table::new();
        table.load_style(NOTHING).set_header(columns.iter().map(|column| column.header));
        if let Some(width) = self.width() {
            table.set_content_arrangement(ContentArrangement::Dynamic);
            table.set_width(u16::try_from(width).unwrap_or(u16::MAX));
        }
        let rows = columns.first().map_or(0, |column| column.cells.len());
        for row in 0..rows {
            table.add_row(columns.iter().map(|column| column.cells.get(row).cloned().unwrap_or_default()));
        }
        for (index, column) in columns.iter().enumerate() {
            if let Some(made) = table.column_mut(index).filter(|_| column.is_number) {
                made.set_cell_alignment(CellAlignment::Right);
            }
        }
        let text = table.to_string();
        text.lines().map(|line| self.first_word(line.trim_end()) + "\n").collect()
    }

    /// Lines of text, wrapped below their beginning.
    pub fn wrapped(self, first: &str, rest: &str, text: &str) -> String {
        let Some(width) = self.width() else {
            return format!("{first}{text}\n").trim_end().to_owned() + "\n";
        };
        let options = textwrap::Options::new(width).initial_indent(first).subsequent_indent(rest);
        textwrap::wrap(text, options).iter().map(|line| line.trim_end().to_owned() + "\n").collect()
    }

    /// A word in the colour of what it says.
    pub fn paint(self, word: &str) -> String {
        let code = match word.to_ascii_lowercase().as_str() {
            "success" | "ok" => "32",
            "warning" | "skipped" | "refused" | "never" | "unknown" => "33",
            "failed" | "critical" => "31",
            "running" => "36",
            _ => return word.to_owned(),
        };
        if self.color { format!("\u{1b}[{code}m{word}\u{1b}[0m") } else { word.to_owned() }
    }

    fn first_word(self, line: &str) -> String {
        let Some(rest) = line.strip_prefix(' ').filter(|rest| !rest.starts_with(' ')) else {
            return line.to_owned();
        };
        let (word, rest) = rest.split_at(rest.find(' ').unwrap_or(rest.len()));
        format!(" {}{rest}", self.paint(word))
    }

    fn width(self) -> Option<usize> {
        Some(self.width?.max(NARROWEST))
    }
}

/// Stands where nothing is known.
pub const DASH: &str = "-";

/// A text, or a dash.
pub fn or_dash(text: Option<String>) -> String {
    text.unwrap_or_else(|| DASH.to_owned())
}

/// A name from outside, without what a terminal would obey.
pub fn name(name: &str) -> String {
    backup_common::text::clean(name, NAME_BYTES)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn colours_only_where_asked_for() {
        let columns = || {
            let mut columns = vec![
                Column::new("state", false, 0),
                Column::new("host", false, 0),
                Column::new("x", true, 1),
            ];
            columns[0].cells.push("failed".to_owned());
            columns[1].cells.push("failed".to_owned());
            columns[2].cells.push(DASH.to_owned());
            columns
        };
        let plain = Style::default().table(columns());
        assert_eq!(plain, " state   host\n failed  failed\n", "a column that says nothing is left out");
        let colored = Style { width: None, color: true }.table(columns());
        assert_eq!(colored, " state   host\n \u{1b}[31mfailed\u{1b}[0m  failed\n");
    }

    proptest! {
        #[test]
        fn no_line_is_wider_than_the_terminal(
            width in 20usize..120,
            rows in proptest::collection::vec(("[a-z/ ]{0,60}", "\\PC{0,60}", 0u64..), 0..6),
            text in "\\PC{0,200}",
        ) {
            let mut columns = vec![
                Column::new("state", false, 0),
                Column::new("path", false, 0),
                Column::new("number", true, 2),
                Column::new("more", true, 1),
            ];
            for (path, host, number) in rows {
                for (column, cell) in columns.iter_mut().zip([host, path, number.to_string(), "12 MiB".to_owned()]) {
                    column.cells.push(cell);
                }
            }
            let style = Style { width: Some(width), color: false };
            let all = style.table(columns) + &style.wrapped("  a: ", "     ", &text);
            for line in all.lines() {
                prop_assert!(textwrap::core::display_width(line) <= width, "{width}: {line:?}");
            }
        }
    }
}
