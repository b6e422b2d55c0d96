//! Texts from outside: one normal form, a bound, and nothing that hides what is read.

use icu_normalizer::ComposingNormalizerBorrowed;

use super::AlertError;
use crate::id::is_hidden;

/// Longest free text, in bytes.
pub(super) const TEXT_BYTES_MAX: usize = 2000;

/// Longest name or place, in bytes.
pub(super) const NAME_BYTES_MAX: usize = 200;

/// The text in NFC.
///
/// # Errors
/// When it is empty, too long, or holds characters that are not read: controls, invisible and
/// direction-changing ones, private use and noncharacters.
pub(super) fn checked(
    field: &'static str,
    text: &str,
    bytes_max: usize,
) -> Result<String, AlertError> {
    let refused = |why| Err(AlertError::Value { field, why });
    if text.len() > bytes_max {
        return refused("the text is too long");
    }
    let text = ComposingNormalizerBorrowed::new_nfc().normalize(text.trim()).into_owned();
    if text.is_empty() {
        return refused("the text is empty");
    }
    if text.chars().any(is_hidden) {
        return refused("the text holds invisible, control or direction-changing characters");
    }
    if longest_mark_run(&text) > MARKS_MAX {
        return refused("the text heaps combining marks on one letter");
    }
    Ok(text)
}

/// Combining marks on one letter: no script needs more.
const MARKS_MAX: usize = 8;

fn longest_mark_run(text: &str) -> usize {
    let is_mark = |c: char| matches!(u32::from(c), 0x0300..=0x036F | 0x1AB0..=0x1AFF | 0x1DC0..=0x1DFF | 0x20D0..=0x20FF);
    let runs = text.split(|c| !is_mark(c));
    runs.map(|run| run.chars().count()).max().unwrap_or_default()
}

/// The codes of ISO 3166-1 alpha-2; with EU and UN, which it reserves, for their own travel documents, and XK for Kosovo.
const COUNTRIES: &str = "\
    AD AE AF AG AI AL AM AO AQ AR AS AT AU AW AX AZ BA BB BD BE BF BG BH BI BJ BL BM BN BO BQ BR \
    BS BT BV BW BY BZ CA CC CD CF CG CH CI CK CL CM CN CO CR CU CV CW CX CY CZ DE DJ DK DM DO DZ \
    EC EE EG EH ER ES ET EU FI FJ FK FM FO FR GA GB GD GE GF GG GH GI GL GM GN GP GQ GR GS GT GU \
    GW GY HK HM HN HR HT HU ID IE IL IM IN IO IQ IR IS IT JE JM JO JP KE KG KH KI KM KN KP KR KW \
    KY KZ LA LB LC LI LK LR LS LT LU LV LY MA MC MD ME MF MG MH MK ML MM MN MO MP MQ MR MS MT MU \
    MV MW MX MY MZ NA NC NE NF NG NI NL NO NP NR NU NZ OM PA PE PF PG PH PK PL PM PN PR PS PT PW \
    PY QA RE RO RS RU RW SA SB SC SD SE SG SH SI SJ SK SL SM SN SO SR SS ST SV SX SY SZ TC TD TF \
    TG TH TJ TK TL TM TN TO TR TT TV TW TZ UA UG UM UN US UY UZ VA VC VE VG VI VN VU WF WS XK YE \
    YT ZA ZM ZW";

/// A country, ISO 3166-1 alpha-2.
pub(super) fn country(text: &str) -> Result<String, AlertError> {
    let upper = text.to_ascii_uppercase();
    if is_country(&upper) {
        return Ok(upper);
    }
    Err(AlertError::Value {
        field: "country",
        why: "not one of the countries of ISO 3166-1, which has two letters for each: GR for Greece, GB for the United Kingdom",
    })
}

pub(super) fn is_country(code: &str) -> bool {
    COUNTRIES.split(' ').any(|known| known == code)
}
