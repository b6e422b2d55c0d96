//! What integrators use instead of our own programs: stock gRPC clients in other languages, and a verifier of the audit
//! log. Where a language or its packages are missing a test says so and passes: `.ci/run` installs them.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, ensure};
use entente_node::home::Layout;
use entente_tests::processes::Process;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::process::Command;

const PROGRAM: &str = env!("CARGO_BIN_EXE_simulate");

/// Where `.ci/run` puts the packages of other languages.
fn tools() -> PathBuf {
    let target = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    target.unwrap_or_else(|| root().join("target")).join("tools")
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn python() -> Command {
    let mut python = Command::new("python3");
    python.env("PYTHONPATH", tools().join("python")).env("PYTHONDONTWRITEBYTECODE", "1");
    python
}

fn node() -> Command {
    let mut node = Command::new("node");
    node.env("NODE_MODULES", tools().join("node"));
    node
}

/// Whether this ends well; says on stderr what is skipped when not.
async fn has(mut probe: Command, what: &str) -> bool {
    let there = probe.output().await.is_ok_and(|output| output.status.success());
    if !there {
        eprintln!("skipped: {what} is not installed");
    }
    there
}

/// A missing person with a passport of this number.
fn draft(passport: &str) -> Value {
    json!({
        "category": "missing_protect",
        "exploitation": ["labour"],
        "handling": ["H0"],
        "legal_basis": "act 1",
        "case_ref": "DK-2026-1",
        "subjects": [{
            "category": "missing",
            "names": [{ "family": "Sample", "given": passport }],
            "birth_date": "1990-01-31",
            "identifiers": [{ "type": "passport", "country": "DK", "number": passport }],
        }],
    })
}

/// Runs a client of another language against a node; it must find what it created.
async fn creates_and_finds(client: Command, script: &str, passport: &str) -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("entente-test-")?;
    let mut node = Process::prepare(folder.path(), "dk.politi", PROGRAM)?;
    node.start().await?;
    let file = folder.path().join("draft.json");
    std::fs::write(&file, draft(passport).to_string())?;
    let (layout, root) = (Layout::new(&node.home), root());
    let mut client = client;
    let output = client
        .arg(root.join("tests/foreign").join(script))
        .arg(root.join("proto"))
        .arg(node.desk_address().to_string())
        .arg(layout.roots())
        .arg(layout.users().join("officer.pem"))
        .arg(layout.users().join("officer.key"))
        .arg(file)
        .arg(passport)
        .output()
        .await?;
    let answer: Value = serde_json::from_slice(&succeeded(output)?)?;
    ensure!(answer["created"].as_str().is_some_and(|id| id.starts_with("dk.politi:")), "{answer}");
    ensure!(answer["hits"] == json!([answer["created"]]), "{answer}");
    ensure!(node.terminate().await?, "the node did not end well");
    Ok(())
}

fn succeeded(output: Output) -> anyhow::Result<Vec<u8>> {
    let told = String::from_utf8_lossy(&output.stderr).into_owned();
    output.status.success().then_some(output.stdout).context(told)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_python_client_creates_and_searches() -> anyhow::Result<()> {
    let mut probe = python();
    probe.args(["-c", "import grpc, grpc_tools"]);
    if !has(probe, "gRPC for Python").await {
        return Ok(());
    }
    creates_and_finds(python(), "desk.py", "PY1234567").await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_node_js_client_creates_and_searches() -> anyhow::Result<()> {
    let mut probe = node();
    let packages = tools().join("node/node_modules/@grpc/grpc-js/package.json");
    probe.args(["-e", "require(process.argv[1])"]).arg(packages);
    if !has(probe, "gRPC for Node.js").await {
        return Ok(());
    }
    creates_and_finds(node(), "desk.mjs", "JS1234567").await
}
