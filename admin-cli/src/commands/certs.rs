//! `entente certs`: certificates that fit the profile, for trials and small installations.

use std::path::{Path, PathBuf};

use clap::{Args, Subcommand};
use entente_node::home::{Card, HomeError, Layout, hand_over, read_config};
use entente_node::id::{AuthorityId, Clock, Timestamp};
use entente_node::pki::{
    self, Authority, Issued, PkiError, make_folder, write_example, write_file,
};
use entente_node::trust::{check_root, is_user_name};
use serde_json::json;

use crate::files;
use crate::output::{Answer, Failure, Outcome};

#[derive(Subcommand)]
pub enum Command {
    /// Makes a complete example PKI: roots, node certificates and first users of each authority
    #[command(after_help = "Example:\n  \
                            entente certs example --out certs dk.politi fr.police-judiciaire\n  \
                            entente-node init --authority dk.politi --home dk --certs certs")]
    Example {
        /// The folder to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The authorities to make certificates for, e.g. dk.politi
        #[arg(required = true, value_name = "AUTHORITY")]
        authorities: Vec<AuthorityId>,
    },
    /// Makes a key and a request for its certificate, on the user's own machine, which the key
    /// never leaves
    #[command(after_help = "Example:\n  \
                            entente certs request --authority dk.politi --out . jensen\n\
                            Then give jensen.csr to the administrator, and keep jensen.key.")]
    Request {
        /// The authority that the user belongs to
        #[arg(long)]
        authority: AuthorityId,
        /// The folder to write NAME.csr and NAME.key to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// The name of the user: a-z, 0-9, '-', '.', '_'
        #[arg(value_parser = user_name)]
        name: String,
    },
    /// Makes a certificate for a user, a person or a system, from a user CA
    #[command(after_help = "Examples:\n  \
                            entente certs user --home dk --csr jensen.csr --out jensen jensen\n  \
                            entente certs user --ca dk/users/ca --authority dk.politi --out \
                            systems mail-gateway\n\
                            Without --csr this makes the key too: for systems, and for trials.")]
    User(User),
    /// Makes a new certificate for a node, from its node CA
    #[command(after_help = "Example:\n  \
                            entente certs node --ca-certificate dk/tls/roots.pem --ca-key \
                            dk/tls/ca.key --authority dk.politi --host node.politi.example --out \
                            dk/tls/next\n\
                            Then replace node.pem and node.key in dk/tls with them, and run \
                            `entente reload`.")]
    Node {
        /// The file with the certificate of the node CA (PEM)
        #[arg(long, value_name = "FILE")]
        ca_certificate: PathBuf,
        /// The file with the key of the node CA (PEM)
        #[arg(long, value_name = "FILE")]
        ca_key: PathBuf,
        /// The authority that the node belongs to
        #[arg(long)]
        authority: AuthorityId,
        /// A DNS name or IP address at which other gRPC clients reach the node; repeatable
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// The folder to write node.pem and node.key to
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
    },
}

impl Command {
    pub fn run(self) -> Outcome {
        let now = Clock::system().now();
        match self {
            Self::Example { out, authorities } => {
                make_folder(&out).map_err(failed)?;
                write_example(&out, &authorities, now).map_err(failed)?;
                let done = format!(
                    "made the certificates of {} authorities in {}",
                    authorities.len(),
                    out.display()
                );
                Ok(Answer::new(json!({ "folder": out, "authorities": authorities }), done))
            }
            Self::Request { authority, out, name } => request(&authority, &out, &name, now),
            Self::User(user) => user.make(now),
            Self::Node { ca_certificate, ca_key, authority, hosts, out } => {
                let ca = open(&ca_certificate, &ca_key, now)?;
                let Issued { certificate_pem, key_pem } =
                    ca.node(&authority, &hosts, now).map_err(failed)?;
                let card =
                    Card { name: "node".to_owned(), certificate_pem, key_pem: Some(key_pem) };
                write(&out, &card)?;
                let file = out.join("node.pem");
                Ok(Answer::new(json!({ "certificate": file }), format!("made {}", file.display())))
            }
        }
    }
}

/// The user to make a certificate for, and the CA that signs it.
#[derive(Args)]
pub struct User {
    /// The node's home folder: its user CA signs, and its roots and a profile go with the
    /// certificate
    #[arg(
        long,
        value_name = "DIR",
        required_unless_present = "ca",
        conflicts_with_all = ["ca", "authority"]
    )]
    home: Option<PathBuf>,
    /// The user CA: the path of its .pem and .key files without the extension
    #[arg(long, value_name = "PATH", requires = "authority")]
    ca: Option<PathBuf>,
    /// The authority that the user belongs to
    #[arg(long, requires = "ca")]
    authority: Option<AuthorityId>,
    /// The file with the request that `entente certs request` made; the key stays with the user
    #[arg(long, value_name = "FILE")]
    csr: Option<PathBuf>,
    /// The folder to write the certificate to
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The name of the user: a-z, 0-9, '-', '.', '_'
    #[arg(value_parser = user_name)]
    name: String,
}

