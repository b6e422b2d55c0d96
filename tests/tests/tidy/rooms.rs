//! Who may know whom. Paths are followed through re-exports to the file in which a name is defined,
//! so that `crate::exchange::Receipt` is an import of `exchange/statement.rs`.

use std::collections::{BTreeMap, BTreeSet};

use crate::source::{Named, Names, Source, child};

/// A path may lead through so many re-exports: more than that go round in a circle.
const HOPS: usize = 8;

/// All files of the crate, by module.
pub struct Rooms<'a> {
    files: BTreeMap<&'a Names, &'a Source>,
    tests: BTreeSet<&'a Names>,
}

/// How a file names another one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum How {
    /// It uses what is defined there.
    Uses,
    /// It writes the other's name, whoever defines what stands behind it.
    Writes,
    /// It hands on what one of its own parts defines.
    HandsOn,
}

/// A file names another one.
#[derive(Debug, Clone)]
pub struct Edge<'a> {
    /// Which.
    pub from: &'a Source,
    /// What.
    pub to: &'a Source,
    /// Where, from 1.
    pub line: usize,
    /// How.
    pub how: How,
}

impl Edge<'_> {
    fn is_own_part(&self) -> bool {
        self.to.module.starts_with(&self.from.module)
    }
}

impl<'a> Rooms<'a> {
    /// Of all files of a crate.
    pub fn of(sources: &'a [Source]) -> Self {
        let files = sources.iter().flat_map(|file| file.modules.iter().map(move |m| (m, file)));
        let tests = sources.iter().flat_map(|source| &source.tests).collect();
        Self { files: files.collect(), tests }
    }

    fn is_test(&self, source: &Source) -> bool {
        self.tests.iter().any(|test| source.module.starts_with(test))
    }

    /// Files that are part of the program.
    fn program(&self) -> impl Iterator<Item = &'a Source> {
        let own = self.files.iter().filter(|(module, file)| **module == &file.module);
        own.map(|(_, file)| *file).filter(|file| !self.is_test(file))
    }

    /// What each file names of the others.
    pub fn edges(&self) -> Vec<Edge<'a>> {
        let mut edges = Vec::new();
        for from in self.program() {
            for import in &from.imports {
                let used = !import.shared || from.words.contains(&import.alias);
                self.edge(from, &import.named, used, import.alias == "*", &mut edges);
            }
            for path in &from.paths {
                self.edge(from, path, true, false, &mut edges);
            }
        }
        edges.retain(|edge| edge.from.module != edge.to.module);
        edges
    }

    fn edge(
        &self,
        from: &'a Source,
        named: &Named,
        used: bool,
        all: bool,
        edges: &mut Vec<Edge<'a>>,
    ) {
        let own = |to: &Source| to.module.starts_with(&from.module);
        let line = named.line;
        if let Some(to) = self.written(named).filter(|to| !own(to)) {
            edges.push(Edge { from, to, line, how: How::Writes });
        }
        match self.meant(named) {
            // A module that is imported is no use of what it holds: its paths say what is.
            Some((to, is_module)) if all || !is_module => {
                let how = if used || !own(to) { How::Uses } else { How::HandsOn };
                edges.push(Edge { from, to, line, how });
            }
            _ => {}
        }
    }

    /// The file of the last module that a path writes out.
    fn written(&self, named: &Named) -> Option<&'a Source> {
        let path = absolute(named).unwrap_or_else(|| [&named.within[..], &named.path].concat());
        let modules = (1..=path.len()).rev().map(|length| path[..length].to_vec());
        let mut below = modules.take_while(|module| !module.is_empty());
        below.find_map(|module| self.files.get(&module).copied())
    }

    /// The crates of others that each file names.
    pub fn foreign(&self) -> Vec<(&'a Source, String, usize)> {
        let mut foreign = Vec::new();
        for from in self.program() {
            let imports = from.imports.iter().map(|import| &import.named);
            for path in imports.chain(&from.paths) {
                if absolute(path).is_none() && self.meant(path).is_none() {
                    foreign.push((from, path.path[0].clone(), path.line));
                }
            }
        }
        foreign
    }

    /// The file in which a path ends, and whether it ends at a module; `None` for what is not ours.
    fn meant(&self, named: &Named) -> Option<(&'a Source, bool)> {
        let (start, rest) = match absolute(named) {
            Some(path) => (Vec::new(), path),
            None => (named.within.clone(), named.path.clone()),
        };
        let first = rest.first()?;
        let known = start.is_empty()
            || self.files.contains_key(&child(&start, first))
            || self.alias(&start, first).is_some();
        known.then(|| self.follow(start, &rest, HOPS))?
    }

    fn follow(&self, mut at: Names, rest: &[String], hops: usize) -> Option<(&'a Source, bool)> {
        for (number, name) in rest.iter().enumerate() {
            let last = number + 1 == rest.len();
            let inner = child(&at, name);
            let alias = self.alias(&at, name).filter(|_| hops > 0);
            match (self.files.contains_key(&inner), alias) {
                (true, None) => at = inner,
                (true, Some(_)) if !last => at = inner,
                (_, Some(import)) => {
                    let (start, mut path) = match absolute(import) {
                        Some(path) => (Vec::new(), path),
                        None => (import.within.clone(), import.path.clone()),
                    };
                    let ours =
                        start.is_empty() || self.files.contains_key(&child(&start, path.first()?));
                    path.extend(rest[number + 1..].iter().cloned());
                    return if ours { self.follow(start, &path, hops - 1) } else { None };
                }
                (false, None) => return Some((self.globs(&at, name, hops)?, false)),
            }
        }
        Some((self.files.get(&at)?, true))
    }

    /// What a name in a module stands for, where it is imported there.
    fn alias(&self, module: &Names, name: &str) -> Option<&'a Named> {
        let imports = self.files.get(module)?.imports.iter();
        let mut here = imports.filter(|import| import.named.within == *module);
        here.find(|import| import.alias == name).map(|import| &import.named)
    }

    /// Where a name is defined that a module may have from a `use …::*`.
    fn globs(&self, module: &Names, name: &str, hops: usize) -> Option<&'a Source> {
        let file = self.files.get(module)?;
        let globs = file.imports.iter().filter(|import| import.alias == "*");
        let globs = globs.filter(|import| import.named.within == *module && hops > 0);
        let mut found = globs.filter_map(|import| Some(self.meant(&import.named)?.0));
        let found = found.find(|source| source.words.contains(name));
        Some(found.filter(|_| !file.words.contains(name)).unwrap_or(file))
    }
}

