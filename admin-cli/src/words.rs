//! Flags with fixed words: listed in the help, completed by shells, the nearest one suggested for a
//! wrong one.

use clap::builder::PossibleValuesParser;

/// How much alike a suggestion must be, from 0 to 1 (Jaro): below it is another word.
const ALIKE_MIN: f64 = 0.7;

/// Takes the words of a vocabulary and no others.
pub fn of<T: Copy>(all: &[T], as_str: fn(T) -> &'static str) -> PossibleValuesParser {
    PossibleValuesParser::new(all.iter().map(|word| as_str(*word)))
}

/// The word that is most like `text`, if one is.
pub fn nearest<'a>(text: &str, words: &[&'a str]) -> Option<&'a str> {
    let likeness = |word: &&&str| (strsim::jaro(text, word) * 1000.0) as u64;
    let best = words.iter().max_by_key(likeness).copied()?;
    (strsim::jaro(text, best) > ALIKE_MIN).then_some(best)
}
