//! The last part of compacting: a copy that is whole takes the store's place, whoever opens the
//! store next.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{CWD, FlockOperation, RenameFlags, flock, renameat_with};

use super::StoreError;

/// Below the store's folder, while it is compacted.
pub(super) const FOLDER: &str = "compact";

/// In there: of which state of the log the copy is. A copy of another state is begun anew.
pub(super) const OF: &str = "of";

/// In there: the copy is whole, and only has to take its place.
pub(super) const WHOLE: &str = "whole";

/// In the copy of the database: tells it from the one whose place it takes.
pub(super) const COPY: &str = "copy";

/// Puts a copy that is whole in the place of the store; nothing where there is none. Each step may
/// be the last one before a crash, and is done once.
pub(super) fn take_place(folder: &Path) -> Result<(), StoreError> {
    let copy = folder.join(FOLDER);
    let Ok(whole) = File::open(copy.join(WHOLE)) else { return Ok(()) };
    flock(&whole, FlockOperation::LockExclusive).map_err(std::io::Error::from)?;
    if !copy.join(WHOLE).exists() {
        return Ok(());
    }
    STEPS.iter().try_for_each(|step| step(folder, &copy))
}

/// One step; it is given the folders of the store and of the copy.
type Step = fn(&Path, &Path) -> Result<(), StoreError>;

/// What puts a copy in the place of the store, each durable before the next.
pub(super) const STEPS: [Step; 5] = [
    // From now on what lies there is no beginning of a copy.
    |_, copy| {
        remove(&copy.join(OF))?;
        sync(copy)
    },
    |folder, copy| {
        if copy.join("cells").exists() {
            fs::rename(copy.join("cells"), folder.join("cells"))?;
        }
        sync(folder)
    },
    // At once: a node that is started meanwhile finds one database or the other, never none.
    |folder, copy| {
        if copy.join("db").join(COPY).exists() {
            let (new, old) = (copy.join("db"), folder.join("db"));
            renameat_with(CWD, new, CWD, old, RenameFlags::EXCHANGE)
                .map_err(std::io::Error::from)?;
        }
        sync(folder)?;
        sync(copy)
    },
    |folder, copy| {
        remove(&folder.join("tokens"))?;
        remove(&folder.join("db").join(COPY))?;
        sync(&folder.join("db"))?;
        if copy.join("db").exists() {
            fs::remove_dir_all(copy.join("db"))?;
        }
        sync(folder)
    },
    |folder, copy| {
        fs::remove_dir_all(copy)?;
        sync(folder)
    },
];

fn remove(file: &Path) -> Result<(), StoreError> {
    match fs::remove_file(file) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error.into()),
        _ => Ok(()),
    }
}

pub(super) fn write_synced(folder: &Path, name: &str, text: &str) -> Result<(), StoreError> {
    fs::write(folder.join(name), text)?;
    File::open(folder.join(name))?.sync_all()?;
    sync(folder)
}

pub(super) fn sync(folder: &Path) -> Result<(), StoreError> {
    Ok(File::open(folder)?.sync_all()?)
}
