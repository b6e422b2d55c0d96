//! What a file holds, so that a wrong one is named as what it is. Only its form is looked at and
//! nothing of it is quoted: it may be a key that was named by mistake.

use std::path::Path;

use base64ct::{Base64UrlUnpadded, Encoding};
use entente_node::alert::ALERT_TYP;
use entente_node::audit::CHECKPOINT_TYP;
use entente_node::trust::DESCRIPTOR_TYP;
use serde_json::Value;

use crate::files;
use crate::output::Failure;

/// The kinds of files that commands read and write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A signed descriptor.
    Descriptor,
    /// A descriptor before it is signed.
    DescriptorDraft,
    /// A signed alert, with its disclosures.
    Alert,
    /// The draft of an alert.
    AlertDraft,
    /// A signed head of an audit log.
    Checkpoint,
    /// A sharing policy.
    Policy,
    /// `entente.toml`.
    Configuration,
    /// How a person reaches their node.
    Profile,
    /// PEM.
    Certificate,
    /// PEM.
    Request,
    /// A private key, an identity key among them.
    Key,
    /// No byte.
    Empty,
    /// Anything else.
    Unknown,
}

impl Kind {
    /// The kind of this text, by its form.
    pub fn of(text: &str) -> Self {
        let text = text.trim();
        if text.is_empty() {
            return Self::Empty;
        }
        pem(text)
            .or_else(|| signed(text))
            .or_else(|| json(text))
            .or_else(|| toml(text))
            .unwrap_or(Self::Unknown)
    }

    fn name(self) -> &'static str {
        match self {
            Self::Descriptor => "a signed descriptor",
            Self::DescriptorDraft => "the draft of a descriptor, which is not signed",
            Self::Alert => "a signed alert",
            Self::AlertDraft => "the draft of an alert",
            Self::Checkpoint => "a checkpoint of an audit log",
            Self::Policy => "a sharing policy",
            Self::Configuration => "the configuration of a node",
            Self::Profile => "a profile",
            Self::Certificate => "a certificate",
            Self::Request => "a request for a certificate",
            Self::Key => "a private key",
            Self::Empty => "an empty file",
            Self::Unknown => "something else",
        }
    }

    /// Where a file of this kind comes from.
    fn source(self) -> &'static str {
        match self {
            Self::Descriptor => {
                "`entente peer export --out FILE` and `entente identity sign --out FILE` write one"
            }
            Self::DescriptorDraft => "`entente-node init` and `entente-node draft` write one",
            Self::Alert => "`entente alert show ALERT --token FILE` writes one",
            Self::Policy => "docs/policy.md says how to write one",
            _ => "see --help",
        }
    }

    /// Reads a file of this kind; refuses one of another kind, and says which it is.
    pub fn read(self, path: &Path) -> Result<String, Failure> {
        let text = files::read(path)?;
        let found = Self::of(&text);
        if found == self { Ok(text) } else { Err(self.refusal(found, path)) }
    }

    /// What to say where this kind is expected and another was found.
    pub fn refusal(self, found: Self, path: &Path) -> Failure {
        let what = match found {
            Self::Unknown => format!("{} is not {}", path.display(), self.name()),
            found => format!("{} is {}, not {}", path.display(), found.name(), self.name()),
        };
        Failure::new(what).hint(self.source())
    }
}

fn pem(text: &str) -> Option<Kind> {
    let begun = text.lines().find_map(|line| line.strip_prefix("-----BEGIN "))?;
    Some(match begun.trim_end_matches('-') {
        "CERTIFICATE" => Kind::Certificate,
        "CERTIFICATE REQUEST" => Kind::Request,
        label if label.ends_with("PRIVATE KEY") => Kind::Key,
        _ => Kind::Unknown,
    })
}

/// By the `typ` in the header of a compact JWS or SD-JWT.
fn signed(text: &str) -> Option<Kind> {
    let (header, rest) = text.split_once('.')?;
    rest.split_once('.')?;
    let header = Base64UrlUnpadded::decode_vec(header).ok()?;
    let header: Value = serde_json::from_slice(&header).ok()?;
    Some(match header.get("typ")?.as_str()? {
        DESCRIPTOR_TYP => Kind::Descriptor,
        ALERT_TYP => Kind::Alert,
        CHECKPOINT_TYP => Kind::Checkpoint,
        _ => Kind::Unknown,
    })
}

fn json(text: &str) -> Option<Kind> {
    let value: Value = serde_json::from_str(text).ok()?;
    let has = |name| value.get(name).is_some();
    Some(match () {
        () if has("statement_keys") => Kind::DescriptorDraft,
        () if has("category") => Kind::AlertDraft,
        () => Kind::Unknown,
    })
}

fn toml(text: &str) -> Option<Kind> {
    let table: toml::Table = text.parse().ok()?;
    let has = |name| table.contains_key(name);
    Some(match () {
        () if has("rule") || table.is_empty() => Kind::Policy,
        () if has("exchange") || has("desk") => Kind::Configuration,
        () if has("endpoint") && has("certificate") => Kind::Profile,
        () => Kind::Unknown,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_known_by_its_form() {
        let token = |typ: &str| {
            let header =
                Base64UrlUnpadded::encode_string(format!("{{\"typ\":{typ:?}}}").as_bytes());
            format!("{header}.e30.c2ln\n")
        };
        for (text, kind) in [
            (token(DESCRIPTOR_TYP), Kind::Descriptor),
            (token(ALERT_TYP) + "~WyJhIl0~", Kind::Alert),
            (token(CHECKPOINT_TYP), Kind::Checkpoint),
            (token("entente-head+jwt"), Kind::Unknown),
            (r#"{"authority":"dk.politi","statement_keys":[]}"#.into(), Kind::DescriptorDraft),
            (
                entente_node::alert::Draft::template("missing_protect".parse().unwrap()),
                Kind::AlertDraft,
            ),
            ("[[rule]]\nname = \"a\"".into(), Kind::Policy),
            ("# nothing is shared\n".into(), Kind::Policy),
            ("authority = \"dk.politi\"\n[exchange]\n".into(), Kind::Configuration),
            ("endpoint = \"a:1\"\ncertificate = \"b\"".into(), Kind::Profile),
            ("-----BEGIN CERTIFICATE-----\nMA==".into(), Kind::Certificate),
            ("-----BEGIN CERTIFICATE REQUEST-----\nMA==".into(), Kind::Request),
            (
                "entente identity of dk.politi\n-----BEGIN ENCRYPTED PRIVATE KEY-----".into(),
                Kind::Key,
            ),
            (" \n".into(), Kind::Empty),
            ("c4nary".into(), Kind::Unknown),
        ] {
            assert_eq!(Kind::of(&text), kind, "{text}");
        }
    }
}
