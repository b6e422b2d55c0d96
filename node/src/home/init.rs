//! Making a home folder: configuration, keys, certificates, store, first users and their profiles.

use std::fs;
use std::path::{Path, PathBuf};

use super::people::{self, Card};
use super::{HomeError, Layout, read_config, read_node_key, read_text, shown, store_options};
use crate::alert::SCHEMAS;
use crate::audit::{Event, Operation};
use crate::config::{Choices, Config};
use crate::id::{AuthorityId, Clock, Digest, Entropy, Secret};
use crate::jose::SigningKey;
use crate::node::enter_user;
use crate::pki::{self, Authority, make_folder, read_signing_key, write_file};
use crate::roles::Role;
use crate::store::{CommitError, Committed, Store, StoreError, Tx, User, UserState};
use crate::tls::read_pem_certificates;
use crate::trust::{DatedKey, Draft, SignedDescriptor, key_digest};

/// How long a statement or log key may sign, in seconds: two years.
const KEY_LIFE_S: i64 = 2 * 365 * 86_400;

/// The result of making a home.
#[derive(Clone, Debug)]
pub struct Initialised {
    /// Whose home.
    pub authority: AuthorityId,
    /// Names of the first users; each has one role, of the same name.
    pub users: Vec<String>,
}

/// Makes a home folder. `certificates` is a folder as `entente certs example` makes it; without
/// one, a node CA and a user CA are made here.
///
/// # Errors
/// When the folder is not empty, or a part can't be made.
pub fn init(
    home: &Path,
    choices: &Choices,
    certificates: Option<&Path>,
    clock: &Clock,
    entropy: &Entropy,
) -> Result<Initialised, HomeError> {
    if fs::read_dir(home).is_ok_and(|mut entries| entries.next().is_some()) {
        return Err(HomeError::Unfit(format!("{} is not empty: choose a new folder", shown(home))));
    }
    if let Some(folder) = certificates.map(|folder| folder.join(choices.authority.as_str()))
        && !folder.is_dir()
    {
        return Err(HomeError::Unfit(format!(
            "{} is not there: make it with `entente certs example`, or leave --certs out",
            shown(&folder)
        )));
    }
    let unfinished = Unfinished { home, existed: home.exists() };
    let layout = Layout::new(home);
    for folder in ["", "keys", "tls", "users", "run"] {
        make_folder(&home.join(folder))?;
    }
    write_file(&layout.config(), &choices.to_text(), 0o600)?;
    let config = read_config(&layout)?;
    write_keys(&layout, entropy)?;
    let trial = choices.trial;
    let cards = match certificates {
        Some(folder) => copy_certificates(folder, home, &config.authority, trial)?,
        None => make_certificates(&layout, home, &config, trial, clock)?,
    };
    let people = people::write_people(&layout, &config, cards, trial)?;
    make_store(&layout, &config, &people, clock, entropy)?;
    draft_descriptor(home, clock)?;
    std::mem::forget(unfinished);
    let users = people.into_iter().map(|(name, _)| name).collect();
    Ok(Initialised { authority: config.authority, users })
}

/// Removes the remains of a failed try when dropped, since they would block the next one. The
/// folder was empty before.
struct Unfinished<'a> {
    home: &'a Path,
    existed: bool,
}

impl Drop for Unfinished<'_> {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(self.home);
        if self.existed {
            let _ = make_folder(self.home);
        }
    }
}

fn write_keys(layout: &Layout, entropy: &Entropy) -> Result<(), HomeError> {
    for path in [layout.statement_key(), layout.log_key()] {
        let pem = pki::signing_key_pem(&SigningKey::generate(entropy))?;
        write_file(&path, pem.expose(), 0o600)?;
    }
    let node_key = Secret::new(hex::encode(entropy.bytes::<32>()));
    write_file(&layout.node_key(), node_key.expose(), 0o600)?;
    Ok(())
}

fn make_certificates(
    layout: &Layout,
    home: &Path,
    config: &Config,
    trial: bool,
    clock: &Clock,
) -> Result<Vec<Card>, HomeError> {
    let (authority, now) = (&config.authority, clock.now());
    let root = Authority::new(&format!("{authority} node CA"), now)?;
    write_file(&layout.roots(), root.certificate_pem(), 0o644)?;
    write_file(&home.join("tls/ca.key"), root.key_pem().expose(), 0o600)?;
    pki::write_issued(&home.join("tls"), "node", &root.node(authority, &config.hosts(), now)?)?;
    let users = Authority::new(&format!("{authority} user CA"), now)?;
    write_file(&layout.user_ca(), users.certificate_pem(), 0o644)?;
    write_file(&home.join("users/ca.key"), users.key_pem().expose(), 0o600)?;
    people::made(&users, config, trial, now)
}

