//! Flags that were renamed: whoever uses an old name is told the new one.

use clap::error::{ContextKind, ContextValue};

/// Group and command, the old name, the new name.
const FLAGS: [([&str; 2], &str, &str); 7] = [
    (["alert", "create"], "--confirm", "--override-reason"),
    (["alert", "import"], "--confirm", "--override-reason"),
    (["alert", "import"], "--again", "--recreate"),
    (["alert", "update"], "--confirm", "--override-reason"),
    (["alert", "update"], "--version", "--expected-version"),
    (["certs", "node"], "--root-pem", "--ca-certificate"),
    (["certs", "node"], "--root-key", "--ca-key"),
];

/// What to say of arguments that hold an old name; `None` where something else is wrong with them.
pub fn told(error: &clap::Error, words: &[String]) -> Option<String> {
    let Some(ContextValue::String(unknown)) = error.get(ContextKind::InvalidArg) else {
        return None;
    };
    let names = |path: &[&str; 2]| words.windows(2).any(|pair| pair == path);
    let known = FLAGS.iter().find(|(path, old, _)| *old == unknown && names(path));
    known.map(|(_, old, new)| format!("{old} is now {new}"))
}
