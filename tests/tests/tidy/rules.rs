//! The rules, each as what it finds in sources: nothing, where they keep it.

use crate::rooms::{Edge, How, Rooms, circles};
use crate::source::{COLUMNS, Source};

/// From its `fn` to its closing brace a function has so many lines at most: as many as a screen
/// shows.
pub const FUNCTION_LINES: usize = 70;

/// The modules of the node: each may know those that stand before it, and no other. A part of a
/// module that stands here by itself has a place of its own.
pub const ORDER: &[&str] = &[
    "reason",
    "text",
    "toml_line",
    "id",
    "jose",
    "alert",
    "notice",
    "trust",
    "roles",
    "policy",
    "matching",
    "sample",
    "audit",
    "shutdown",
    "config",
    "telemetry",
    "worker",
    "pki",
    "tls",
    "store",
    "precedence",
    "node",
    "home",
    "holding",
    "exchange",
    "exchange::send",
    "exchange::receive",
    "exchange::recover",
    "readiness",
    "desk",
    "admin",
    "wire",
    "outbound",
    "server",
    "observe",
    "run",
    "command",
];

/// Parts of a module that don't know each other.
pub const STRANGERS: &[(&str, &str)] = &[("exchange::send", "exchange::receive")];

/// Crates that only some files may name.
pub const FOREIGN: &[(&str, &[&str])] = &[
    ("sled", &["store::database"]),
    ("tonic", &["wire", "outbound", "server"]),
    ("tonic_types", &["wire", "outbound", "server"]),
    ("prost", &["wire", "outbound", "server"]),
    ("entente_proto", &["wire", "outbound", "server"]),
];

/// Modules that know neither tasks nor disks: time and randomness are their arguments.
pub const PURE: &[&str] = &[
    "reason", "text", "id", "jose", "alert", "notice", "trust", "roles", "policy", "matching",
    "audit",
];

/// What a pure module does not name.
const IMPURE: &[&str] = &["tokio", "tokio_stream", "tonic", "sled", "prost", "hyper", "rustls"];

/// What is not in order yet. The list only gets shorter: an entry that is no longer needed fails.
pub const KNOWN: &[&str] = &[];

/// Steps of circles that are not in order yet: the same.
pub const KNOWN_STEPS: &[(&str, &str)] = &[
    ("store::group", "store::commit"),
    ("store::group", "store::recent"),
    ("store::shared", "store::group"),
    ("store::open", "store::upgrade"),
];

/// What was found beyond what is known, and what is known and was not found.
pub fn news(found: &[String], known: &[&str]) -> Vec<String> {
    let is = |found: &str, known: &str| found.split(" (line").next() == Some(known);
    let new = found.iter().filter(|found| !known.iter().any(|known| is(found, known)));
    let old = known.iter().filter(|known| !found.iter().any(|found| is(found, known)));
    let old = old.map(|known| format!("{known}: is in order, take it out of the list"));
    new.cloned().chain(old).collect()
}

fn is_in(module: &str, room: &str) -> bool {
    module.strip_prefix(room).is_some_and(|rest| rest.is_empty() || rest.starts_with("::"))
}

/// The place of a module in an order: that of the longest entry it is in.
fn place(order: &[&str], module: &str) -> Option<usize> {
    let within = order.iter().enumerate().filter(|(_, room)| is_in(module, room));
    within.max_by_key(|(_, room)| room.len()).map(|(place, _)| place)
}

fn path(source: &Source) -> String {
    source.module.join("::")
}

fn told(edge: &Edge<'_>, what: &str) -> String {
    format!("{} {what} {} (line {})", edge.from.name, path(edge.to), edge.line)
}

/// Imports from a module that stands later in the order, or between strangers.
pub fn upward(rooms: &Rooms<'_>, order: &[&str], strangers: &[(&str, &str)]) -> Vec<String> {
    let mut found = Vec::new();
    for edge in rooms.edges().iter().filter(|edge| edge.how != How::HandsOn) {
        let (from, to) = (path(edge.from), path(edge.to));
        if from.is_empty() || to.is_empty() {
            continue; // lib.rs declares the modules, and says its version.
        }
        let apart = |one: &str, two: &str| is_in(&from, one) && is_in(&to, two);
        let strange = strangers.iter().any(|(one, two)| apart(one, two) || apart(two, one));
        match (place(order, &from), place(order, &to)) {
            (Some(here), Some(there)) if there <= here && !strange => {}
            (None, _) => found.push(format!("{} stands in no order", edge.from.name)),
            (_, None) => found.push(format!("{} stands in no order", edge.to.name)),
            _ => found.push(told(edge, "knows")),
        }
    }
    found.sort();
    found.dedup();
    found
}

/// Files that know each other in a circle; `known` edges don't count.
pub fn round(rooms: &Rooms<'_>, known: &[(&str, &str)]) -> Vec<String> {
    let mut edges = rooms.edges();
    edges.retain(|edge| !known.contains(&(path(edge.from).as_str(), path(edge.to).as_str())));
    let circles = circles(&edges);
    let told = circles.iter().map(|circle| {
        let steps: Vec<String> = circle.iter().map(|edge| told(edge, "uses")).collect();
        steps.join(", ")
    });
    told.collect()
}

/// Crates that are named where they may not be.
pub fn foreign(rooms: &Rooms<'_>) -> Vec<String> {
    let mut found = Vec::new();
    for (source, name, line) in rooms.foreign() {
        let module = path(source);
        let within = |places: &[&str]| places.iter().any(|place| is_in(&module, place));
        let barred = FOREIGN.iter().any(|(foreign, places)| *foreign == name && !within(places));
        if barred || within(PURE) && IMPURE.contains(&name.as_str()) {
            found.push(format!("{} names {name} (line {line})", source.name));
        }
    }
    found
}

/// Lines that are too wide.
pub fn wide(sources: &[Source]) -> Vec<String> {
    let told = sources.iter().flat_map(|source| {
        source.wide.iter().map(|(line, columns)| {
            format!("{}:{line} has {columns} columns, {COLUMNS} at most", source.name)
        })
    });
    told.collect()
}

/// Functions that are too long.
pub fn long(sources: &[Source]) -> Vec<String> {
    let told = sources.iter().flat_map(|source| {
        let long = source.functions.iter().filter(|function| function.lines > FUNCTION_LINES);
        long.map(|function| {
            let (name, lines) = (&function.name, function.lines);
            format!("{} {name} has {lines} lines (line {})", source.name, function.line)
        })
    });
    told.collect()
}
