//! Tables: a column for each fact where they fit, a second line where they don't. No id, time or
//! header is ever split.

use std::sync::OnceLock;

use unicode_width::UnicodeWidthStr;

use super::{Failure, cell, pager, say};

/// Columns between two cells.
const GAP: usize = 2;

/// Where second lines begin.
const INDENT: usize = 4;

/// Rows of a long list that are laid out together.
const ROWS_AT_ONCE: usize = 500;

/// How tables and long results are shown.
#[derive(Clone, Copy, Debug, clap::Args)]
pub struct Look {
    /// Prints each row of a table on one line, however long
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub wide: bool,
    /// Omits the headers of tables
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_headers: bool,
    /// Prints long results directly, not through $PAGER or less
    #[arg(long, global = true, help_heading = GLOBAL)]
    pub no_pager: bool,
}

/// Heading in help of the options that every command has, below its own.
pub const GLOBAL: &str = "Options of every command";

static LOOK: OnceLock<Look> = OnceLock::new();

/// Sets how things are shown, once, at the start.
pub fn set_look(look: Look) {
    // The first word stands: there is one command in a process.
    let _ = LOOK.set(look);
}

/// How things are shown.
pub fn look() -> Look {
    let plain = Look { wide: false, no_headers: false, no_pager: true };
    LOOK.get().copied().unwrap_or(plain)
}

/// Columns that a line may have; `None` where nobody said, e.g. in a pipe.
pub fn width() -> Option<usize> {
    if look().wide {
        return None;
    }
    pager::columns()
}

/// A table for people.
pub fn table(headers: &[&str], rows: Vec<Vec<String>>) -> String {
    if rows.is_empty() {
        return "nothing\n".to_owned();
    }
    Layout::new(headers, width()).render(rows, !look().no_headers)
}

/// A table that is written while its rows come, in bounded memory.
pub struct Rows {
    layout: Layout,
    rows: Vec<Vec<String>>,
    begun: bool,
}

impl Rows {
    /// With these headers.
    pub fn new(headers: &[&str]) -> Self {
        pager::page();
        Self { layout: Layout::new(headers, width()), rows: vec![], begun: false }
    }

    /// The next row.
    ///
    /// # Errors
    /// As [`say`].
    pub fn push(&mut self, row: Vec<String>) -> Result<(), Failure> {
        self.rows.push(row);
        if self.rows.len() < ROWS_AT_ONCE { Ok(()) } else { self.write() }
    }

    fn write(&mut self) -> Result<(), Failure> {
        let rows = std::mem::take(&mut self.rows);
        if rows.is_empty() {
            return Ok(());
        }
        let headers = !std::mem::replace(&mut self.begun, true) && !look().no_headers;
        say(self.layout.render(rows, headers).trim_end_matches('\n'))
    }

    /// The end.
    ///
    /// # Errors
    /// As [`say`].
    pub fn end(mut self) -> Result<(), Failure> {
        self.write()?;
        if self.begun { Ok(()) } else { say("nothing") }
    }

    /// The end of a table that broke off: what came is shown, and nothing says that there is no
    /// more.
    pub fn broken(mut self, failure: Failure) -> Failure {
        self.write().err().unwrap_or(failure)
    }
}

/// How wide the columns are: never narrower than they were further up.
struct Layout {
    headers: Vec<String>,
    widths: Vec<usize>,
    line: Option<usize>,
}

impl Layout {
    fn new(headers: &[&str], line: Option<usize>) -> Self {
        let widths = headers.iter().map(|header| header.width()).collect();
        Self { headers: headers.iter().map(|header| (*header).to_owned()).collect(), widths, line }
    }

    fn render(&mut self, rows: Vec<Vec<String>>, with_headers: bool) -> String {
        let rows: Vec<Vec<String>> =
            rows.into_iter().map(|row| row.iter().map(|text| cell(text)).collect()).collect();
        for row in &rows {
            for (width, text) in self.widths.iter_mut().zip(row) {
                *width = (*width).max(text.width());
            }
        }
        let shown = self.columns_that_fit();
        let mut text = String::new();
        if with_headers {
            self.line(&mut text, &self.headers, shown);
        }
        for row in &rows {
            self.line(&mut text, row, shown);
            self.second_lines(&mut text, row, shown);
        }
        text
    }

    /// As many of the first columns as a line holds, one at least.
    fn columns_that_fit(&self) -> usize {
        let Some(line) = self.line else { return self.widths.len() };
        let ends = self.widths.iter().scan(0, |end, width| {
            *end += width + GAP;
            Some(*end - GAP)
        });
        ends.take_while(|end| *end <= line).count().max(1)
    }

