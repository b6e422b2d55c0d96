//! What a node says in its log without being asked: what ends soon, again each day, and what a
//! SIGHUP brought into force.

use std::fs;
use std::io::Write;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use entente_node::home::Layout;
use entente_tests::federation::{Federation, until};
use entente_tests::processes::Process;
use tracing_subscriber::fmt::MakeWriter;

const DAY_S: i64 = 86_400;

/// A node looks every ten seconds.
const LOOKS: Duration = Duration::from_secs(12);

/// A certificate of a trial is valid for 396 days, and a node warns of its end a month before.
const NEARLY_A_YEAR_S: i64 = 380 * DAY_S;

/// What was logged in this process.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl Lines {
    /// From now on; once for a process.
    fn kept() -> &'static Self {
        static LINES: OnceLock<Lines> = OnceLock::new();
        LINES.get_or_init(|| {
            let lines = Self::default();
            tracing_subscriber::fmt().with_ansi(false).with_writer(lines.clone()).init();
            lines
        })
    }

    /// How many hold all of these.
    fn with(&self, parts: &[&str]) -> usize {
        let text = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let text = String::from_utf8_lossy(&text);
        text.lines().filter(|line| parts.iter().all(|part| line.contains(part))).count()
    }
}

impl Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).write(bytes)
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl MakeWriter<'_> for Lines {
    type Writer = Self;

    fn make_writer(&self) -> Self {
        self.clone()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn what_ends_soon_is_logged_when_that_begins_and_once_a_day() -> anyhow::Result<()> {
    let lines = Lines::kept();
    let federation = Federation::start(&["dk.politi"]).await?;
    let dk = &federation.nodes[0];
    let warned = ["WARN", "certificate_ends", "the node's own certificate", "entente certs node"];
    assert_eq!(lines.with(&warned), 0);
    dk.clock.pass(NEARLY_A_YEAR_S);
    until("the warning", || Ok((lines.with(&warned) > 0).then_some(()))).await?;
    // The next looks say nothing new on the same day. Nothing tells of a look that says nothing.
    dk.clock.pass(DAY_S / 2);
    tokio::time::sleep(LOOKS).await;
    assert_eq!(lines.with(&warned), 1);
    dk.clock.pass(DAY_S / 2);
    until("the warning of the next day", || Ok((lines.with(&warned) > 1).then_some(()))).await?;
    assert_eq!(lines.with(&warned), 2);
    federation.stop().await
}

/// Sends SIGHUP, and waits for a line in the log.
async fn hang_up(node: &Process, says: &[&str], times: usize) -> anyhow::Result<()> {
    node.signal("HUP")?;
    until(&says.join(" "), || {
        let log = fs::read_to_string(node.log())?;
        let said = log.lines().filter(|line| says.iter().all(|part| line.contains(part))).count();
        Ok((said >= times).then_some(()))
    })
    .await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hang_up_says_in_the_log_what_is_in_force_and_what_was_refused() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let program = env!("CARGO_BIN_EXE_simulate");
    let mut node = Process::prepare(folder.path(), "dk.politi", program)?;
    node.start().await?;
    hang_up(&node, &["INFO", "reloaded", "the node's certificate"], 1).await?;
    let layout = Layout::new(&node.home);
    let certificate = fs::read(layout.certificate())?;
    fs::write(layout.certificate(), "no certificate")?;
    hang_up(&node, &["ERROR", "the old stays in force"], 1).await?;
    node.desk("officer").await?;
    fs::write(layout.certificate(), certificate)?;
    let config = fs::read_to_string(layout.config())?;
    fs::write(layout.config(), config.replace("filter = \"info\"", "filter = \"debug\""))?;
    hang_up(&node, &["WARN", "changed, but not in force: log.filter"], 1).await?;
    assert!(node.terminate().await?);
    Ok(())
}