fn copy_certificates(
    certificates: &Path,
    home: &Path,
    authority: &AuthorityId,
    trial: bool,
) -> Result<Vec<Card>, HomeError> {
    let from = certificates.join(authority.as_str());
    let copy = |source: String, target: String, mode| -> Result<(), HomeError> {
        write_file(&home.join(target), &read_text(&from.join(source))?, mode)?;
        Ok(())
    };
    copy("roots.pem".to_owned(), "tls/roots.pem".to_owned(), 0o644)?;
    copy("node.pem".to_owned(), "tls/node.pem".to_owned(), 0o644)?;
    copy("node.key".to_owned(), "tls/node.key".to_owned(), 0o600)?;
    copy("user-ca.pem".to_owned(), "users/ca.pem".to_owned(), 0o644)?;
    if from.join("user-ca.key").exists() {
        copy("user-ca.key".to_owned(), "users/ca.key".to_owned(), 0o600)?;
    }
    people::taken(&from.join("users"), trial)
}

fn make_store(
    layout: &Layout,
    config: &Config,
    people: &[(String, PathBuf)],
    clock: &Clock,
    entropy: &Entropy,
) -> Result<(), HomeError> {
    let node_key = read_node_key(&layout.node_key())?;
    let options = store_options(config);
    let (owner, folder) = (&config.authority, layout.store());
    let store = Store::open(&folder, owner, &node_key, &options, clock.clone(), entropy.clone())?;
    for (name, certificate) in people {
        let (name, key) = (name.clone(), user_key(certificate)?);
        let roles: Vec<Role> = Role::parse(&name).into_iter().collect();
        let entered =
            store.commit_blocking(move |tx| Ok::<_, StoreError>(first_user(tx, &name, roles, key)));
        entered.map_err(CommitError::flatten)?;
    }
    store.close();
    Ok(())
}

/// Enters a user of a new home, which has nobody yet who could add or approve one.
fn first_user(tx: &mut Tx<'_>, name: &str, roles: Vec<Role>, key: Digest) -> Committed<User> {
    let state = UserState::Active;
    let user = User { roles, key, state, added_by: "init".to_owned(), approved_by: None };
    enter_user(tx, name, user, Event::new(Operation::User, "user.added", "init"))
}

fn user_key(certificate: &Path) -> Result<Digest, HomeError> {
    let chain = read_pem_certificates(certificate)?;
    let leaf = chain.first().map(|leaf| leaf.as_ref()).unwrap_or_default();
    let unfit = |error| HomeError::Unfit(format!("{}: {error}", shown(certificate)));
    key_digest(leaf).map_err(unfit)
}

/// Writes the descriptor to be signed, from the present configuration, keys and roots, with the
/// serial after that of the signed one.
///
/// # Errors
/// When a part can't be read, or the draft can't be written.
pub fn draft_descriptor(home: &Path, clock: &Clock) -> Result<Draft, HomeError> {
    let layout = Layout::new(home);
    let config = read_config(&layout)?;
    let now = clock.now().seconds();
    let dated = |path: &Path| -> Result<DatedKey, HomeError> {
        let key = read_signing_key(path)?.public();
        Ok(DatedKey { key, not_before: now - 86_400, not_after: now + KEY_LIFE_S })
    };
    let signed = read_text(&layout.descriptor()).ok();
    let signed = signed.and_then(|jws| SignedDescriptor::parse(&jws).ok());
    let contact = Some(&config.contact).filter(|contact| !contact.is_empty());
    let draft = Draft {
        authority: config.authority.clone(),
        serial: signed.map_or(0, |signed| signed.descriptor().serial) + 1,
        statement_keys: vec![dated(&layout.statement_key())?],
        log_keys: vec![dated(&layout.log_key())?],
        tls_roots: split_pem(&read_text(&layout.roots())?),
        endpoints: vec![config.exchange.advertise.to_string()],
        schemas: (SCHEMAS.min, SCHEMAS.max),
        contact: contact
            .map_or_else(|| format!("the 24 h desk of {}", config.authority), ToString::to_string),
    };
    let json = serde_json::to_string_pretty(&draft).unwrap_or_default();
    let path = layout.draft();
    pki::replace_file(&path, &(json + "\n"))?;
    Ok(draft)
}

/// Splits a file into its certificates, as descriptors carry them.
fn split_pem(text: &str) -> Vec<String> {
    const END: &str = "-----END CERTIFICATE-----";
    let ends = text.split_inclusive(END).map(str::trim);
    ends.filter(|part| part.ends_with(END)).map(|part| format!("{part}\n")).collect()
}
