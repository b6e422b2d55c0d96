//! Countries and regions: the known ones, and the most similar to what somebody wrote.

use super::nearest::nearest;

/// ISO 3166-1: alpha-2, alpha-3, name; with EU and UN, which it reserves, for their own travel
/// documents, and XK for Kosovo.
const COUNTRIES: &str = include_str!("countries.txt");

/// NUTS 2024 (1059/2003 as amended by 2023/674) and the statistical regions of EFTA and candidate
/// countries: each region of level 2 with the last characters of those of level 3 in it.
const NUTS: &str = include_str!("nuts.txt");

/// Countries with regions that are not in the list: only the form of theirs is checked.
const NUTS_BY_FORM: [&str; 6] = ["UK", "UA", "MD", "BA", "XK", "GE"];

/// Most regions suggested for what was written.
const NEAR_MAX: usize = 5;

fn countries() -> impl Iterator<Item = (&'static str, &'static str, &'static str)> {
    COUNTRIES.lines().filter_map(|line| {
        let (alpha_2, rest) = line.split_once(' ')?;
        let (alpha_3, name) = rest.split_once(' ')?;
        Some((alpha_2, alpha_3, name))
    })
}

/// Whether this is a country of ISO 3166-1 alpha-2, in capitals.
pub(super) fn is_country(code: &str) -> bool {
    countries().any(|(alpha_2, ..)| alpha_2 == code)
}

/// The country that somebody may have meant, with its name.
pub(super) fn nearest_country(text: &str) -> Option<(&'static str, &'static str)> {
    let text = text.trim();
    let alpha_2 = match text.to_ascii_uppercase().as_str() {
        "EL" => "GR",
        "UK" => "GB",
        code => countries().find(|(_, alpha_3, _)| *alpha_3 == code).map(|found| found.0)?,
    };
    countries().find(|found| found.0 == alpha_2).map(|found| (found.0, found.2))
}

/// Like [`nearest_country`], but also by the English name.
pub(super) fn meant_country(text: &str) -> Option<(&'static str, &'static str)> {
    let by_name = || {
        let name = nearest(text, countries().map(|found| found.2))?;
        countries().find(|found| found.2 == name).map(|found| (found.0, found.2))
    };
    nearest_country(text).or_else(|| (text.chars().count() > 3).then(by_name).flatten())
}

/// Every region of this many characters.
pub(super) fn regions(length: usize) -> impl Iterator<Item = String> {
    NUTS.lines().filter_map(|line| line.split_once(' ')).flat_map(move |(region, within)| {
        let smaller = within.chars().map(|last| format!("{region}{last}"));
        let smaller: Vec<String> = if length == 4 { vec![] } else { smaller.collect() };
        let itself = (length == 4).then(|| region.to_owned());
        itself.into_iter().chain(smaller)
    })
}

/// A country as NUTS has it, then letters and digits.
pub(super) fn has_nuts_form(code: &str, length: usize) -> bool {
    let Some((country, rest)) = code.split_at_checked(2) else { return false };
    let known =
        matches!(country, "EL" | "UK") || !matches!(country, "GR" | "GB") && is_country(country);
    let sound = rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    code.len() == length && known && sound
}

/// Whether there is a region of this code.
pub(super) fn is_nuts(code: &str, length: usize) -> bool {
    let Some((country, rest)) = code.split_at_checked(2) else { return false };
    if NUTS_BY_FORM.contains(&country) {
        return has_nuts_form(code, length);
    }
    let Some((region, last)) = code.split_at_checked(4) else { return false };
    rest.len() + 2 == length
        && NUTS.lines().filter_map(|line| line.split_once(' ')).any(|(known, within)| {
            known == region && (length == 4 || last.len() == 1 && within.contains(last))
        })
}

/// Regions similar to what somebody wrote: those that share the longest beginning with it.
pub(super) fn near_regions(code: &str, length: usize) -> Vec<String> {
    let code = code.trim().to_ascii_uppercase();
    for shared in (2..length).rev() {
        let Some(start) = code.get(..shared) else { continue };
        let near: Vec<String> =
            regions(length).filter(|region| region.starts_with(start)).take(NEAR_MAX).collect();
        if !near.is_empty() {
            return near;
        }
    }
    vec![]
}

/// The ISO 3166-1 country of a region: NUTS uses other letters for Greece and the United Kingdom.
pub(super) fn country_of(nuts: &str) -> Option<&str> {
    nuts.get(..2).map(|code| match code {
        "EL" => "GR",
        "UK" => "GB",
        code => code,
    })
}
