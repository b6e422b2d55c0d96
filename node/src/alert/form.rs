//! The one form of every text, list and code in an alert. A draft is brought into it; what comes from outside must be in
//! it already, so that nothing is kept, shown or compared that hides what it says.

use super::AlertError;
use super::content::{Content, Location, Name, Object, Subject};
use super::draft::birth_year;
use super::text::{NAME_BYTES_MAX, TEXT_BYTES_MAX, checked, country, is_country};

/// Elements of one list: keeps a token within its bound.
const LIST_MAX: usize = 16;

/// Age bands, youngest first; the last completed year of each.
const AGE_BANDS: [(&str, i32); 8] = [
    ("0-11", 11),
    ("12-15", 15),
    ("16-17", 17),
    ("18-24", 24),
    ("25-34", 34),
    ("35-49", 49),
    ("50-64", 64),
    ("65+", i32::MAX),
];

/// Coarse age, so that a policy can give it without the date.
pub(super) fn age_band(age: i32) -> &'static str {
    AGE_BANDS.iter().find(|(_, last)| age <= *last).map_or("65+", |(band, _)| band)
}

/// Checks what came from outside.
///
/// # Errors
/// When a part is not in its one form.
pub(super) fn check(content: &Content) -> Result<(), AlertError> {
    let mut normal = content.clone();
    normalise(&mut normal)?;
    if normal == *content {
        return Ok(());
    }
    Err(AlertError::Value { field: "a text or list", why: "it is not in its normal form" })
}

/// Brings every text, list and code into its one form.
///
/// # Errors
/// The first part that has none.
pub(super) fn normalise(content: &mut Content) -> Result<(), AlertError> {
    bounded(content.subjects.len(), "subjects")?;
    bounded(content.objects.len(), "objects")?;
    bounded(content.locations.len(), "locations")?;
    distinct(&mut content.exploitation);
    distinct(&mut content.act);
    distinct(&mut content.means);
    distinct(&mut content.control);
    distinct(&mut content.handling);
    text(&mut content.urgency_reason, "urgency_reason", TEXT_BYTES_MAX)?;
    text(&mut content.handling_text, "handling_text", TEXT_BYTES_MAX)?;
    text(&mut content.legal_basis, "legal_basis", NAME_BYTES_MAX)?;
    text(&mut content.case_ref, "case_ref", NAME_BYTES_MAX)?;
    content.subjects.iter_mut().try_for_each(subject)?;
    content.objects.iter_mut().try_for_each(object)?;
    content.locations.iter_mut().try_for_each(location)
}

fn bounded(length: usize, field: &'static str) -> Result<(), AlertError> {
    if length <= LIST_MAX {
        return Ok(());
    }
    Err(AlertError::Value { field, why: "at most 16 entries" })
}

/// Each word of a vocabulary once.
fn distinct<T: PartialEq + Copy>(words: &mut Vec<T>) {
    let mut seen = Vec::with_capacity(words.len().min(LIST_MAX));
    words.retain(|word| {
        let new = !seen.contains(word);
        if new {
            seen.push(*word);
        }
        new
    });
}

fn text(value: &mut Option<String>, field: &'static str, max: usize) -> Result<(), AlertError> {
    if let Some(held) = value {
        *held = checked(field, held, max)?;
    }
    Ok(())
}

fn texts(values: &mut [String], field: &'static str) -> Result<(), AlertError> {
    bounded(values.len(), field)?;
    for value in values {
        *value = checked(field, value, NAME_BYTES_MAX)?;
    }
    Ok(())
}

fn subject(subject: &mut Subject) -> Result<(), AlertError> {
    bounded(subject.names.len(), "subjects.names")?;
    bounded(subject.identifiers.len(), "subjects.identifiers")?;
    bounded(subject.nationalities.len(), "subjects.nationalities")?;
    subject.names.iter_mut().try_for_each(name)?;
    if let Some(date) = &subject.birth_date {
        birth_year(date)?;
    }
    let band = subject.age_band.as_deref();
    if band.is_some_and(|band| AGE_BANDS.iter().all(|(known, _)| *known != band)) {
        return Err(AlertError::Value { field: "subjects.age_band", why: "not an age band" });
    }
    text(&mut subject.birth_place, "subjects.birth_place", NAME_BYTES_MAX)?;
    text(&mut subject.role, "subjects.role", NAME_BYTES_MAX)?;
    text(&mut subject.modus_operandi, "subjects.modus_operandi", TEXT_BYTES_MAX)?;
    text(&mut subject.behaviour, "subjects.behaviour", TEXT_BYTES_MAX)?;
    text(&mut subject.finances, "subjects.finances", TEXT_BYTES_MAX)?;
    text(&mut subject.necessity_note, "subjects.necessity_note", TEXT_BYTES_MAX)?;
    texts(&mut subject.descriptions, "subjects.descriptions")?;
    texts(&mut subject.marks, "subjects.marks")?;
    texts(&mut subject.convictions, "subjects.convictions")?;
    distinct(&mut subject.warnings);
    for nationality in &mut subject.nationalities {
        *nationality = country(nationality)?;
    }
    Ok(())
}

fn name(name: &mut Name) -> Result<(), AlertError> {
    if name.family.is_empty() && name.given.is_empty() {
        return Err(AlertError::Value {
            field: "subjects.names",
            why: "a name has a family or a given name",
        });
    }
    for part in [&mut name.family, &mut name.given] {
        if !part.is_empty() {
            *part = checked("subjects.names", part, NAME_BYTES_MAX)?;
        }
    }
    Ok(())
}

fn object(object: &mut Object) -> Result<(), AlertError> {
    bounded(object.identifiers.len(), "objects.identifiers")?;
    text(&mut object.description, "objects.description", TEXT_BYTES_MAX)
}

fn location(location: &mut Location) -> Result<(), AlertError> {
    let refused = |why| Err(AlertError::Value { field: "locations", why });
    text(&mut location.text, "locations.text", TEXT_BYTES_MAX)?;
    if location.nuts3.as_deref().is_some_and(|code| !is_nuts(code, 5)) {
        return refused("nuts3 has a country and three letters or digits, e.g. DK011");
    }
    if location.nuts2.as_deref().is_some_and(|code| !is_nuts(code, 4)) {
        return refused("nuts2 has a country and two letters or digits, e.g. DK01");
    }
    if let Some(held) = &mut location.country {
        *held = country(held)?;
    }
    Ok(())
}

/// A country as NUTS has it, then letters and digits.
fn is_nuts(code: &str, length: usize) -> bool {
    let Some((country, rest)) = code.split_at_checked(2) else { return false };
    let known =
        matches!(country, "EL" | "UK") || !matches!(country, "GR" | "GB") && is_country(country);
    let sound = rest.bytes().all(|b| b.is_ascii_uppercase() || b.is_ascii_digit());
    code.len() == length && known && sound
}
