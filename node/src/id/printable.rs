//! Makes texts from outside safe to show in a log, a terminal or a table.

use icu_properties::props::{
    DefaultIgnorableCodePoint, GeneralCategory, PrependedConcatenationMark,
};
use icu_properties::{CodePointMapData, CodePointSetData};

/// Longest text from outside that is shown, in characters: about two lines of a terminal.
pub const PRINTABLE_CHARS_MAX: usize = 200;

/// Replaces a character that is not shown.
const REPLACEMENT: char = '\u{FFFD}';

/// Marks where a text was cut off.
const CUT: char = '…';

/// A text from outside in a form that may be shown anywhere: one line of at most 200 characters,
/// with `�` for each control, invisible or direction-changing one, and `…` where it was cut off.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(PRINTABLE_CHARS_MAX));
    for (place, c) in text.chars().enumerate() {
        // A text that was cut before keeps its length when it comes here again.
        if place + 1 == PRINTABLE_CHARS_MAX && text.chars().nth(PRINTABLE_CHARS_MAX).is_some() {
            shown.push(CUT);
            break;
        }
        shown.push(if is_hidden(c) { REPLACEMENT } else { c });
    }
    shown
}

/// A text as [`printable`] shows it, whatever its length; `kept` are characters that stay, such as
/// the ends of lines.
pub fn visible(text: &str, kept: &[char]) -> String {
    let hidden = |c: char| is_hidden(c) && !kept.contains(&c);
    text.chars().map(|c| if hidden(c) { REPLACEMENT } else { c }).collect()
}

/// Unicode calls Braille's empty cell a symbol, but it looks like a blank.
const EMPTY_BRAILLE: char = '\u{2800}';

/// Whether a character must not be shown: controls and line ends, invisible and direction-changing
/// ones (variation selectors and tags too), private use, noncharacters, and unassigned ones.
pub fn is_hidden(c: char) -> bool {
    if c.is_ascii() {
        return c.is_control();
    }
    let ignorable = CodePointSetData::new::<DefaultIgnorableCodePoint>();
    let stands_before = CodePointSetData::new::<PrependedConcatenationMark>();
    match CodePointMapData::<GeneralCategory>::new().get(c) {
        GeneralCategory::Control
        | GeneralCategory::LineSeparator
        | GeneralCategory::ParagraphSeparator
        | GeneralCategory::PrivateUse
        | GeneralCategory::Surrogate
        | GeneralCategory::Unassigned => true,
        // Number signs of Arabic and Syriac are format characters, but visible.
        GeneralCategory::Format => !stands_before.contains(c),
        _ => ignorable.contains(c) || c == EMPTY_BRAILLE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_text_from_outside_becomes_one_bounded_line_that_hides_nothing() {
        for (text, shown) in [
            ("no room", "no room"),
            ("Æblehaven Σ 東京", "Æblehaven Σ 東京"),
            ("a\r\nforged", "a��forged"),
            ("\u{1b}[31mred\u{7}\u{9b}2J", "�[31mred��2J"),
            ("evil\u{202e}cod\u{2066}.\u{200b}x\u{feff}", "evil�cod�.�x�"),
            ("\u{2028}\u{2029}\u{85}\u{ad}\u{e0041}", "�����"),
        ] {
            assert_eq!(printable(text), shown);
            assert_eq!(visible(text, &[]), shown);
        }
        assert_eq!(visible("a\tb\r\nc", &['\n', '\t']), "a\tb�\nc");
    }

    #[test]
    fn length_is_counted_in_characters_and_a_cut_is_shown() {
        let full = "é".repeat(PRINTABLE_CHARS_MAX);
        assert_eq!(printable(&full), full);
        let cut = printable(&"é".repeat(10_000));
        assert_eq!(cut.chars().count(), PRINTABLE_CHARS_MAX);
        assert!(cut.ends_with('…'));
        assert_eq!(printable(&cut), cut, "it may pass twice");
    }

    #[test]
    fn what_is_not_read_is_hidden_and_what_is_read_is_not() {
        let hidden = [
            0x00, 0x1F, 0x7F, 0x80, 0x9F, 0xAD, 0x34F, 0x61C, 0x115F, 0x17B4, 0x180B, 0x180E,
            0x200B, 0x200D, 0x200E, 0x200F, 0x2028, 0x2029, 0x202A, 0x202E, 0x2060, 0x2064, 0x2065,
            0x2066, 0x2069, 0x206F, 0x2800, 0x3164, 0xE000, 0xF8FF, 0xFDD0, 0xFE00, 0xFE0F, 0xFEFF,
            0xFFA0, 0xFFF0, 0xFFF9, 0xFFFF, 0x378, 0x1_3430, 0x1_BCA0, 0x1_D173, 0x1_FFFE,
            0x3_FFFF, 0xE_0001, 0xE_0020, 0xE_007F, 0xE_0100, 0xE_01EF, 0xF_0000, 0x10_FFFF,
        ];
        for code in hidden {
            assert!(is_hidden(char::from_u32(code).unwrap()), "U+{code:04X}");
        }
        for c in "aZ9 -./@:éøßşЖщΣאبنदেꀀ漢あ한❤€\u{a0}\u{301}\u{600}\u{6dd}😀".chars()
        {
            assert!(!is_hidden(c), "{c} U+{:04X}", u32::from(c));
        }
    }
}
