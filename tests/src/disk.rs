//! A small disk in memory, to be filled: a really full one, which takes the right to mount.

use std::fs::File;
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

/// A node asks at most so often how much is free.
pub const LOOKED_AT_EVERY: Duration = Duration::from_millis(1100);

/// Gone when this is dropped.
pub struct Disk {
    /// Where it is mounted.
    pub folder: PathBuf,
}

impl Disk {
    /// `None` where nothing may be mounted.
    pub fn mount(folder: &Path, megabytes: u32) -> Option<Self> {
        std::fs::create_dir_all(folder).ok()?;
        let size = format!("size={megabytes}m");
        let mounted =
            Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(folder).output();
        let mounted = mounted.is_ok_and(|output| output.status.success());
        if !mounted {
            eprintln!("no disk is filled: this user may not mount one");
        }
        mounted.then(|| Self { folder: folder.to_owned() })
    }

    fn filler(&self) -> PathBuf {
        self.folder.join("filler")
    }

    /// Fills it to the last byte.
    ///
    /// # Errors
    /// When the file that fills it cannot be opened.
    pub fn fill(&self) -> std::io::Result<()> {
        let mut filler = File::options().create(true).append(true).open(self.filler())?;
        for size in [1 << 20, 4096, 1] {
            let piece = vec![7; size];
            while filler.write_all(&piece).is_ok() {}
        }
        Ok(())
    }

    /// Ends that; nothing when it was not filled.
    ///
    /// # Errors
    /// When the file that filled it cannot be removed.
    pub fn empty(&self) -> std::io::Result<()> {
        match std::fs::remove_file(self.filler()) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }
}

impl Drop for Disk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("-l").arg(&self.folder).status();
    }
}
