//! Each rule fails on what it forbids, planted in sources of its own.

use crate::rooms::Rooms;
use crate::rules::{self, FUNCTION_LINES};
use crate::source::{COLUMNS, Source};

const ORDER: &[&str] = &["id", "store", "node", "node::send", "node::receive", "desk"];

fn planted(files: &[(&str, &str)]) -> Vec<Source> {
    let read = |(name, text): &(&str, &str)| Source::read(&format!("node/src/{name}.rs"), text);
    files.iter().map(read).collect::<Result<_, _>>().expect("Rust")
}

/// What the rule of directions finds.
fn upward(files: &[(&str, &str)]) -> Vec<String> {
    rules::upward(&Rooms::of(&planted(files)), ORDER, &[("node::send", "node::receive")])
}

/// What the rule of circles finds.
fn round(files: &[(&str, &str)]) -> Vec<String> {
    rules::round(&Rooms::of(&planted(files)), &[])
}

#[test]
fn an_import_from_above_is_found_however_it_is_written() {
    let written = [
        "use crate::desk::Issued;",
        "use crate::{id::AuthorityId, desk::Issued};",
        "use crate::{\n    id::AuthorityId,\n    desk::{self, list::{Page, Cursor as Place}},\n};",
        "use super::desk::Issued;",
        "use super::{desk, id};",
        "use crate::desk::*;",
        "pub use crate::desk::Issued;",
        "fn f() -> crate::desk::Issued { loop {} }",
        "mod inner { use super::super::desk::Issued; }",
        "mod inner { use crate::desk::Issued; }",
        "fn f() { assert!(matches!(x, Some(crate::desk::Issued { .. }))); }",
        "macro_rules! m { () => { $crate::desk::issue() } }",
        "#[cfg(test)]\nmod tests { use crate::id; }\nuse crate::desk::Issued;",
        "#[cfg(test)]\nmod tests;\n\nimpl From<crate::desk::Issued> for Mine {}",
        "use crate as everything;\nfn f() { everything::desk::issue() }",
    ];
    for text in written {
        let found = upward(&[("desk", ""), ("desk/list", ""), ("id", ""), ("store", text)]);
        assert!(!found.is_empty(), "{text}");
        assert!(found.iter().all(|line| line.contains("store.rs knows desk")), "{found:?}");
    }
}

#[test]
fn what_stands_below_may_be_known_and_tests_may_know_everything() {
    let written = [
        "use crate::id::{AuthorityId, Clock};\nuse super::store;",
        "#[cfg(test)]\nmod tests { use crate::desk::Issued; }",
        "#[cfg(test)]\nuse crate::desk::Issued;\nfn f() {}",
        "#[cfg(test)]\nmod tests;",
        "//! See `crate::desk::Issued`.\n\
         /// use crate::desk;\n\
         const A: &str = \"use crate::desk;\";",
    ];
    for text in written {
        let tests = ("node/tests", "use crate::desk::Issued;\nmod more;");
        let below = ("node/tests/more", "use crate::desk;");
        let text = format!("{text}\n#[cfg(test)]\nmod tests;\n");
        let files = [("id", ""), ("store", ""), ("desk", ""), ("node", &text), tests, below];
        assert_eq!(upward(&files), Vec::<String>::new(), "{text}");
    }
}

#[test]
fn a_name_that_is_handed_on_belongs_to_where_it_is_defined() {
    let node = ("node", "mod send;\npub use crate::desk::Issued;");
    let send = ("node/send", "use super::Issued;");
    let found = upward(&[("desk", "pub struct Issued;"), node, send]);
    assert_eq!(found.len(), 2, "{found:?}");
}

#[test]
fn a_part_has_a_place_of_its_own_and_strangers_stay_strangers() {
    let ground = ("node/ground", "pub struct Place;\nuse super::send::Sending;");
    let send = ("node/send", "use super::ground::Place;\npub struct Sending;");
    let receive = ("node/receive", "use crate::node::Sending;");
    let node = ("node", "mod ground;\nmod send;\nmod receive;\npub use send::Sending;");
    let found = upward(&[node, ground, send, receive]);
    let expected =
        ["node/src/node/ground.rs knows node::send", "node/src/node/receive.rs knows node::send"];
    assert_eq!(found.len(), 2, "{found:?}");
    assert!(found.iter().zip(expected).all(|(found, start)| found.starts_with(start)), "{found:?}");
}

#[test]
fn a_module_that_stands_in_no_order_is_found() {
    let found = upward(&[("id", ""), ("desk", "use crate::novelty::New;"), ("novelty", "")]);
    assert_eq!(found, ["node/src/novelty.rs stands in no order"]);
}