    fn line(&self, text: &mut String, cells: &[String], shown: usize) {
        let mut line = String::new();
        for (width, cell) in self.widths.iter().zip(cells).take(shown) {
            line += cell;
            line += &" ".repeat(width.saturating_sub(cell.width()) + GAP);
        }
        *text += line.trim_end();
        *text += "\n";
    }

    /// What the line has no room for, each with its header.
    fn second_lines(&self, text: &mut String, cells: &[String], shown: usize) {
        let rest = self.headers.iter().zip(cells).skip(shown);
        let mut lines = Lines::new(INDENT, self.line.unwrap_or(usize::MAX));
        for (header, value) in rest.filter(|(_, value)| !value.trim().is_empty()) {
            let mut words = value.split_whitespace();
            let first = words.next().unwrap_or_default();
            lines.push(&format!("{header}: {first}"), GAP);
            words.for_each(|word| lines.push(word, 1));
        }
        *text += &lines.end();
    }
}

/// Lines that break between words only.
pub struct Lines {
    text: String,
    line: String,
    indent: usize,
    width: usize,
}

impl Lines {
    /// Each line begins with `indent` blanks and is at most `width` columns wide, as far as its
    /// words allow.
    pub fn new(indent: usize, width: usize) -> Self {
        Self { text: String::new(), line: String::new(), indent, width }
    }

    /// What must stay together, `gap` blanks after what is before it on its line.
    pub fn push(&mut self, word: &str, gap: usize) {
        let end = self.indent + self.line.width() + gap + word.width();
        if !self.line.is_empty() && end > self.width {
            self.break_line();
        }
        if !self.line.is_empty() {
            self.line += &" ".repeat(gap);
        }
        self.line += word;
    }

    /// The rest begins a line of its own.
    pub fn break_line(&mut self) {
        if !self.line.is_empty() {
            self.text += &" ".repeat(self.indent);
            self.text += &std::mem::take(&mut self.line);
            self.text += "\n";
        }
    }

    /// All lines.
    pub fn end(mut self) -> String {
        self.break_line();
        self.text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEADERS: [&str; 6] = ["alert", "version", "24 h desk", "ends at", "approved by", "notes"];

    fn rows() -> Vec<Vec<String>> {
        let row = |id: &str, notes: &str| {
            [id, "12", "+45 33 14 88 88", "2026-11-25T11:04:57Z", "", notes].map(str::to_owned)
        };
        vec![
            row("fr.police-judiciaire:2026-481920375", "versions before were not seen here").into(),
            row("dk.politi:2026-000000001", "東京 ask its desk before you act on it").into(),
        ]
    }

    #[test]
    fn ids_times_and_headers_are_never_split_whatever_the_width() {
        for width in 10..200 {
            let text = Layout::new(&HEADERS, Some(width)).render(rows(), true);
            for whole in [
                "fr.police-judiciaire:2026-481920375",
                "dk.politi:2026-000000001",
                "2026-11-25T11:04:57Z",
                "24 h desk",
                "ends at",
            ] {
                assert!(text.contains(whole), "{width}: {whole}\n{text}");
            }
            let longest = text.lines().map(UnicodeWidthStr::width).max().unwrap();
            assert!(longest <= width.max(40), "{width}: {longest}\n{text}");
            for word in ["versions", "before", "東京", "+45", "88"] {
                assert!(text.split_whitespace().any(|held| held.contains(word)), "{width}\n{text}");
            }
        }
    }

    #[test]
    fn what_does_not_fit_goes_to_a_second_line() {
        let at = |width| Layout::new(&HEADERS, width).render(rows(), true);
        let expected = "alert                                version  24 h desk
fr.police-judiciaire:2026-481920375  12       +45 33 14 88 88
    ends at: 2026-11-25T11:04:57Z  notes: versions before were not seen here
dk.politi:2026-000000001             12       +45 33 14 88 88
    ends at: 2026-11-25T11:04:57Z  notes: 東京 ask its desk before you act on it
";
        assert_eq!(at(Some(80)), expected);
        assert_eq!(at(None).lines().count(), 3);
        assert_eq!(at(None), at(Some(300)));
        assert_eq!(Layout::new(&HEADERS, None).render(rows(), false).lines().count(), 2);
    }

    #[test]
    fn a_cell_makes_no_row_of_its_own() {
        let row = vec!["a\nb".to_owned(), "c\r\nd e".to_owned()];
        for width in [None, Some(1)] {
            let text = Layout::new(&["one", "two"], width).render(vec![row.clone()], false);
            assert!(
                !text.contains("a\nb") && !text.contains("c\n") && text.contains("a�b"),
                "{text}"
            );
        }
    }
}
