//! `entente identity`: the key that signs only descriptors and stays away from the node.

use std::io::IsTerminal;
use std::path::PathBuf;

use clap::Subcommand;
use entente_node::id::{AuthorityId, Clock, Entropy, Secret};
use entente_node::jose::SigningKey;
use entente_node::pki::{open_identity, seal_identity};
use entente_node::trust::{Draft, Fingerprint, SignedDescriptor};
use serde_json::json;

use crate::files;
use crate::kind::Kind;
use crate::output::{Answer, Failure, Outcome, fields};

/// Shortest passphrase, in bytes: scrypt slows guessing but does not stop it.
const PASSPHRASE_BYTES_MIN: usize = 12;

#[derive(Subcommand)]
pub enum Command {
    /// Makes an identity key, protected by a passphrase
    #[command(
        after_help = "Example:\n  entente identity create --authority dk.politi --out dk.identity"
    )]
    Create {
        /// The authority that the key identifies, e.g. dk.politi
        #[arg(long)]
        authority: AuthorityId,
        /// The key file to write; keep it off the network
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The file whose first line is the passphrase; asks for it when omitted
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Shows the fingerprint that others compare over the phone
    #[command(after_help = "Examples:\n  \
                            entente identity fingerprint dk.identity\n  \
                            entente identity fingerprint dk/descriptor.jws")]
    Fingerprint {
        /// The file with an identity key or a signed descriptor
        file: PathBuf,
        /// The file whose first line is the passphrase; asks for it when omitted
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
    /// Signs the descriptor that `entente-node init` or `entente-node draft` wrote
    #[command(after_help = "Example:\n  \
                            entente identity sign --key dk.identity --out dk/descriptor.jws \
                            dk/descriptor.draft.json")]
    Sign {
        /// The file with the identity key
        #[arg(long, value_name = "FILE")]
        key: PathBuf,
        /// The file to write the signed descriptor to; replaces an older one
        #[arg(long, value_name = "FILE")]
        out: PathBuf,
        /// The file with the descriptor's draft
        draft: PathBuf,
        /// The file whose first line is the passphrase; asks for it when omitted
        #[arg(long, value_name = "FILE")]
        passphrase_file: Option<PathBuf>,
    },
}

impl Command {
    pub fn run(self) -> Outcome {
        match self {
            Self::Create { authority, out, passphrase_file } => {
                let passphrase = passphrase(passphrase_file, true)?;
                if passphrase.expose().len() < PASSPHRASE_BYTES_MIN {
                    return Err(Failure::new("the passphrase has fewer than 12 bytes"));
                }
                let key = SigningKey::generate(&Entropy::os());
                let sealed = seal_identity(&key, &authority, &passphrase, &Entropy::os())
                    .map_err(|error| Failure::new(error.to_string()))?;
                files::write_new(&out, &sealed, true)?;
                let fingerprint = Fingerprint::of(&authority, &key.public());
                Ok(shown(&authority, &fingerprint, format!("wrote {}", out.display())))
            }
            Self::Fingerprint { file, passphrase_file } => {
                let text = files::read(&file)?;
                if let Ok(descriptor) = SignedDescriptor::parse(&text) {
                    let authority = &descriptor.descriptor().authority;
                    return Ok(shown(authority, &descriptor.fingerprint(), String::new()));
                }
                let (authority, key) = open(&text, passphrase_file)?;
                let fingerprint = Fingerprint::of(&authority, &key.public());
                Ok(shown(&authority, &fingerprint, String::new()))
            }
            Self::Sign { key, out, draft, passphrase_file } => {
                let text = Kind::DescriptorDraft.read(&draft)?;
                let draft: Draft = serde_json::from_str(&text)
                    .map_err(|error| Failure::new(format!("{}: {error}", draft.display())))?;
                let (authority, key) = open(&files::read(&key)?, passphrase_file)?;
                if authority != draft.authority {
                    return Err(Failure::new(format!(
                        "the key is {authority}'s, but the draft is {}'s",
                        draft.authority
                    )));
                }
                let serial = draft.serial;
                let signed = SignedDescriptor::sign(draft, Clock::system().now(), &key)
                    .map_err(|error| Failure::new(error.to_string()))?;
                files::write_over(&out, &format!("{}\n", signed.jws()))?;
                let done = format!("wrote {} with serial {serial}", out.display());
                Ok(shown(&authority, &signed.fingerprint(), done))
            }
        }
    }
}

fn shown(authority: &AuthorityId, fingerprint: &Fingerprint, done: String) -> Answer {
    let text = fields(&[
        ("authority", authority.to_string()),
        ("fingerprint", fingerprint.to_string()),
        ("done", done),
    ]);
    Answer::new(json!({ "authority": authority, "fingerprint": fingerprint.to_string() }), text)
}

fn open(
    text: &str,
    passphrase_file: Option<PathBuf>,
) -> Result<(AuthorityId, SigningKey), Failure> {
    let passphrase = passphrase(passphrase_file, false)?;
    open_identity(text, &passphrase).map_err(|error| Failure::new(error.to_string()))
}

/// Reads the passphrase from a file, or asks for it on the terminal; twice for a new key.
fn passphrase(file: Option<PathBuf>, new: bool) -> Result<Secret<String>, Failure> {
    if let Some(path) = file {
        let text = files::read(&path)?;
        return Ok(Secret::new(text.lines().next().unwrap_or_default().to_owned()));
    }
    if !std::io::stdin().is_terminal() {
        return Err(Failure::usage("no terminal to ask for the passphrase")
            .hint("give it with --passphrase-file"));
    }
    let ask = |prompt: &str| {
        let asked = rpassword::prompt_password(prompt).map(Secret::new);
        asked.map_err(|error| Failure::new(error.to_string()))
    };
    let first = ask("passphrase: ")?;
    if new && ask("passphrase again: ")? != first {
        return Err(Failure::new("the two passphrases differ"));
    }
    Ok(first)
}