impl User {
    fn make(self, now: Timestamp) -> Outcome {
        let home = self.home.as_deref().map(Layout::new);
        let config = home.as_ref().map(read_config).transpose();
        let config = config.map_err(|error| Failure::new(error.to_string()))?;
        let authority = config.as_ref().map(|config| config.authority.clone()).or(self.authority);
        let authority = authority.ok_or_else(|| Failure::usage("name the authority"))?;
        let ca = home.as_ref().map(Layout::user_ca).or(self.ca).unwrap_or_default();
        let ca = open(&ca.with_extension("pem"), &ca.with_extension("key"), now)?;
        let card = card(&ca, &authority, self.name, self.csr.as_deref(), now)?;
        let certificate = self.out.join(format!("{}.pem", card.name));
        let mut text = format!("made {}\n", certificate.display());
        match (home, config) {
            (Some(home), Some(config)) => {
                let failed = |error: HomeError| Failure::new(error.to_string());
                let roots = files::read(&home.roots())?;
                hand_over(&self.out, &card, &config, &roots).map_err(failed)?;
                let key = card.key_pem.is_none().then(|| format!(" --key {}.key", card.name));
                let profile = self.out.join("profile.toml");
                text += &format!(
                    "next: an administrator adds the user, and {0} takes over the folder {1}\n  \
                     entente user add {0} --role ROLE --certificate {2}\n  \
                     entente profile add {0} {3}{4}\n",
                    card.name,
                    self.out.display(),
                    certificate.display(),
                    profile.display(),
                    key.unwrap_or_default()
                );
            }
            _ => write(&self.out, &card)?,
        }
        Ok(Answer::new(json!({ "certificate": certificate }), text))
    }
}

fn card(
    ca: &Authority,
    authority: &AuthorityId,
    name: String,
    csr: Option<&Path>,
    now: Timestamp,
) -> Result<Card, Failure> {
    let Some(csr) = csr else {
        let issued = ca.user(authority, &name, now).map_err(failed)?;
        let (certificate_pem, key_pem) = (issued.certificate_pem, Some(issued.key_pem));
        return Ok(Card { name, certificate_pem, key_pem });
    };
    let certificate_pem = ca.user_from_request(authority, &name, &files::read(csr)?, now);
    Ok(Card { name, certificate_pem: certificate_pem.map_err(failed)?, key_pem: None })
}

fn request(authority: &AuthorityId, out: &Path, name: &str, now: Timestamp) -> Outcome {
    let made = pki::request(authority, name, now).map_err(failed)?;
    make_folder(out).map_err(failed)?;
    let (key, csr) = (out.join(format!("{name}.key")), out.join(format!("{name}.csr")));
    write_file(&key, made.key_pem.expose(), 0o600).map_err(failed)?;
    write_file(&csr, &made.request_pem, 0o644).map_err(failed)?;
    let text = format!(
        "made {0} and {1}\ngive {0} to the administrator, and keep {1}",
        csr.display(),
        key.display()
    );
    Ok(Answer::new(json!({ "request": csr, "key": key }), text))
}

fn user_name(text: &str) -> Result<String, &'static str> {
    let sound = is_user_name(text);
    sound.then(|| text.to_owned()).ok_or("a name is 1 to 64 of a-z, 0-9, '-', '.' and '_'")
}

/// Opens a CA that may issue today, with the key that belongs to it.
fn open(certificate: &Path, key: &Path, now: Timestamp) -> Result<Authority, Failure> {
    let pem = files::read(certificate)?;
    let unfit = |error: String| Failure::new(format!("{}: {error}", certificate.display()));
    check_root(&pem, now).map_err(|error| unfit(error.to_string()))?;
    Authority::open(&pem, &files::read(key)?).map_err(|error| match error {
        PkiError::ForeignKey => unfit(format!("{} is not its key", key.display())),
        other => failed(other),
    })
}

fn write(out: &Path, card: &Card) -> Result<(), Failure> {
    make_folder(out).map_err(failed)?;
    let file = |ending| out.join(format!("{}.{ending}", card.name));
    write_file(&file("pem"), &card.certificate_pem, 0o644).map_err(failed)?;
    match &card.key_pem {
        Some(key) => write_file(&file("key"), key.expose(), 0o600).map_err(failed),
        None => Ok(()),
    }
}

fn failed(error: PkiError) -> Failure {
    Failure::new(error.to_string())
}
