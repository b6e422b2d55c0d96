//! `entente profile`: how this person reaches their node. Profiles are kept in the configuration
//! folder.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use entente_node::id::{Clock, Timestamp};
use entente_node::pki::make_folder;
use entente_node::tls::{TlsIdentity, read_pem_certificates};
use entente_node::trust::{Identity, certificate_end, is_user_name};
use serde_json::{Value, json};

use crate::files;
use crate::output::{self, Answer, Failure, Outcome, at, fields, table};
use crate::profile::{Profile, default, file_of, names, set_default};

#[derive(Subcommand)]
pub enum Command {
    /// Adds a profile, with copies of its certificate, key and roots; the first one becomes the
    /// default
    #[command(after_help = "Examples:\n  \
                            entente profile add administrator \
                            hand-over/administrator/profile.toml\n  \
                            entente profile add officer jensen/profile.toml --key jensen.key\n\
                            Then delete the folder that the profile came in: your copy of the key \
                            is now in the profile.")]
    Add {
        /// The name to give it, for `--profile`: a-z, 0-9, '-', '.', '_'
        #[arg(value_parser = profile_name)]
        name: String,
        /// The profile file, as `entente-node init` and `entente certs user --home` write it
        file: PathBuf,
        /// The key file, if you made the key on this machine with `entente certs request`
        #[arg(long, value_name = "FILE")]
        key: Option<PathBuf>,
        /// Replaces an existing profile of this name
        #[arg(long)]
        replace: bool,
    },
    /// Lists the profiles
    #[command(after_help = "Example:\n  entente profile list")]
    List,
    /// Makes a profile the default
    #[command(after_help = "Example:\n  entente profile use officer")]
    Use {
        /// The name of the profile
        name: String,
    },
    /// Shows a profile: its user, its node's address, and when its certificate expires
    #[command(after_help = "Examples:\n  entente profile show\n  entente profile show officer")]
    Show {
        /// The name of the profile; the default profile when omitted
        name: Option<String>,
    },
}

fn profile_name(text: &str) -> Result<String, &'static str> {
    let sound = is_user_name(text) && !text.ends_with(".toml");
    sound.then(|| text.to_owned()).ok_or("a name is 1 to 64 of a-z, 0-9, '-', '.' and '_'")
}

impl Command {
    pub fn run(self) -> Outcome {
        match self {
            Self::Add { name, file, key, replace } => add(&name, &file, key, replace),
            Self::List => list(),
            Self::Use { name } => {
                Profile::read(&file_of(&name)?)?;
                set_default(&name)?;
                let text = format!("{name} is the default profile now");
                Ok(Answer::new(json!({ "name": name, "default": true }), text))
            }
            Self::Show { name } => {
                let name = name.or_else(default).ok_or_else(|| {
                    Failure::usage("there is no default profile")
                        .hint("name a profile, or choose a default with `entente profile use NAME`")
                })?;
                let known = Known::read(&name)?;
                Ok(Answer::new(known.json(), known.text()))
            }
        }
    }
}

/// Reads and checks everything before it writes anything.
fn add(name: &str, file: &Path, key: Option<PathBuf>, replace: bool) -> Outcome {
    let mut profile = Profile::read(file)?;
    profile.key = key.unwrap_or(profile.key);
    profile.own(Clock::system().now(), file)?;
    let unfit = |error: entente_node::tls::TlsError| Failure::new(error.to_string());
    read_pem_certificates(&profile.roots).map_err(unfit)?;
    let target = file_of(name)?;
    if target.exists() && !replace {
        return Err(Failure::new(format!("a profile named {name} exists already"))
            .hint("choose another name, or replace it with --replace"));
    }
    let folder = target.with_extension("");
    let failed = |error: entente_node::pki::PkiError| Failure::new(error.to_string());
    make_folder(&folder).map_err(failed)?;
    let parts = [
        ("certificate.pem", &profile.certificate),
        ("key.pem", &profile.key),
        ("roots.pem", &profile.roots),
    ];
    for (part, from) in parts {
        files::write_over(&folder.join(part), &files::read(from)?)?;
    }
    let text = format!(
        "authority = \"{}\"\nendpoint = {}\ncertificate = \"{name}/certificate.pem\"\n\
         key = \"{name}/key.pem\"\nroots = \"{name}/roots.pem\"\n",
        profile.authority,
        toml::Value::String(profile.endpoint)
    );
    files::write_over(&target, &text)?;
    if default().is_none() {
        set_default(name)?;
    }
    let known = Known::read(name)?;
    let next =
        format!("next: try entente whoami --profile {name}, then delete {}\n", file.display());
    Ok(Answer::new(known.json(), known.text() + &next))
}

fn list() -> Outcome {
    let known: Vec<Known> = names().iter().filter_map(|name| Known::read(name).ok()).collect();
    let row = |known: &Known| {
        let mark = if known.default { " (default)" } else { "" };
        let name = format!("{}{mark}", known.name);
        let profile = &known.profile;
        vec![
            name,
            known.user.clone(),
            profile.authority.to_string(),
            profile.endpoint.clone(),
            known.ends_text(),
        ]
    };
    let headers = ["profile", "user", "authority", "endpoint", "certificate expires"];
    let text = table(&headers, known.iter().map(row).collect());
    Ok(Answer::new(output::list(known.iter().map(Known::json)), text))
}

/// A profile in the configuration folder.
struct Known {
    name: String,
    profile: Profile,
    /// The name in the certificate; empty when that can't be read.
    user: String,
    /// The last second of the certificate.
    ends: Option<Timestamp>,
    default: bool,
}

impl Known {
    fn read(name: &str) -> Result<Self, Failure> {
        let profile = Profile::read(&file_of(name)?)?;
        let pem = files::read(&profile.certificate).unwrap_or_default();
        let ends = certificate_end(&pem);
        // Judged at the last second of its validity, so that an expired one still says whose it is.
        let own =
            ends.and_then(|at| TlsIdentity::read(&profile.certificate, &profile.key, at).ok());
        let user = match own.map(|own| own.identity().clone()) {
            Some(Identity::User(_, user)) => user,
            _ => String::new(),
        };
        let default = default().is_some_and(|default| default == name);
        Ok(Self { name: name.to_owned(), profile, user, ends, default })
    }

    fn ends_text(&self) -> String {
        self.ends.map(|at| at.to_string()).unwrap_or_default()
    }

    fn json(&self) -> Value {
        json!({
            "name": self.name, "user": self.user, "authority": self.profile.authority,
            "endpoint": self.profile.endpoint, "certificate": self.profile.certificate,
            "key": self.profile.key, "roots": self.profile.roots,
            "certificate_ends_at": at(self.ends.map_or(0, Timestamp::seconds)),
            "default": self.default,
        })
    }

    fn text(&self) -> String {
        let path = |path: &Path| path.display().to_string();
        fields(&[
            ("profile", self.name.clone()),
            ("user", self.user.clone()),
            ("authority", self.profile.authority.to_string()),
            ("endpoint", self.profile.endpoint.clone()),
            ("certificate", path(&self.profile.certificate)),
            ("certificate expires", self.ends_text()),
            ("key", path(&self.profile.key)),
            ("roots", path(&self.profile.roots)),
            ("default", if self.default { "yes" } else { "" }.to_owned()),
        ])
    }
}
