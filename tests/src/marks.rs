//! Values that stand in test alerts, to be looked for in every byte on disk.

use std::collections::BTreeSet;
use std::path::Path;

use aho_corasick::AhoCorasick;
use anyhow::ensure;
use base64ct::{Base64, Base64UrlUnpadded, Encoding};

/// Beginnings of the values in the drafts of the simulation and of other tests: long enough to
/// stand in no certificate by chance.
const MARKS: [&str; 7] =
    ["MARKc00", "MARKf00", "MARKm00", "MARKt00", "MARKP00", "MARKcas", "MARKpla"];

/// No value of any alert stands in clear, or in base64 as in a token's disclosures, in any file of
/// a home folder.
///
/// # Errors
/// With the name of the file that holds one.
pub fn check_bytes(folder: &Path) -> anyhow::Result<()> {
    look(folder, &AhoCorasick::new(forms())?)
}

fn look(folder: &Path, forms: &AhoCorasick) -> anyhow::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            look(&path, forms)?;
        } else {
            let found = forms.is_match(&std::fs::read(&path)?);
            ensure!(!found, "{} holds a value in clear", path.display());
        }
    }
    Ok(())
}

/// How the marks look: as they are, and in base64 wherever they begin in a group of three bytes.
fn forms() -> BTreeSet<String> {
    let mut forms = BTreeSet::from(MARKS.map(str::to_owned));
    for mark in MARKS {
        for before in 0..3 {
            let bytes = [&b"   "[..before], mark.as_bytes()].concat();
            let sure = (before * 8).div_ceil(6)..bytes.len() * 8 / 6;
            for text in [Base64::encode_string(&bytes), Base64UrlUnpadded::encode_string(&bytes)] {
                forms.insert(text[sure.clone()].to_owned());
            }
        }
    }
    forms
}

#[cfg(test)]
mod tests {
    use entente_node::alert::{self, Draft};
    use entente_node::id::{AlertId, Clock, Entropy};
    use entente_node::jose::SigningKey;
    use entente_node::sample::Samples;

    use super::*;

    /// What the other tests rely on: a token that lies about, whole or in parts, is found.
    #[test]
    fn a_token_on_disk_is_found() -> anyhow::Result<()> {
        let folder = tempfile::tempdir()?;
        let file = folder.path().join("run/node.log");
        std::fs::create_dir(folder.path().join("run"))?;
        let entropy = Entropy::seeded(1);
        let (id, key) =
            ("dk.politi:2026-481920375".parse::<AlertId>()?, SigningKey::generate(&entropy));
        for width in 0..3 {
            let mut draft = Samples::new(1).next().expect("a sample");
            draft["case_ref"] = format!("{}MARKcase", &"xx"[..width]).into();
            let now = Clock::system().now();
            let draft = Draft::parse(&draft.to_string(), now)?;
            let token = alert::issue(&draft, id.clone(), 1, None, now, &key, &entropy)?.token;
            for (number, part) in token.split('~').enumerate() {
                std::fs::write(&file, part)?;
                let text = Base64UrlUnpadded::decode_vec(part).unwrap_or_default();
                let marked = text.windows(4).any(|window| window == b"MARK");
                assert_eq!(check_bytes(folder.path()).is_err(), marked, "part {number}: {part}");
            }
            std::fs::write(&file, &token)?;
            assert!(check_bytes(folder.path()).is_err());
        }
        std::fs::write(&file, "a birth mark, MARK, MARKET")?;
        check_bytes(folder.path())
    }
}
