//! Profiles: which node to call, and with which certificate. Named profiles are kept in the
//! configuration folder, each with copies of its files.

use std::path::{Path, PathBuf};

use entente_node::id::{AuthorityId, Clock, Timestamp};
use entente_node::outbound::connect;
use entente_node::pki::make_folder;
use entente_node::text;
use entente_node::tls::{Target, TlsError, TlsIdentity, read_pem_certificates};
use entente_node::trust::CertificateError;
use tonic::transport::Channel;

use crate::files;
use crate::output::Failure;

/// How a person or system reaches its node.
pub struct Profile {
    /// The authority whose node it must be.
    pub authority: AuthorityId,
    /// `host:port` of the node's desk door.
    pub endpoint: String,
    /// PEM file of the user's certificate; its path in the profile is relative to the profile.
    pub certificate: PathBuf,
    /// PEM file of the certificate's key.
    pub key: PathBuf,
    /// PEM file of the roots that vouch for the node.
    pub roots: PathBuf,
}

impl Profile {
    /// Reads a profile and resolves the paths of its files.
    pub fn read(path: &Path) -> Result<Self, Failure> {
        let shown = path.display();
        let text = text::read(path).map_err(|error| {
            Failure::new(format!("the profile {shown} can't be read: {error}"))
                .hint("`entente profile list` shows the profiles, `entente profile add` adds one")
        })?;
        let profile = Self::parse(&text)
            .map_err(|what| Failure::new(format!("{shown} is not a profile: {what}")))?;
        let folder = path.parent().unwrap_or(Path::new("."));
        Ok(Self {
            certificate: folder.join(profile.certificate),
            key: folder.join(profile.key),
            roots: folder.join(profile.roots),
            ..profile
        })
    }

    /// The certificate and key, validated.
    pub fn own(&self, now: Timestamp, path: &Path) -> Result<TlsIdentity, Failure> {
        TlsIdentity::read(&self.certificate, &self.key, now).map_err(|error| unfit(&error, path))
    }

    /// Says what is wrong without quoting the text: it may be a key that was named by mistake.
    fn parse(text: &str) -> Result<Self, String> {
        let mut table: toml::Table = text.parse().map_err(|error: toml::de::Error| {
            let start = error.span().map_or(0, |span| span.start);
            let before = text.as_bytes().get(..start).unwrap_or_default();
            let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
            format!("line {line} is not TOML")
        })?;
        let mut setting = |name: &str| match table.remove(name) {
            Some(toml::Value::String(value)) => Ok(value),
            Some(_) => Err(format!("{name} must be a text in quotation marks")),
            None => Err(format!("it lacks {name}")),
        };
        let authority = setting("authority")?;
        let profile = Self {
            authority: authority
                .parse()
                .map_err(|_| "authority must be a name such as dk.politi")?,
            endpoint: setting("endpoint")?,
            certificate: setting("certificate")?.into(),
            key: setting("key")?.into(),
            roots: setting("roots")?.into(),
        };
        if table.is_empty() {
            return Ok(profile);
        }
        Err("it has more than authority, endpoint, certificate, key and roots".to_owned())
    }
}

fn unfit(error: &TlsError, path: &Path) -> Failure {
    Failure::new(error.to_string()).hint(match error {
        TlsError::Certificate(_, CertificateError::Ended(_)) => {
            "request a new one with `entente certs request`, and give the request to the \
             administrator"
                .to_owned()
        }
        _ => format!("look at {}", path.display()),
    })
}

/// Connects as the profile says. `profile` is a name in `~/.config/entente/profiles` or the path of
/// a file; the default profile when `None`.
pub async fn open(profile: Option<&str>) -> Result<Channel, Failure> {
    let path = path(profile)?;
    let profile = Profile::read(&path)?;
    let roots = read_pem_certificates(&profile.roots);
    let own = profile.own(Clock::system().now(), &path)?;
    let roots = roots.map_err(|error| unfit(&error, &path))?;
    let target = Target { authority: profile.authority, roots, own };
    let connected = connect(&profile.endpoint, &target).await;
    connected.map_err(|error| not_connected(&error, &target.authority, &profile.endpoint, &path))
}

/// A node of another authority is not an outage: trying again would not help.
fn not_connected(error: &str, authority: &AuthorityId, endpoint: &str, path: &Path) -> Failure {
    let named = error.split_once("the certificate names the node of ");
    if let Some(other) = named.and_then(|(_, rest)| rest.split(',').next()) {
        return Failure::new(format!(
            "the profile is {authority}'s, but the node at {endpoint} is {other}'s"
        ))
        .hint(format!("look at authority and endpoint in {}", path.display()));
    }
    if let Some((_, day)) = error.split_once(": it ended on ") {
        let day: String = day.chars().take("2026-01-31".len()).collect();
        return Failure::new(format!("the certificate of {authority}'s node ended on {day}")).hint(
            "ask the administrator to replace it (`entente certs node`), and to run `entente \
             reload` or restart the node",
        );
    }
    Failure::unreachable(format!("the node of {authority} at {endpoint} can't be reached: {error}"))
        .hint(
            "is the node running (`entente-node run`), and is the profile's endpoint its desk \
             door?",
        )
}

fn path(profile: Option<&str>) -> Result<PathBuf, Failure> {
    let name = profile.filter(|name| !name.is_empty()).map(str::to_owned);
    let name = name.or_else(default).ok_or_else(|| {
        Failure::usage(
            "this command calls a node: name a profile with --profile or ENTENTE_PROFILE",
        )
        .hint(
            "`entente-node init` made some, e.g. HOME/hand-over/administrator/profile.toml; \
             `entente profile add` adds one",
        )
    })?;
    if name.contains('/') || name.ends_with(".toml") {
        return Ok(PathBuf::from(name));
    }
    file_of(&name)
}

/// `$XDG_CONFIG_HOME/entente`, or `~/.config/entente`.
fn folder() -> Result<PathBuf, Failure> {
    let set = |name| std::env::var_os(name).filter(|value| !value.is_empty()).map(PathBuf::from);
    let config = set("XDG_CONFIG_HOME").or_else(|| Some(set("HOME")?.join(".config")));
    let config = config.ok_or_else(|| {
        Failure::usage("profiles are kept below $XDG_CONFIG_HOME or $HOME, but neither is set")
    })?;
    Ok(config.join("entente"))
}

/// The path of the profile with this name, whether or not it exists.
pub fn file_of(name: &str) -> Result<PathBuf, Failure> {
    Ok(folder()?.join("profiles").join(format!("{name}.toml")))
}

/// The names of all profiles, in order.
pub fn names() -> Vec<String> {
    let entries = folder().and_then(|folder| {
        std::fs::read_dir(folder.join("profiles")).map_err(|error| Failure::new(error.to_string()))
    });
    let name = |entry: std::io::Result<std::fs::DirEntry>| {
        let name = entry.ok()?.file_name().into_string().ok()?;
        name.strip_suffix(".toml").map(str::to_owned)
    };
    let mut names: Vec<String> = entries.into_iter().flatten().filter_map(name).collect();
    names.sort();
    names
}

/// The name of the default profile.
pub fn default() -> Option<String> {
    let name = text::read(&folder().ok()?.join("default-profile")).ok()?;
    Some(name.trim().to_owned()).filter(|name| !name.is_empty())
}

/// Makes this profile the default.
pub fn set_default(name: &str) -> Result<(), Failure> {
    let folder = folder()?;
    make_folder(&folder).map_err(|error| Failure::new(error.to_string()))?;
    files::write_over(&folder.join("default-profile"), &format!("{name}\n"))
}
