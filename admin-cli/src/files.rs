//! Files a command reads and writes; `-` is stdin.

use std::fs;
use std::path::Path;

use entente_node::{pki, text};

use crate::output::Failure;

/// Reads a file, or stdin for `-`; UTF-8 and nothing else.
pub fn read(path: &Path) -> Result<String, Failure> {
    let text = if path == Path::new("-") {
        text::read_from(std::io::stdin().lock())
    } else {
        text::read(path)
    };
    text.map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}

/// Writes a new file that others may read or (`secret`) may not; never over one that exists.
pub fn write_new(path: &Path, text: &str, secret: bool) -> Result<(), Failure> {
    let mode = if secret { 0o600 } else { 0o644 };
    pki::write_file(path, text, mode).map_err(|error| Failure::new(error.to_string()))
}

/// Writes a file in place of an older one, whole or not at all.
pub fn write_over(path: &Path, text: &str) -> Result<(), Failure> {
    let aside = path.with_extension("new");
    fs::write(&aside, text)
        .and_then(|()| fs::rename(&aside, path))
        .map_err(|error| Failure::new(format!("{}: {error}", path.display())))
}
