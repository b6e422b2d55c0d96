//! Drafts in a file: JSON Lines or one JSON array, taken one by one, so that a file of any size can
//! be imported.

use std::io::{self, BufRead, BufReader, Cursor, Read};

use entente_node::alert::DRAFT_BYTES_MAX;
use entente_node::text::{BYTE_ORDER_MARK, other_encoding};

use crate::output::Failure;

/// Bytes that tell how a text is encoded.
const HEAD_BYTES: u64 = 4;

/// Where a draft stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Place {
    /// Which draft of the file, from 1.
    pub draft: u64,
    /// The line in which it begins, from 1.
    pub line: u64,
}

/// What stands at a place.
#[derive(Debug, PartialEq, Eq)]
pub enum Found {
    /// A text for the node to look at.
    Draft(String),
    /// Bytes that are not sent to it, with the reason and what to do.
    Unfit(&'static str, String),
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Form {
    Unknown,
    Lines,
    Array,
    Ended,
}

/// The drafts of one source.
pub struct Drafts<R: Read> {
    bytes: Bytes<R>,
    form: Form,
    drafts: u64,
}

/// A source byte by byte, with the place of the next one. LF, CR and CR LF end a line.
struct Bytes<R: Read> {
    source: BufReader<io::Chain<Cursor<Vec<u8>>, R>>,
    line: u64,
    column: u64,
    after_cr: bool,
    taken: u64,
}

impl<R: Read> Bytes<R> {
    fn peek(&mut self) -> io::Result<Option<u8>> {
        Ok(self.source.fill_buf()?.first().copied())
    }

    fn take(&mut self) -> io::Result<Option<u8>> {
        let Some(byte) = self.peek()? else { return Ok(None) };
        self.source.consume(1);
        self.taken += 1;
        let second_half = byte == b'\n' && self.after_cr;
        self.after_cr = byte == b'\r';
        match byte {
            b'\n' if second_half => {}
            b'\n' | b'\r' => (self.line, self.column) = (self.line + 1, 1),
            _ => self.column += 1,
        }
        Ok(Some(byte))
    }

    fn skip_blank(&mut self) -> io::Result<Option<u8>> {
        while let Some(byte) = self.peek()? {
            if !byte.is_ascii_whitespace() {
                return Ok(Some(byte));
            }
            self.take()?;
        }
        Ok(None)
    }
}

/// Bytes of one draft as far as they may be one, and where they begin.
struct Taken {
    bytes: Vec<u8>,
    line: u64,
    column: u64,
    too_long: bool,
}

impl Taken {
    fn push(&mut self, byte: u8) {
        if self.bytes.len() < DRAFT_BYTES_MAX {
            self.bytes.push(byte);
        } else {
            self.too_long |= !byte.is_ascii_whitespace();
        }
    }

    fn found(self) -> Found {
        if self.too_long {
            let message = "a draft has at most 24 KiB".to_owned();
            return Found::Unfit("draft_too_long", message);
        }
        String::from_utf8(self.bytes).map_or_else(
            |error| {
                let sound = error.utf8_error().valid_up_to();
                let sound = error.as_bytes().get(..sound).unwrap_or_default();
                not_utf8(self.line, self.column, sound)
            },
            |text| Found::Draft(text.trim().to_owned()),
        )
    }
}

/// The place after `sound`, which begins at `line` and `column`.
fn not_utf8(line: u64, column: u64, sound: &[u8]) -> Found {
    let text = String::from_utf8_lossy(sound).replace("\r\n", "\n").replace('\r', "\n");
    let ends = text.matches('\n').count() as u64;
    let last = text.rsplit('\n').next().unwrap_or_default().len() as u64;
    let column = if ends == 0 { column + last } else { last + 1 };
    let line = line + ends;
    Found::Unfit(
        "not_utf8",
        format!(
            "line {line}, byte {column} is not UTF-8: save the file as UTF-8, not as Latin-1 or \
             another code page"
        ),
    )
}

impl<R: Read> Drafts<R> {
    /// Looks at how the source is encoded.
    ///
    /// # Errors
    /// When it is UTF-16 or UTF-32, or can't be read.
    pub fn new(mut source: R) -> Result<Self, Failure> {
        let mut head = Vec::new();
        source.by_ref().take(HEAD_BYTES).read_to_end(&mut head)?;
        if let Some(encoding) = other_encoding(&head) {
            return Err(Failure::new(format!("this is {encoding}, not UTF-8"))
                .hint("save it as UTF-8, or convert it: `iconv -f UTF-16 -t UTF-8 FILE`"));
        }
        if head.starts_with(BYTE_ORDER_MARK) {
            head.drain(..BYTE_ORDER_MARK.len());
        }
        let source = BufReader::new(Cursor::new(head).chain(source));
        let bytes = Bytes { source, line: 1, column: 1, after_cr: false, taken: 0 };
        Ok(Self { bytes, form: Form::Unknown, drafts: 0 })
    }

    /// Bytes taken so far.
    pub fn taken(&self) -> u64 {
        self.bytes.taken
    }

    /// The next draft.
    ///
    /// # Errors
    /// When the source can't be read, or is neither JSON Lines nor an array of objects.
    pub fn take(&mut self) -> Result<Option<(Place, Found)>, Failure> {
        let Some(first) = self.bytes.skip_blank()? else {
            return if self.form == Form::Array {
                Err(self.broken("it ends within the list"))
            } else {
                Ok(None)
            };
        };
        if self.form == Form::Unknown {
            self.form = if first == b'[' { Form::Array } else { Form::Lines };
            if self.form == Form::Array {
                self.bytes.take()?;
            }
        }
        match self.form {
            Form::Lines => self.line().map(Some),
            Form::Array => self.item(),
            Form::Ended | Form::Unknown => Err(self.broken("something follows the list")),
        }
    }

    fn begin(&mut self) -> (Place, Taken) {
        self.drafts += 1;
        let (line, column) = (self.bytes.line, self.bytes.column);
        (Place { draft: self.drafts, line }, Taken { bytes: vec![], line, column, too_long: false })
    }

    fn line(&mut self) -> Result<(Place, Found), Failure> {
        let (place, mut taken) = self.begin();
        while let Some(byte) = self.bytes.take()?.filter(|byte| !matches!(byte, b'\n' | b'\r')) {
            taken.push(byte);
        }
        if place.draft == 1 && taken.bytes.trim_ascii() == b"{" {
            return Err(Failure::new("the first line is only a part of a draft").hint(
                "an import has each draft on a line of its own, or all of them in one list [ … ]: \
                 `jq -c . FILE` makes lines; a single draft goes to `entente alert create`",
            ));
        }
        Ok((place, taken.found()))
    }

    /// The next item of the array; `None` at its end.
    fn item(&mut self) -> Result<Option<(Place, Found)>, Failure> {
        let mut first = self.bytes.skip_blank()?;
        if self.drafts > 0 && first == Some(b',') {
            self.bytes.take()?;
            first = self.bytes.skip_blank()?;
        } else if first == Some(b']') {
            self.bytes.take()?;
            self.form = Form::Ended;
            return self.take();
        } else if self.drafts > 0 {
            return Err(self.broken("there is no comma between two drafts"));
        }
        if first != Some(b'{') {
            return Err(self.broken("the items of the list must be drafts, { … }"));
        }
        let (place, mut taken) = self.begin();
        let (mut depth, mut quoted, mut escaped) = (0_usize, false, false);
        while let Some(byte) = self.bytes.take()? {
            taken.push(byte);
            match byte {
                _ if escaped => escaped = false,
                b'\\' if quoted => escaped = true,
                b'"' => quoted = !quoted,
                b'{' | b'[' if !quoted => depth += 1,
                b'}' | b']' if !quoted => depth = depth.saturating_sub(1),
                _ => {}
            }
            if depth == 0 {
                return Ok(Some((place, taken.found())));
            }
        }
        Err(self.broken(&format!("draft {}, from line {} on, has no end", place.draft, place.line)))
    }

    fn broken(&self, what: &str) -> Failure {
        Failure::new(format!("line {}: {what}", self.bytes.line))
            .hint("mend the list, or make lines of it: `jq -c .[] FILE`")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(bytes: &[u8]) -> Result<Vec<(u64, String)>, String> {
        let mut drafts = Drafts::new(bytes).map_err(|error| error.message().to_owned())?;
        let mut found = Vec::new();
        while let Some((place, one)) = drafts.take().map_err(|error| error.message().to_owned())? {
            found.push(match one {
                Found::Draft(text) => (place.line, text),
                Found::Unfit(reason, message) => (place.line, format!("{reason}: {message}")),
            });
        }
        Ok(found)
    }

    #[test]
    fn marks_and_every_end_of_a_line_are_read() {
        let expected = Ok(vec![(1, r#"{"a":1}"#.to_owned()), (3, r#"{"b":"ü"}"#.to_owned())]);
        for end in ["\n", "\r\n", "\r"] {
            for mark in ["", "\u{FEFF}"] {
                for last in ["", end] {
                    let text = format!("{mark}{{\"a\":1}}{end}{end}{{\"b\":\"ü\"}}{last}");
                    assert_eq!(all(text.as_bytes()), expected, "{text:?}");
                }
            }
        }
        assert_eq!(all(b""), Ok(vec![]));
        assert_eq!(all(b"\xEF\xBB\xBF"), Ok(vec![]));
    }

    #[test]
    fn an_array_is_read_item_by_item() {
        let text =
            "\u{FEFF}[\r\n {\"a\": \"[}\\\"{\"},{\"b\": [{}]},\r\n\r\n{\r\n\"c\": 1}\r\n]\r\n";
        let found = all(text.as_bytes()).unwrap();
        assert_eq!(found.iter().map(|(line, _)| *line).collect::<Vec<_>>(), [2, 2, 4]);
        for (_, draft) in &found {
            serde_json::from_str::<serde_json::Value>(draft).unwrap();
        }
        assert_eq!(all(b"[]"), Ok(vec![]));
        for (text, why) in [
            ("[{}", "line 1: it ends within the list"),
            ("[{},\n{\"a\": \"", "draft 2, from line 2 on, has no end"),
            ("[{} {}]", "no comma"),
            ("[{},\n1]", "line 2: the items of the list must be drafts"),
            ("[{}]\n{}", "line 2: something follows the list"),
            ("[{},]", "must be drafts"),
        ] {
            assert!(all(text.as_bytes()).unwrap_err().contains(why), "{text}");
        }
    }

    #[test]
    fn what_is_not_utf8_is_refused_with_its_place_and_the_rest_goes_on() {
        let found = all(b"{\"a\":1}\n{\"family\":\"\xDEahin\"}\n{\"c\":1}\n").unwrap();
        assert_eq!(found.len(), 3);
        assert!(found[1].1.starts_with("not_utf8: line 2, byte 12 is not UTF-8"), "{found:?}");
        assert_eq!(found[2], (3, "{\"c\":1}".to_owned()));
        for text in [b"[\n{},\n{\"a\":\n\"\xFC\"}]".as_slice(), b"[\r{},\r{\"a\":\r\"\xFC\"}]"] {
            let found = all(text).unwrap();
            assert!(found[1].1.starts_with("not_utf8: line 4, byte 2 is"), "{found:?}");
        }
        for (encoding, bytes) in [
            ("UTF-16", b"\xFF\xFE{\0}\0\n\0".as_slice()),
            ("UTF-16", b"\xFE\xFF\0{\0}\0\n"),
            ("UTF-16", b"{\0}\0\n\0"),
            ("UTF-16", b"\0{\0}\0\n"),
        ] {
            assert!(all(bytes).unwrap_err().contains(encoding), "{bytes:?}");
        }
    }

    #[test]
    fn a_draft_that_is_too_long_is_named_and_never_held_whole() {
        let long = format!("{{\"a\":\"{}\"}}", "x".repeat(DRAFT_BYTES_MAX));
        for text in [format!("{long}\n{{}}\n"), format!("[{long},\n{{}}]")] {
            let found = all(text.as_bytes()).unwrap();
            assert!(found[0].1.starts_with("draft_too_long"), "{:?}", found[0]);
            assert_eq!(found[1], (2, "{}".to_owned()));
        }
        let whole = format!("{{\"a\":\"{}\"}}", "x".repeat(DRAFT_BYTES_MAX - 8));
        assert_eq!(all(format!("{whole}\r\n").as_bytes()), Ok(vec![(1, whole)]));
    }
}
