//! What somebody may have meant, of what there is.

/// The known word that is most similar to `text`, if one is similar.
pub(super) fn nearest<'a>(text: &str, known: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let text: String = text.chars().take(ALIKE_CHARS_MAX).collect::<String>().to_lowercase();
    let alike = |word: &str| strsim::jaro_winkler(&text, &word.to_lowercase());
    let best = known.map(|word| (alike(word), word)).max_by(|a, b| a.0.total_cmp(&b.0));
    best.filter(|(likeness, _)| *likeness >= ALIKE_MIN).map(|(_, word)| word)
}

/// Most characters that are compared: no word is longer.
const ALIKE_CHARS_MAX: usize = 40;

/// How similar a suggestion must be, from 0 to 1 (Jaro-Winkler); below this it is a different word.
const ALIKE_MIN: f64 = 0.75;

/// Says that a text is none of `words`, with the most similar one.
pub(super) fn no_word(words: &[&'static str], text: &str) -> (String, Option<String>) {
    let near = nearest(text, words.iter().copied());
    let meant =
        near.map_or("there is no such word:".to_owned(), |near| format!("did you mean {near}?"));
    (format!("{meant} it is one of {}", words.join(", ")), near.map(str::to_owned))
}