#[test]
fn a_circle_is_found_through_groups_parents_and_what_is_handed_on() {
    let parent = "mod b;\nmod c;\npub use b::B;\npub use c::C;";
    let circles: [&[(&str, &str)]; 5] = [
        &[
            ("a", "mod b;\nmod c;"),
            ("a/b", "use super::c::C;\npub struct B;"),
            ("a/c", "use super::b::B;\npub struct C;"),
        ],
        &[
            ("a", parent),
            ("a/b", "use super::C;\npub struct B;"),
            ("a/c", "use crate::a::{B};\npub struct C;"),
        ],
        &[
            ("a", parent),
            ("a/b", "use super::*;\npub struct B;\nfn f(c: super::c::C) {}"),
            ("a/c", "use super::b;\npub struct C(b::B);"),
        ],
        &[
            ("a", "use crate::b::B;\npub struct A;"),
            ("b", "pub struct B(crate::c::C);"),
            ("c", "macro_rules! m { () => { $crate::a::A } }\npub struct C;"),
        ],
        &[
            ("a", "mod b;\npub struct A;"),
            ("a/b", "use crate::c::C;\npub struct B;"),
            ("c", "use crate::a::b::*;\npub struct C(B);"),
        ],
    ];
    for files in circles {
        let found = round(files);
        assert_eq!(found.len(), 1, "{files:?}: {found:?}");
        assert!(found[0].matches(" uses ").count() >= 2, "{found:?}");
    }
}

#[test]
fn what_is_only_handed_on_makes_no_circle_and_neither_does_a_module_with_its_parts() {
    let straight: [&[(&str, &str)]; 4] = [
        &[
            ("a", "mod b;\nmod c;\npub use b::B;\npub(super) use c::{C, D as E};\npub struct A;"),
            ("a/b", "use super::A;\npub struct B;"),
            ("a/c", "use crate::a::{A, B};\npub struct C;\npub struct D;"),
        ],
        &[
            ("a", "mod b;\nmod c;\n#[cfg(test)]\nmod tests { use super::b::B; }\npub struct A;"),
            ("a/b", "pub struct B;"),
            ("a/c", "use super::b::B;\n#[cfg(test)]\nuse super::A;"),
        ],
        &[
            ("a", "use crate::b;\nfn f(c: b::C) {}"),
            ("b", "mod c;\npub use c::C;"),
            ("b/c", "pub struct C;"),
        ],
        &[
            ("a", "mod b;\nuse b::*;\npub struct A;\nfn f() { b::go() }"),
            ("a/b", "use super::A;\npub fn go() {}"),
        ],
    ];
    for files in straight {
        assert_eq!(round(files), Vec::<String>::new(), "{files:?}");
    }
}

#[test]
fn a_crate_that_is_named_where_it_does_not_belong_is_found() {
    let files = [
        ("store", "use sled::Db;\nuse std::{fs, io};"),
        ("store/database", "use sled::Db;"),
        ("id", "fn f() { tokio::spawn(async {}); }"),
        ("desk", "fn f() { vec![tonic::Status::ok(\"\")] }\nuse tokio::time;"),
    ];
    let found = rules::foreign(&Rooms::of(&planted(&files)));
    let expected = [
        "node/src/desk.rs names tonic (line 1)",
        "node/src/id.rs names tokio (line 1)",
        "node/src/store.rs names sled (line 1)",
    ];
    assert_eq!(found, expected);
}

#[test]
fn a_wide_line_is_found_in_code_comments_and_texts() {
    let wide = "x".repeat(COLUMNS);
    for text in [
        format!("fn {wide}() {{}}"),
        format!("/// {wide}\nfn f() {{}}"),
        format!("fn f() {{}} // {wide}"),
        format!("const A: &str = \"{wide}\";"),
        format!("const A: &str = r\"\n {wide}\";"),
        format!("macro_rules! m {{ () => {{\n    {wide}\n}} }}"),
        format!("#[cfg(test)]\nmod tests {{\n    // {wide}\n}}"),
    ] {
        assert_eq!(rules::wide(&planted(&[("id", &text)])).len(), 1, "{text}");
    }
    let narrow = format!("// {}\n// {}", "x".repeat(COLUMNS - 3), "ä".repeat(COLUMNS - 3));
    assert_eq!(rules::wide(&planted(&[("id", &narrow)])), Vec::<String>::new());
}

#[test]
fn a_long_function_is_found_wherever_it_stands() {
    let long = format!(
        "fn f<T: Into<u8>>(\n    x: T,\n) {{\n{}}}",
        "    g();\n".repeat(FUNCTION_LINES - 3)
    );
    let body = format!("fn f() {{\n{}}}\n", "\n".repeat(FUNCTION_LINES - 1));
    for text in [
        long,
        body.clone(),
        format!("impl A {{\n    pub(crate) async {body}}}"),
        format!("#[cfg(test)]\nmod tests {{\n    #[test]\n    {body}}}"),
        format!("trait T {{ fn g(&self);\n {body}}}"),
        format!("macro_rules! m {{ () => {{\n{body}}} }}"),
    ] {
        let found = rules::long(&planted(&[("id", &text)]));
        assert_eq!(found.len(), 1, "{text}");
        assert!(found[0].contains("f has 71 lines"), "{found:?}");
    }
    let short = format!("fn f() {{\n{}}}\n\nfn g() {{}}\n", "\n".repeat(FUNCTION_LINES - 2));
    assert_eq!(rules::long(&planted(&[("id", &short)])), Vec::<String>::new());
}
