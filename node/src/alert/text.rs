//! Texts from outside: normalised, bounded, and without characters that hide something.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::regions;
use crate::id::is_hidden;

/// Longest free text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 2000;

/// Longest name or place, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 200;

/// The text in NFC.
///
/// # Errors
/// What is expected instead, when it is empty, too long, or contains characters that must not be
/// shown: controls, invisible and direction-changing ones, private use and noncharacters.
pub(super) fn checked(text: &str, bytes_max: usize) -> Result<String, String> {
    if text.len() > bytes_max {
        return Err(format!("the text is too long: at most {bytes_max} bytes"));
    }
    let text = nfc(text);
    if text.is_empty() {
        return Err("the text is empty: fill it in, or leave the field out".to_owned());
    }
    legible(&text)?;
    Ok(text)
}

/// As [`checked`], for a text of several lines; its length is counted in characters.
///
/// # Errors
/// As [`checked`].
pub(crate) fn checked_lines(text: &str, chars_max: usize) -> Result<String, String> {
    let text = nfc(&text.replace("\r\n", "\n"));
    let chars = text.chars().count();
    if chars > chars_max {
        return Err(format!("the text has {chars} characters: at most {chars_max}"));
    }
    if text.is_empty() {
        return Err("the text is empty: write what the other authority is to know".to_owned());
    }
    text.split('\n').try_for_each(legible)?;
    Ok(text)
}

fn nfc(text: &str) -> String {
    ComposingNormalizerBorrowed::new_nfc().normalize(text.trim()).into_owned()
}

/// Nothing in the line hides what is read.
fn legible(text: &str) -> Result<(), String> {
    if text.chars().any(is_hidden) {
        let why =
            "the text holds invisible, control or direction-changing characters: write it anew";
        return Err(why.to_owned());
    }
    if text.contains(char::REPLACEMENT_CHARACTER) {
        let why =
            "the text holds �, which stands for letters that were lost: write it anew, in UTF-8";
        return Err(why.to_owned());
    }
    if longest_mark_run(text) > MARKS_MAX {
        return Err("the text heaps combining marks on one letter: write it anew".to_owned());
    }
    Ok(())
}

/// Most combining marks on one letter: no script needs more.
const MARKS_MAX: usize = 8;

fn longest_mark_run(text: &str) -> usize {
    let is_mark = |c: char| {
        matches!(
            u32::from(c),
            0x0300..=0x036F | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF
        )
    };
    let runs = text.split(|c| !is_mark(c));
    runs.map(|run| run.chars().count()).max().unwrap_or_default()
}

/// A country, ISO 3166-1 alpha-2, in capitals.
///
/// # Errors
/// What is expected instead, and the country that may have been meant.
pub(super) fn country(text: &str) -> Result<String, (String, Option<String>)> {
    let upper = text.to_ascii_uppercase();
    if regions::is_country(&upper) {
        return Ok(upper);
    }
    let rule =
        "a country has two letters in ISO 3166-1, GR for Greece and GB for the United Kingdom";
    Err(match regions::meant_country(text) {
        Some((code, name)) => {
            (format!("did you mean {code} ({name})? {rule}"), Some(code.to_owned()))
        }
        None => (rule.to_owned(), None),
    })
}
