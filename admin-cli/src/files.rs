//! Files a command reads and writes; `-` is stdin.

use std::fs;
use std::io::Read;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use crate::output::Failure;

/// Largest file read whole: policies, descriptors, drafts are far smaller.
const FILE_BYTES_MAX: u64 = 16 * 1024 * 1024;

/// Reads a file, or stdin for `-`.
pub fn read(path: &Path) -> Result<String, Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", path.display()));
    let mut text = String::new();
    let taken = if path == Path::new("-") {
        std::io::stdin().lock().take(FILE_BYTES_MAX).read_to_string(&mut text)
    } else {
        fs::File::open(path).and_then(|file| file.take(FILE_BYTES_MAX).read_to_string(&mut text))
    };
    if taken.map_err(failed)? as u64 == FILE_BYTES_MAX {
        return Err(Failure::new(format!("{} is larger than 16 MiB", path.display())));
    }
    Ok(text)
}

/// Writes a new file that others may read or (`secret`) may not; never over one that exists.
pub fn write_new(path: &Path, text: &str, secret: bool) -> Result<(), Failure> {
    use std::io::Write as _;
    let mode = if secret { 0o600 } else { 0o644 };
    let written = fs::OpenOptions::new().write(true).create_new(true).mode(mode).open(path);
    written
        .and_then(|mut file| file.write_all(text.as_bytes()).and_then(|()| file.sync_all()))
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// Writes a file in place of an older one, whole or not at all.
pub fn write_over(path: &Path, text: &str) -> Result<(), Failure> {
    let aside = path.with_extension("new");
    fs::write(&aside, text)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
