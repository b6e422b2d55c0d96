//! A source file as the rules see it: what it is, what it declares, what it names, how long it is.
//!
//! The tokens are read, not the syntax tree: half of the paths of the node stand within macros
//! (`assert!`, `select!`, `table!`), which a parser of Rust leaves as they are.

use std::collections::BTreeSet;
use std::path::Path;

use proc_macro2::{Delimiter, Group, TokenStream, TokenTree};

/// The segments of a path, as written or from the root of the crate.
pub type Names = Vec<String>;

/// A path as it is written, with the first line on which it stands.
#[derive(Debug, Clone)]
pub struct Named {
    /// The module that it is written in.
    pub within: Names,
    /// Its segments.
    pub path: Names,
    /// From 1.
    pub line: usize,
}

/// One name that a `use` brings in.
#[derive(Debug, Clone)]
pub struct Import {
    /// What it leads to.
    pub named: Named,
    /// As what; `*` for everything.
    pub alias: String,
    /// Whether others may use it from there (`pub`, `pub(super)`, …).
    pub shared: bool,
}

/// A function.
#[derive(Debug)]
pub struct Function {
    /// Its name.
    pub name: String,
    /// From its `fn` to its closing brace, both counted.
    pub lines: usize,
    /// Of its `fn`, from 1.
    pub line: usize,
}

/// What was read of one file.
#[derive(Debug, Default)]
pub struct Source {
    /// Below the root of the project.
    pub name: String,
    /// The module that it is, from the root of its crate.
    pub module: Names,
    /// Every module that stands in it: itself, and those in braces.
    pub modules: BTreeSet<Names>,
    /// The names that it imports, but in tests.
    pub imports: Vec<Import>,
    /// The other paths in it, but in tests.
    pub paths: Vec<Named>,
    /// Words of its code that are no part of an import, but in tests.
    pub words: BTreeSet<String>,
    /// Modules of files of their own that are compiled for tests alone.
    pub tests: BTreeSet<Names>,
    /// Every function, in tests too.
    pub functions: Vec<Function>,
    /// Lines wider than the house permits: from 1, with their columns.
    pub wide: Vec<(usize, usize)>,
}

/// Columns of a line, at most: two files stand side by side on a screen.
pub const COLUMNS: usize = 100;

impl Source {
    /// Reads a file; `name` says where it lies below the root of the project.
    ///
    /// # Errors
    /// When the text is not Rust.
    pub fn read(name: &str, text: &str) -> Result<Self, String> {
        let tokens: TokenStream = text.parse().map_err(|error| format!("{name}: {error}"))?;
        let mut source = Self { name: name.to_owned(), module: module(name), ..Self::default() };
        source.modules.insert(source.module.clone());
        let within = source.module.clone();
        source.walk(tokens, &within, false);
        let columns = text.lines().map(|line| line.chars().count()).enumerate();
        let wide = columns.filter(|(_, columns)| *columns > COLUMNS);
        source.wide = wide.map(|(number, columns)| (number + 1, columns)).collect();
        Ok(source)
    }

    fn walk(&mut self, tokens: TokenStream, within: &Names, test: bool) {
        let tokens: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < tokens.len() {
            at = self.step(&tokens, at, within, test);
        }
    }

    /// Reads what begins here; gives where the next begins.
    fn step(&mut self, tokens: &[TokenTree], at: usize, within: &Names, test: bool) -> usize {
        match &tokens[at] {
            TokenTree::Punct(mark) if mark.as_char() == '#' && is_test(tokens.get(at + 1)) => {
                let end = end_of_item(tokens, at + 2);
                if let [.., TokenTree::Ident(name), TokenTree::Punct(_)] = &tokens[at + 2..end] {
                    self.tests.insert(child(within, &name.to_string()));
                }
                self.walk(tokens[at + 2..end].iter().cloned().collect(), within, true);
                end
            }
            TokenTree::Group(group) => {
                self.walk(group.stream(), within, test);
                at + 1
            }
            TokenTree::Ident(word) => self.word(&word.to_string(), tokens, at, within, test),
            _ => at + 1,
        }
    }

    fn word(
        &mut self,
        word: &str,
        tokens: &[TokenTree],
        at: usize,
        within: &Names,
        test: bool,
    ) -> usize {
        match (word, tokens.get(at + 1)) {
            ("use", Some(_)) if !punct(tokens.get(at + 1), '<') => {
                let ends = tokens[at..].iter().position(|token| punct(Some(token), ';'));
                let end = ends.map_or(tokens.len(), |length| at + length);
                let shared = is_shared(&tokens[..at]);
                if !test {
                    self.import(&tokens[at + 1..end], within, Vec::new(), shared);
                }
                end
            }
            ("mod", Some(TokenTree::Ident(name))) => match tokens.get(at + 2) {
                Some(TokenTree::Group(body)) => {
                    let inner = child(within, &name.to_string());
                    self.modules.insert(inner.clone());
                    self.walk(body.stream(), &inner, test);
                    at + 3
                }
                _ => at + 3,
            },
            ("fn", Some(TokenTree::Ident(name))) => {
                if let Some(body) = body(&tokens[at..]) {
                    let line = tokens[at].span().start().line;
                    let lines = body.span_close().end().line - line + 1;
                    self.functions.push(Function { name: name.to_string(), lines, line });
                }
                at + 2
            }
            _ => self.path(tokens, at, within, test),
        }
    }

