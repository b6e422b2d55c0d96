//! Profiles: which node, as whom.

use std::path::{Path, PathBuf};

use entente_node::id::{AuthorityId, Clock};
use entente_node::text;
use entente_node::tls::{Target, TlsIdentity, connect, read_pem_certificates};
use tonic::transport::Channel;

use crate::output::Failure;

/// How a person or system reaches its node.
struct Profile {
    /// Whose node it must be.
    authority: AuthorityId,
    /// `host:port` of its desk door.
    endpoint: String,
    /// PEM of the own certificate; relative to the profile.
    certificate: PathBuf,
    /// PEM of its key.
    key: PathBuf,
    /// PEM of the roots that vouch for the node.
    roots: PathBuf,
}

impl Profile {
    /// Says what is wrong without a word of the text: it may be a key that was named by mistake.
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

/// Connects as the profile says: a name below `~/.config/entente/profiles`, or the path of a file.
pub async fn open(profile: Option<&str>) -> Result<Channel, Failure> {
    let path = path(profile)?;
    let (profile, folder) = read(&path)?;
    let below = |file: &Path| folder.join(file);
    let unfit = |error: entente_node::tls::TlsError| {
        Failure::new(error.to_string()).hint(format!("look at {}", path.display()))
    };
    let now = Clock::system().now();
    let own = TlsIdentity::read(&below(&profile.certificate), &below(&profile.key), now);
    let target = Target {
        authority: profile.authority,
        roots: read_pem_certificates(&below(&profile.roots)).map_err(unfit)?,
        own: own.map_err(unfit)?,
    };
    let connected = connect(&profile.endpoint, &target).await;
    connected.map_err(|error| not_connected(&error, &target.authority, &profile.endpoint, &path))
}

/// A node that is another authority's is no outage: trying again would not help.
fn not_connected(error: &str, authority: &AuthorityId, endpoint: &str, path: &Path) -> Failure {
    let named = error.split_once("the certificate names the node of ");
    if let Some(other) = named.and_then(|(_, rest)| rest.split(',').next()) {
        return Failure::new(format!(
            "the profile is {authority}'s, the node at {endpoint} is {other}'s"
        ))
        .hint(format!("look at authority and endpoint in {}", path.display()));
    }
    Failure::unreachable(format!("the node of {authority} at {endpoint} can't be reached: {error}"))
        .hint("is the node running (`entente-node run`), and is the profile's endpoint its desk door?")
}

fn path(profile: Option<&str>) -> Result<PathBuf, Failure> {
    let name = profile.ok_or_else(|| {
        Failure::usage(
            "this command speaks to a node: name a profile with --profile or ENTENTE_PROFILE",
        )
        .hint("`entente-node init` made some, e.g. --profile HOME/profiles/officer.toml")
    })?;
    if name.contains('/') || name.ends_with(".toml") {
        return Ok(PathBuf::from(name));
    }
    let config = std::env::var_os("XDG_CONFIG_HOME").map(PathBuf::from);
    let config = config.or_else(|| Some(PathBuf::from(std::env::var_os("HOME")?).join(".config")));
    let folder = config.unwrap_or_default().join("entente/profiles");
    Ok(folder.join(format!("{name}.toml")))
}

fn read(path: &Path) -> Result<(Profile, PathBuf), Failure> {
    let shown = path.display();
    let text = text::read(path).map_err(|error| {
        Failure::new(format!("the profile {shown} can't be read: {error}"))
            .hint("copy one that `entente-node init` made, or give the path of a file")
    })?;
    let profile = Profile::parse(&text)
        .map_err(|what| Failure::new(format!("{shown} is not a profile: {what}")))?;
    Ok((profile, path.parent().unwrap_or(Path::new(".")).to_owned()))
}