/// A path from the root of the crate, if it is one of ours.
fn absolute(named: &Named) -> Option<Names> {
    let mut base = match named.path.first()?.as_str() {
        "crate" => return Some(named.path[1..].to_vec()),
        "self" => return Some([&named.within[..], &named.path[1..]].concat()),
        "super" => named.within.clone(),
        _ => return None,
    };
    let ups = named.path.iter().take_while(|name| *name == "super").count();
    base.truncate(base.len().saturating_sub(ups));
    base.extend(named.path[ups..].iter().cloned());
    Some(base)
}

/// The circles among files: each as the files of it, with what leads from one to the next. The
/// file of a module and its parts are one thing: it may use them, whatever they use of it.
pub fn circles<'a>(edges: &[Edge<'a>]) -> Vec<Vec<Edge<'a>>> {
    let mut next: BTreeMap<&Names, BTreeMap<&Names, &Edge<'a>>> = BTreeMap::new();
    for edge in edges.iter().filter(|edge| edge.how == How::Uses && !edge.is_own_part()) {
        next.entry(&edge.from.module).or_default().entry(&edge.to.module).or_insert(edge);
    }
    let mut seen = BTreeSet::new();
    let mut circles = Vec::new();
    for start in next.keys() {
        if !seen.contains(*start)
            && let Some(circle) = shortest(&next, start)
        {
            seen.extend(circle.iter().map(|edge| &edge.from.module));
            circles.push(circle);
        }
    }
    circles
}

/// The shortest way from a file back to itself.
fn shortest<'a>(
    next: &BTreeMap<&Names, BTreeMap<&Names, &Edge<'a>>>,
    start: &Names,
) -> Option<Vec<Edge<'a>>> {
    let mut came: BTreeMap<&Names, &Edge<'a>> = BTreeMap::new();
    let mut ring = vec![start];
    while !ring.is_empty() && !came.contains_key(start) {
        let mut outer = Vec::new();
        for at in ring {
            for (to, edge) in next.get(at).into_iter().flatten() {
                if !came.contains_key(*to) {
                    came.insert(to, edge);
                    outer.push(*to);
                }
            }
        }
        ring = outer;
    }
    let mut circle = vec![(*came.get(start)?).clone()];
    while circle.last().is_some_and(|edge| edge.from.module != *start) {
        let from = &circle.last()?.from.module;
        circle.push((*came.get(from)?).clone());
    }
    circle.reverse();
    Some(circle)
}