    /// A path, or a word by itself.
    fn path(&mut self, tokens: &[TokenTree], at: usize, within: &Names, test: bool) -> usize {
        let mut path = vec![tokens[at].to_string()];
        let mut next = at + 1;
        while let (true, Some(TokenTree::Ident(word))) =
            (colons(tokens, next), tokens.get(next + 2))
        {
            path.push(word.to_string());
            next += 3;
        }
        if !test {
            self.words.insert(path[0].clone());
            // What stands behind `<T as Trait>::` belongs to a type, not to a module.
            let of_a_type = at > 2 && colons(tokens, at - 2) && punct(tokens.get(at - 3), '>');
            if path.len() > 1 && !of_a_type {
                let line = tokens[at].span().start().line;
                self.paths.push(Named { within: within.clone(), path, line });
            }
        }
        next
    }

    /// A tree of a `use`, or a branch of one.
    fn import(&mut self, tokens: &[TokenTree], within: &Names, before: Names, shared: bool) {
        let mut path = before;
        for (at, token) in tokens.iter().enumerate() {
            match token {
                TokenTree::Ident(word) if *word == "as" => {
                    let alias = tokens.get(at + 1).map(ToString::to_string).unwrap_or_default();
                    return self.imported(token, within, path, alias, shared);
                }
                TokenTree::Ident(word) => path.push(word.to_string()),
                TokenTree::Punct(mark) if mark.as_char() == '*' => {
                    return self.imported(token, within, path, "*".to_owned(), shared);
                }
                TokenTree::Group(group) => {
                    let branches: Vec<TokenTree> = group.stream().into_iter().collect();
                    for branch in branches.split(|token| punct(Some(token), ',')) {
                        self.import(branch, within, path.clone(), shared);
                    }
                    return;
                }
                _ => {}
            }
        }
        if let (Some(token), Some(alias)) = (tokens.first(), path.last().cloned()) {
            let own = alias == "self";
            let alias = if own { path.iter().rev().nth(1).cloned() } else { Some(alias) };
            self.imported(token, within, path, alias.unwrap_or_default(), shared);
        }
    }

    fn imported(
        &mut self,
        token: &TokenTree,
        within: &Names,
        mut path: Names,
        alias: String,
        shared: bool,
    ) {
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let line = token.span().start().line;
        let named = Named { within: within.clone(), path, line };
        self.imports.push(Import { named, alias, shared });
    }
}

/// The module that a file is: `node/src/store/log.rs` is `store::log`.
fn module(name: &str) -> Names {
    let below = name.split_once("src/").map_or(name, |(_, below)| below);
    let path = Path::new(below).with_extension("");
    let names = path.iter().map(|part| part.to_string_lossy().into_owned());
    names.filter(|name| name != "lib").collect()
}

pub fn child(of: &[String], name: &str) -> Names {
    of.iter().cloned().chain([name.to_owned()]).collect()
}

fn punct(token: Option<&TokenTree>, wanted: char) -> bool {
    matches!(token, Some(TokenTree::Punct(mark)) if mark.as_char() == wanted)
}

fn colons(tokens: &[TokenTree], at: usize) -> bool {
    punct(tokens.get(at), ':') && punct(tokens.get(at + 1), ':')
}

/// Whether an attribute keeps what follows it for tests.
fn is_test(attribute: Option<&TokenTree>) -> bool {
    let Some(TokenTree::Group(group)) = attribute else { return false };
    let text: String = group.stream().into_iter().map(|token| token.to_string()).collect();
    group.delimiter() == Delimiter::Bracket && matches!(text.as_str(), "cfg(test)" | "test")
}

/// Whether a `use` that follows these tokens is `pub` in some way.
fn is_shared(before: &[TokenTree]) -> bool {
    let visible = |token: &TokenTree| matches!(token, TokenTree::Ident(word) if *word == "pub");
    match before {
        [.., word, TokenTree::Group(_)] if visible(word) => true,
        [.., word] => visible(word),
        [] => false,
    }
}

/// Behind the semicolon or the body that an item ends with.
fn end_of_item(tokens: &[TokenTree], from: usize) -> usize {
    let mut words = tokens[from..].iter().filter_map(|token| match token {
        TokenTree::Ident(word) if *word != "pub" => Some(word.to_string()),
        _ => None,
    });
    let first = words.next().unwrap_or_default();
    let has_body = !matches!(first.as_str(), "use" | "const" | "static");
    let ends = |token: &TokenTree| match token {
        TokenTree::Punct(mark) => mark.as_char() == ';',
        TokenTree::Group(group) => group.delimiter() == Delimiter::Brace && has_body,
        _ => false,
    };
    let length = tokens[from..].iter().position(ends).map_or(tokens.len() - from, |n| n + 1);
    from + length
}

/// The body of a function: a trait's may have none.
fn body(tokens: &[TokenTree]) -> Option<&Group> {
    tokens.iter().find_map(|token| match token {
        TokenTree::Punct(mark) if mark.as_char() == ';' => Some(None),
        TokenTree::Group(group) if group.delimiter() == Delimiter::Brace => Some(Some(group)),
        _ => None,
    })?
}
