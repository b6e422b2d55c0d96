//! `entente certs`: certificates in the profile, for trying out and for small installations.

use std::path::{Path, PathBuf};

use clap::Subcommand;
use entente_node::id::{AuthorityId, Clock, Timestamp};
use entente_node::pki::{Authority, Issued, PkiError, make_folder, write_example, write_issued};
use entente_node::trust::{check_root, is_user_name};
use serde_json::json;

use crate::files;
use crate::output::{Answer, Failure, Outcome};

#[derive(Subcommand)]
pub enum Command {
    /// Makes a complete example PKI: roots, node certificates and first users of each authority
    #[command(
        after_help = "Example:\n  entente certs example --out certs dk.politi fr.police-judiciaire\n  entente-node init --authority dk.politi --home dk --certs certs"
    )]
    Example {
        /// The folder to make
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Authorities
        #[arg(required = true, value_name = "AUTHORITY")]
        authorities: Vec<AuthorityId>,
    },
    /// Makes a certificate for a person or system, from a user CA
    #[command(
        after_help = "Example:\n  entente certs user --ca dk/users/ca --authority dk.politi --out dk/users jensen"
    )]
    User {
        /// The CA: the path of its .pem and .key without the ending
        #[arg(long, value_name = "PATH")]
        ca: PathBuf,
        /// Whose user
        #[arg(long)]
        authority: AuthorityId,
        /// Folder of the new NAME.pem and NAME.key
        #[arg(long, value_name = "DIR")]
        out: PathBuf,
        /// Name of the user: a-z, 0-9, '-', '.', '_'
        #[arg(value_parser = user_name)]
        name: String,
    },
    /// Makes a new certificate for a node, from its node CA
    #[command(
        after_help = "Example:\n  entente certs node --root-pem dk/tls/roots.pem --root-key dk/tls/ca.key --authority dk.politi --host node.politi.example --out dk/tls/next\nThen put node.pem and node.key in place of those in dk/tls, and run `entente reload`."
    )]
    Node {
        /// Certificate of the node CA
        #[arg(long, value_name = "FILE")]
        root_pem: PathBuf,
        /// Its key
        #[arg(long, value_name = "FILE")]
        root_key: PathBuf,
        /// Whose node
        #[arg(long)]
        authority: AuthorityId,
        /// DNS name or IP address under which clients other than Entente's reach it; may be given again
        #[arg(long = "host", value_name = "HOST")]
        hosts: Vec<String>,
        /// Folder of the new node.pem and node.key
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
            Self::User { ca, authority, out, name } => {
                let ca = open(&ca.with_extension("pem"), &ca.with_extension("key"), now)?;
                let issued = ca.user(&authority, &name, now).map_err(failed)?;
                write(&out, &name, &issued)
            }
            Self::Node { root_pem, root_key, authority, hosts, out } => {
                let ca = open(&root_pem, &root_key, now)?;
                let issued = ca.node(&authority, &hosts, now).map_err(failed)?;
                write(&out, "node", &issued)
            }
        }
    }
}

fn user_name(text: &str) -> Result<String, &'static str> {
    let sound = is_user_name(text);
    sound.then(|| text.to_owned()).ok_or("a name is 1 to 64 of a-z, 0-9, '-', '.' and '_'")
}

/// A CA that may issue today, and its own key.
fn open(certificate: &Path, key: &Path, now: Timestamp) -> Result<Authority, Failure> {
    let pem = files::read(certificate)?;
    let unfit = |error: String| Failure::new(format!("{}: {error}", certificate.display()));
    check_root(&pem, now).map_err(|error| unfit(error.to_string()))?;
    Authority::open(&pem, &files::read(key)?).map_err(|error| match error {
        PkiError::ForeignKey => unfit(format!("{} is not its key", key.display())),
        other => failed(other),
    })
}

fn write(out: &Path, name: &str, issued: &Issued) -> Outcome {
    make_folder(out).map_err(failed)?;
    write_issued(out, name, issued).map_err(failed)?;
    let file = out.join(format!("{name}.pem"));
    Ok(Answer::new(json!({ "certificate": file }), format!("made {}", file.display())))
}

fn failed(error: PkiError) -> Failure {
    Failure::new(error.to_string())
}
