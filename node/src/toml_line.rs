//! The place of an error in a TOML text, for messages to people.

/// The line of the error, counted from 1, and what is wrong with it.
pub(crate) fn located(text: &str, error: &toml::de::Error) -> (usize, String) {
    let start = error.span().map_or(0, |span| span.start);
    let before = text.as_bytes().get(..start).unwrap_or_default();
    let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
    (line, error.message().to_owned())
}
