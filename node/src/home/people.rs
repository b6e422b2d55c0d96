//! The first people of a node, and what each needs to reach it: certificate, key, roots and
//! profile.

use std::fs;
use std::path::{Path, PathBuf};

use super::{HomeError, Layout, read_text, shown};
use crate::config::Config;
use crate::id::Secret;
use crate::pki::{Authority, FIRST_TWO, FIRST_USERS, make_folder, write_file};

/// A person's certificate, and the key if it was made here.
pub struct Card {
    /// As in the certificate.
    pub name: String,
    /// The certificate.
    pub certificate_pem: String,
    /// Its key; `None` when the person made it on their own machine.
    pub key_pem: Option<Secret<String>>,
}

/// Writes what a person needs into a folder to hand over; `entente profile add` reads it there.
///
/// # Errors
/// When a file exists already or can't be written.
pub fn hand_over(
    folder: &Path,
    card: &Card,
    config: &Config,
    roots: &str,
) -> Result<(), HomeError> {
    let name = &card.name;
    make_folder(folder)?;
    write_card(folder, card)?;
    write_file(&folder.join("roots.pem"), roots, 0o644)?;
    let own = format!("{name}.pem");
    let profile = profile(config, name, &own, &format!("{name}.key"), "roots.pem");
    Ok(write_file(&folder.join("profile.toml"), &profile, 0o600)?)
}

/// Writes the first people of a new home: two, each with a folder to hand over, or four for trials.
/// Returns each with the file of the certificate.
pub(super) fn write_people(
    layout: &Layout,
    config: &Config,
    cards: Vec<Card>,
    trial: bool,
) -> Result<Vec<(String, PathBuf)>, HomeError> {
    let roots = read_text(&layout.roots())?;
    let mut written = Vec::new();
    for card in cards {
        let name = &card.name;
        let folder = if trial {
            write_card(&layout.users(), &card)?;
            // The profiles point at files beside them, so that a home can be moved.
            let file = |ending| format!("../users/{name}.{ending}");
            let profile = profile(config, name, &file("pem"), &file("key"), "../tls/roots.pem");
            make_folder(&layout.profiles())?;
            write_file(&layout.profiles().join(format!("{name}.toml")), &profile, 0o600)?;
            layout.users()
        } else {
            let folder = layout.hand_over().join(name);
            hand_over(&folder, &card, config, &roots)?;
            folder
        };
        written.push((card.name.clone(), folder.join(format!("{name}.pem"))));
    }
    Ok(written)
}

fn write_card(folder: &Path, card: &Card) -> Result<(), HomeError> {
    let file = |ending| folder.join(format!("{}.{ending}", card.name));
    write_file(&file("pem"), &card.certificate_pem, 0o644)?;
    if let Some(key) = &card.key_pem {
        write_file(&file("key"), key.expose(), 0o600)?;
    }
    Ok(())
}

fn profile(config: &Config, name: &str, certificate: &str, key: &str, roots: &str) -> String {
    format!(
        "# How {name} reaches this node: `entente profile add {name} FILE` takes it over. Paths \
         are relative to this file.\n\
         authority = \"{}\"\n\
         endpoint = \"{}\"\n\
         certificate = \"{certificate}\"\n\
         key = \"{key}\"\n\
         roots = \"{roots}\"\n",
        config.authority,
        config.desk_endpoint()
    )
}

/// The first people of a new home.
pub(super) fn first_people(trial: bool) -> &'static [&'static str] {
    if trial { &FIRST_USERS } else { &FIRST_TWO }
}

/// Makes the first people's keys and certificates.
pub(super) fn made(
    users: &Authority,
    config: &Config,
    trial: bool,
    now: crate::id::Timestamp,
) -> Result<Vec<Card>, HomeError> {
    let card = |name: &&str| -> Result<Card, HomeError> {
        let issued = users.user(&config.authority, name, now)?;
        let (certificate_pem, key_pem) = (issued.certificate_pem, Some(issued.key_pem));
        Ok(Card { name: (*name).to_owned(), certificate_pem, key_pem })
    };
    first_people(trial).iter().map(card).collect()
}

/// Takes the first people's certificates from a folder, and their keys if they are there.
pub(super) fn taken(folder: &Path, trial: bool) -> Result<Vec<Card>, HomeError> {
    let card = |name: &&str| -> Result<Card, HomeError> {
        let file = |ending| folder.join(format!("{name}.{ending}"));
        let key = file("key");
        let key_pem = key.exists().then(|| read_text(&key).map(Secret::new)).transpose()?;
        let certificate_pem = read_text(&file("pem"))?;
        Ok(Card { name: (*name).to_owned(), certificate_pem, key_pem })
    };
    first_people(trial).iter().map(card).collect()
}

/// The keys in a home that belong to people, who should keep them themselves.
///
/// # Errors
/// When an existing folder can't be read.
pub(super) fn keys_left(layout: &Layout) -> Result<Vec<String>, HomeError> {
    let mut folders = vec![layout.users()];
    folders.extend(entries(&layout.hand_over())?);
    let mut left = Vec::new();
    for folder in folders {
        let ca = layout.users().join("ca.key");
        let keys = entries(&folder)?.into_iter();
        let keys = keys.filter(|path| path.extension().is_some_and(|e| e == "key") && *path != ca);
        let below = |key: PathBuf| shown(key.strip_prefix(layout.folder()).unwrap_or(&key));
        left.extend(keys.map(below));
    }
    left.sort();
    Ok(left)
}

fn entries(folder: &Path) -> Result<Vec<PathBuf>, HomeError> {
    if !folder.is_dir() {
        return Ok(Vec::new());
    }
    let failed = |error| HomeError::File(shown(folder), error);
    let entries = fs::read_dir(folder).map_err(failed)?;
    entries.map(|entry| entry.map(|entry| entry.path()).map_err(failed)).collect()
}
