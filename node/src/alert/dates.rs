//! Birth dates, full or in part, and ages.

use crate::id::Timestamp;

/// How far the easternmost time zone is ahead of UTC, in seconds.
const DAY_AHEAD_S: i64 = 14 * 3600;

/// Age bands, youngest first, with the last completed year of each.
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

/// The coarse age, so that a policy can give it without the date.
pub(super) fn age_band(age: i32) -> &'static str {
    AGE_BANDS.iter().find(|(_, last)| age <= *last).map_or("65+", |(band, _)| band)
}

/// Whether this is an age band.
pub(super) fn is_age_band(text: &str) -> bool {
    AGE_BANDS.iter().any(|(known, _)| *known == text)
}

/// The first day that a full or partial birth date may mean.
fn earliest(date: &str) -> Option<jiff::civil::Date> {
    let plain = date.bytes().all(|b| b.is_ascii_digit() || b == b'-');
    let padded = match date.len() {
        4 => format!("{date}-01-01"),
        7 => format!("{date}-01"),
        10 => date.to_owned(),
        _ => return None,
    };
    padded.parse().ok().filter(|_| plain)
}

/// The year of a full or partial birth date.
pub(super) fn birth_year(date: &str) -> Option<u16> {
    let year = u16::try_from(earliest(date)?.year()).ok()?;
    (1900..=2100).contains(&year).then_some(year)
}

/// Whether this date is still in the future everywhere.
pub(super) fn is_future(date: &str, now: Timestamp) -> bool {
    earliest(date).is_some_and(|day| day > now.plus(DAY_AHEAD_S).date())
}

/// Completed years at `now`; the youngest possible for a partial date.
pub(super) fn age(date: &str, now: Timestamp) -> Option<i32> {
    let latest = match date.len() {
        4 => format!("{date}-12-31"),
        7 => format!("{date}-01"),
        _ => date.to_owned(),
    };
    let born: jiff::civil::Date = latest.parse().ok()?;
    let born = if date.len() == 7 { born.last_of_month() } else { born };
    let today = now.date();
    let before_birthday = (today.month(), today.day()) < (born.month(), born.day());
    Some(i32::from(today.year()) - i32::from(born.year()) - i32::from(before_birthday))
}
