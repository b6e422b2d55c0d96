//! Texts from outside, made fit for a line of a log, a terminal or a table.

/// Longest text from outside that is shown, in characters: a message says what it has to say in two lines of a terminal.
pub const PRINTABLE_CHARS_MAX: usize = 200;

/// Stands for a character that is not shown.
const REPLACEMENT: char = '\u{FFFD}';

/// Stands for what was cut off.
const CUT: char = '…';

/// A text from outside as it may be shown anywhere: one line of at most 200 characters, with `�` for each that steers,
/// hides or turns what is read, and `…` where it was cut off.
pub fn printable(text: &str) -> String {
    let mut shown = String::with_capacity(text.len().min(PRINTABLE_CHARS_MAX));
    for (place, c) in text.chars().enumerate() {
        // A text that was cut already keeps its length when it passes here again.
        if place + 1 == PRINTABLE_CHARS_MAX && text.chars().nth(PRINTABLE_CHARS_MAX).is_some() {
            shown.push(CUT);
            break;
        }
        shown.push(if is_hidden(c) { REPLACEMENT } else { c });
    }
    shown
}

/// A text as [`printable`] shows it, whatever its length; `kept` are characters that stay, such as the ends of lines.
pub fn visible(text: &str, kept: &[char]) -> String {
    let hidden = |c: char| is_hidden(c) && !kept.contains(&c);
    text.chars().map(|c| if hidden(c) { REPLACEMENT } else { c }).collect()
}

/// Whether a character is not read: controls, ends of lines, invisible and direction-changing ones, private use and
/// noncharacters.
pub fn is_hidden(c: char) -> bool {
    c.is_control()
        || matches!(u32::from(c),
            0x00AD | 0x034F | 0x061C | 0x115F..=0x1160 | 0x17B4..=0x17B5 | 0x180B..=0x180F
            | 0x200B..=0x200F | 0x2028..=0x202E | 0x2060..=0x206F | 0x3164 | 0xE000..=0xF8FF
            | 0xFDD0..=0xFDEF | 0xFE00..=0xFE0F | 0xFEFF | 0xFFA0 | 0xFFF0..=0xFFFB
            | 0x1BCA0..=0x1BCA3 | 0x1D173..=0x1D17A | 0xE0000..=0xE0FFF | 0xF0000..=0x0010_FFFF)
        || u32::from(c) & 0xFFFE == 0xFFFE
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
}
