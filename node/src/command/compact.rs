//! `entente-node compact`: what people see of it.

use std::path::Path;

use indicatif::ProgressBar;

use super::upgrade::bar as progress_bar;
use super::{say, tell};
use crate::home;
use crate::id::{Clock, Entropy};
use crate::store::Compacting;

/// Compacts the store of a home; says what it does on stderr, and what it gave back on stdout.
pub(super) fn compact(home: &Path) -> anyhow::Result<()> {
    let mut bar: Option<ProgressBar> = None;
    let mut show = |Compacting { done, total, needed }: Compacting| {
        let bar = bar.get_or_insert_with(|| {
            tell(&format!(
                "What the store of {} holds is written anew beside it, which takes up to {} of \
                 disk until it is done. No node may run on it meanwhile. When this is ended or \
                 killed it goes on where it was when it is run again, or is begun anew where a \
                 node ran in between.",
                home.display(),
                mebibytes(needed)
            ));
            progress_bar()
        });
        bar.set_length(total);
        bar.set_position(done);
    };
    let compacted = home::compact(home, Clock::system(), Entropy::os(), &mut show);
    if let Some(bar) = bar {
        bar.finish_and_clear();
    }
    let (before, after) = compacted?;
    say(&format!(
        "compacted: the store takes {}, and took {}",
        mebibytes(after),
        mebibytes(before)
    ))?;
    Ok(())
}

fn mebibytes(bytes: u64) -> String {
    format!("{} MiB", bytes.div_ceil(1 << 20))
}
