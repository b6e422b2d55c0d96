//! Times as people write them.

use entente_node::id::{Clock, Timestamp};

/// Parses the time from which on something is meant.
///
/// # Errors
/// What a time looks like.
pub fn since(text: &str) -> Result<Timestamp, String> {
    point(text, 0)
}

/// As [`since`], the time before which something is meant; a day is meant with its end.
///
/// # Errors
/// What a time looks like.
pub fn until(text: &str) -> Result<Timestamp, String> {
    point(text, DAY_S)
}

const DAY_S: i64 = 24 * 3600;

/// Parses a time. A day stands for its beginning (UTC) plus `into_day` seconds.
fn point(text: &str, into_day: i64) -> Result<Timestamp, String> {
    let ago = |seconds: i64| Clock::system().now().plus(-seconds);
    let time = text.parse::<Timestamp>().ok();
    let day = || {
        let day = format!("{text}T00:00:00Z").parse::<Timestamp>().ok()?;
        Some(day.plus(into_day))
    };
    let relative = || {
        let number: i64 = text.get(..text.len().checked_sub(1)?)?.parse().ok()?;
        let unit = match text.chars().last()? {
            'm' => 60,
            'h' => 3600,
            'd' => DAY_S,
            'w' => 7 * DAY_S,
            _ => return None,
        };
        (number >= 0).then(|| ago(number.saturating_mul(unit)))
    };
    time.or_else(day).or_else(relative).ok_or_else(|| {
        "write a time as 2026-03-31, 2026-03-31T12:00:00Z, or an age such as 30m, 36h, 7d, 2w"
            .to_owned()
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_moments_days_or_how_long_ago() {
        let at = |text: &str| text.parse::<Timestamp>().unwrap();
        assert_eq!(since("2026-03-31").unwrap(), at("2026-03-31T00:00:00Z"));
        assert_eq!(until("2026-03-31").unwrap(), at("2026-04-01T00:00:00Z"));
        assert_eq!(until("2026-03-31T12:00:00+02:00").unwrap(), at("2026-03-31T10:00:00Z"));
        let ago = Clock::system().now().since(since("36h").unwrap());
        assert!((36 * 3600..36 * 3600 + 5).contains(&ago), "{ago}");
        for wrong in [
            "",
            "d",
            "-3d",
            "3 d",
            "yesterday",
            "31.3.2026",
            "2026-13-01",
            "7é",
            "99999999999999999999d",
        ] {
            assert!(since(wrong).is_err(), "{wrong}");
        }
    }
}
