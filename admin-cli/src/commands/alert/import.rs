//! `entente alert import`: drafts as JSON Lines, with each bad line named.

use std::io::{BufRead, BufReader, IsTerminal, Read};
use std::path::Path;

use entente_node::alert::DRAFT_BYTES_MAX;
use entente_proto::desk::ImportLine;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::import_result::Outcome as Line;
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::json;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use crate::output::{Answer, Failure, Format, Outcome, remark, say};

/// Lines on their way to the node.
const LINES_OPEN_MAX: usize = 128;

#[derive(Default)]
struct Counts {
    created: u64,
    existing: u64,
    refused: u64,
}

pub async fn import(mut desk: DeskClient<Channel>, file: &Path, format: Format) -> Outcome {
    let (sender, lines) = mpsc::channel(LINES_OPEN_MAX);
    let progress = progress(file, format);
    let path = file.to_owned();
    let reading = tokio::task::spawn_blocking(move || send_lines(&path, &sender));
    let answer = desk.import_alerts(ReceiverStream::new(lines)).await;
    let mut results = answer?.into_inner();
    let mut counts = Counts::default();
    while let Some(result) = results.message().await? {
        progress.inc(1);
        match result.outcome {
            Some(Line::Created(_)) => counts.created += 1,
            Some(Line::Existing(_)) => counts.existing += 1,
            Some(Line::Refused(refused)) => {
                counts.refused += 1;
                progress
                    .suspend(|| bad_line(format, result.line, &refused.reason, &refused.message));
            }
            None => {}
        }
    }
    progress.finish_and_clear();
    let sent = reading.await.map_err(|_| Failure::new("reading was interrupted"))?;
    sent?;
    let Counts { created, existing, refused } = counts;
    let text = format!("{created} created, {existing} there already, {refused} refused");
    let answer =
        Answer::new(json!({ "created": created, "existing": existing, "refused": refused }), text);
    if refused == 0 {
        return Ok(answer);
    }
    answer.say(format);
    Err(Failure::new(format!("{refused} lines were refused"))
        .hint("mend them and import the same file again: nothing is created twice"))
}

fn bad_line(format: Format, line: u64, reason: &str, message: &str) {
    match format {
        Format::Json => {
            say(&json!({ "line": line, "reason": reason, "error": message }).to_string())
        }
        Format::Text => remark("error", &format!("line {line}: {message} ({reason})")),
    }
}

/// A bar on a terminal only; how long it is, is counted first.
fn progress(file: &Path, format: Format) -> ProgressBar {
    let counts =
        format == Format::Text && std::io::stderr().is_terminal() && file != Path::new("-");
    if !counts {
        return ProgressBar::hidden();
    }
    let Ok(lines) = std::fs::File::open(file) else { return ProgressBar::hidden() };
    let bar = ProgressBar::new(BufReader::new(lines).split(b'\n').count() as u64);
    let style = ProgressStyle::with_template("{bar:40} {pos}/{len} {per_sec} {eta}");
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn send_lines(file: &Path, lines: &mpsc::Sender<ImportLine>) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::new(format!("{}: {error}", file.display()));
    let source: Box<dyn Read> = if file == Path::new("-") {
        Box::new(std::io::stdin())
    } else {
        Box::new(std::fs::File::open(file).map_err(failed)?)
    };
    let mut source = BufReader::new(source);
    for line in 1.. {
        let mut bytes = Vec::new();
        // One byte more than a draft may have: a longer line is refused by the node, and never held whole here.
        let bound = DRAFT_BYTES_MAX as u64 + 2;
        let taken = source.by_ref().take(bound).read_until(b'\n', &mut bytes).map_err(failed)?;
        if taken == 0 {
            return Ok(());
        }
        if taken as u64 == bound && !bytes.ends_with(b"\n") {
            skip_line(&mut source).map_err(failed)?;
        }
        let draft = String::from_utf8_lossy(&bytes).trim().to_owned();
        if line == 1 && matches!(draft.as_str(), "{" | "[") {
            return Err(Failure::new("the first line is only a part of a draft")
                .hint("an import has each draft on a line of its own: `jq -c . FILE` makes them, for a list `jq -c .[] FILE`; a single draft goes to `entente alert create`"));
        }
        if !draft.is_empty() && lines.blocking_send(ImportLine { line, draft }).is_err() {
            return Ok(());
        }
    }
    Ok(())
}

fn skip_line(source: &mut impl BufRead) -> std::io::Result<()> {
    loop {
        let buffer = source.fill_buf()?;
        let end = buffer.iter().position(|byte| *byte == b'\n');
        let (length, ended) =
            (end.map_or(buffer.len(), |end| end + 1), end.is_some() || buffer.is_empty());
        source.consume(length);
        if ended {
            return Ok(());
        }
    }
}
