//! What integrators use instead of our own programs: stock gRPC clients in other languages, and a
//! verifier of the audit log. Where a language or its packages are missing a test says so and
//! passes: `.ci/run` installs them.

use std::path::{Path, PathBuf};
use std::process::Output;

use anyhow::{Context, ensure};
use entente_node::alert::{ALERT_TYP, WITHDRAWAL_TYP};
use entente_node::audit::{CHECKPOINT_TYP, RESTORE_TYP};
use entente_node::exchange::{HEAD_TYP, RECEIPT_TYP, RETRACTION_TYP};
use entente_node::home::Layout;
use entente_node::reason::Reason;
use entente_node::trust::DESCRIPTOR_TYP;
use entente_proto::admin::CheckpointRequest;
use entente_proto::admin::audit_client::AuditClient;
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
    let mut client = client;
    client.arg(root().join("tests/foreign").join(script));
    let output = called(&mut client, &node, "officer").arg(file).arg(passport).output().await?;
    let answer: Value = serde_json::from_slice(&succeeded(output)?)?;
    ensure!(answer["created"].as_str().is_some_and(|id| id.starts_with("dk.politi:")), "{answer}");
    ensure!(answer["hits"] == json!([answer["created"]]), "{answer}");
    ensure!(node.terminate().await?, "the node did not end well");
    Ok(())
}

/// The client, told how to reach the desk of `node` as one of its first users.
fn called<'a>(client: &'a mut Command, node: &Process, user: &str) -> &'a mut Command {
    let layout = Layout::new(&node.home);
    client
        .arg(root().join("proto"))
        .arg(node.desk_address().to_string())
        .arg(layout.roots())
        .arg(layout.users().join(format!("{user}.pem")))
        .arg(layout.users().join(format!("{user}.key")))
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

fn page() -> anyhow::Result<String> {
    Ok(std::fs::read_to_string(root().join("docs/integrating.md"))?)
}

#[test]
fn the_page_names_every_kind_of_statement() -> anyhow::Result<()> {
    let page = page()?;
    let typs = [
        DESCRIPTOR_TYP,
        ALERT_TYP,
        WITHDRAWAL_TYP,
        RETRACTION_TYP,
        HEAD_TYP,
        RECEIPT_TYP,
        CHECKPOINT_TYP,
        RESTORE_TYP,
    ];
    for typ in typs {
        ensure!(page.contains(&format!("| `{typ}` |")), "docs/integrating.md does not name {typ}");
    }
    Ok(())
}

#[test]
fn the_page_has_every_reason_as_the_code_has_it() -> anyhow::Result<()> {
    let page = page()?;
    let (_, table) = page.split_once("|---|---|\n| `").context("no table of reasons")?;
    let row = |reason: &Reason| format!("| `{reason}` | {} |\n", reason.meaning());
    let rows: String = Reason::ALL.iter().map(row).collect();
    ensure!(
        format!("| `{table}").contains(&rows),
        "docs/integrating.md must have this table:\n{rows}"
    );
    let mut words: Vec<_> = Reason::ALL.iter().map(|reason| reason.as_str()).collect();
    words.sort_unstable();
    words.dedup();
    ensure!(words.len() == Reason::ALL.len(), "two reasons have one word");
    Ok(())
}

/// The verifier that the page shows says yes to the log as it is, and no to a checkpoint of another
/// log.
#[tokio::test(flavor = "multi_thread")]
async fn the_pages_verifier_recomputes_the_log() -> anyhow::Result<()> {
    let mut probe = python();
    probe.args(["-c", "import grpc, grpc_tools, cryptography"]);
    if !has(probe, "gRPC and cryptography for Python").await {
        return Ok(());
    }
    let folder = TempDir::with_prefix("entente-test-")?;
    let script = folder.path().join("verify_log.py");
    let page = page()?;
    let (_, code) = page.split_once("```python verify_log.py\n").context("no verifier")?;
    let (code, _) = code.split_once("```").context("the verifier has no end")?;
    std::fs::write(&script, code)?;
    let mut nodes = Vec::new();
    for name in ["dk.politi", "fr.police-judiciaire"] {
        let mut node = Process::prepare(folder.path(), name, PROGRAM)?;
        node.start().await?;
        let mut auditor = AuditClient::new(node.desk("auditor").await?);
        let signed = auditor.checkpoint(CheckpointRequest {}).await?.into_inner().checkpoint;
        let file = folder.path().join(format!("{name}.jws"));
        std::fs::write(&file, signed)?;
        nodes.push((node, file));
    }
    let [(dk, of_dk), (fr, of_fr)] = &nodes[..] else { anyhow::bail!("two nodes") };
    let verified = verify(dk, dk, of_dk, &script).await?;
    let told = String::from_utf8(succeeded(verified)?)?;
    ensure!(told.contains("entries of dk.politi are those of the checkpoint"), "{told}");
    let foreign = verify(dk, fr, of_fr, &script).await?;
    ensure!(!foreign.status.success(), "another log passed for this one");
    let unknown = verify(dk, dk, of_fr, &script).await?;
    let told = String::from_utf8_lossy(&unknown.stderr).into_owned();
    ensure!(told.contains("does not name the key"), "{told}");
    Ok(())
}

/// Recomputes the log of `node` against a checkpoint of the one whose descriptor is `trusted`.
async fn verify(
    node: &Process,
    trusted: &Process,
    checkpoint: &Path,
    script: &Path,
) -> anyhow::Result<Output> {
    let mut python = python();
    python.arg(script);
    let descriptor = Layout::new(&trusted.home).descriptor();
    Ok(called(&mut python, node, "auditor").arg(descriptor).arg(checkpoint).output().await?)
}

/// Reflection is off until it is switched on; then tools of today and older ones read the services.
#[tokio::test(flavor = "multi_thread")]
async fn reflection_answers_both_versions_once_it_is_switched_on() -> anyhow::Result<()> {
    let folder = TempDir::with_prefix("entente-test-")?;
    let mut node = Process::prepare(folder.path(), "dk.politi", PROGRAM)?;
    node.start().await?;
    ensure!(services_v1(&node).await.is_err(), "reflection answers unasked");
    ensure!(node.terminate().await?, "the node did not end well");
    let file = Layout::new(&node.home).config();
    let config = std::fs::read_to_string(&file)?;
    std::fs::write(&file, config.replace("reflection = false", "reflection = true"))?;
    node.start().await?;
    for services in [services_v1(&node).await?, services_v1alpha(&node).await?] {
        ensure!(services.contains(&"entente.desk.v1.Desk".to_owned()), "{services:?}");
    }
    Ok(())
}

/// Lists the services by one version of reflection.
macro_rules! services {
    ($name:ident, $version:ident) => {
        async fn $name(node: &Process) -> anyhow::Result<Vec<String>> {
            use tonic_reflection::pb::$version as pb;
            let request = pb::server_reflection_request::MessageRequest::ListServices("*".into());
            let request =
                pb::ServerReflectionRequest { host: String::new(), message_request: Some(request) };
            let channel = node.desk("officer").await?;
            let mut client = pb::server_reflection_client::ServerReflectionClient::new(channel);
            let mut answers =
                client.server_reflection_info(tokio_stream::iter([request])).await?.into_inner();
            let answer = answers.message().await?.and_then(|answer| answer.message_response);
            use pb::server_reflection_response::MessageResponse::ListServicesResponse;
            let Some(ListServicesResponse(listed)) = answer else { anyhow::bail!("no list") };
            Ok(listed.service.into_iter().map(|service| service.name).collect())
        }
    };
}
services!(services_v1, v1);
services!(services_v1alpha, v1alpha);
