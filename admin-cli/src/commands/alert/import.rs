//! `entente alert import`: reads drafts as JSON Lines or from an array, and names each refused one.

use std::collections::{BTreeMap, VecDeque};
use std::fs::File;
use std::io::{IsTerminal, Read};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use entente_node::reason::Reason;
use entente_proto::desk::desk_client::DeskClient;
use entente_proto::desk::import_result::Outcome as Line;
use entente_proto::desk::{Fault, ImportLine, ImportResult, Refusal};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::transport::Channel;

use super::drafts::{Drafts, Found, Place};
use crate::output::{Answer, Failure, Format, Items, Outcome, Told, remark};
use crate::profile;

/// How many drafts may be unanswered by the node at a time.
const DRAFTS_OPEN_MAX: usize = 128;

/// The line in the file of each unanswered draft, by the draft's number.
type Lines = Arc<Mutex<BTreeMap<u64, u64>>>;

/// Imports every draft of a file. `asked` holds what is sent with each of them.
pub async fn import(
    as_whom: Option<&str>,
    file: &Path,
    asked: ImportLine,
    format: Format,
) -> Outcome {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    let mut report = Report::new(file, format);
    let imported = tokio::select! {
        imported = send_and_hear(as_whom, file, asked, &mut report) => imported,
        _ = interrupt.recv() => Err(Failure::new("interrupted")),
        _ = terminate.recv() => Err(Failure::new("interrupted")),
    };
    report.end(imported)
}

/// Reads the file on a thread of its own and takes the node's answers. It opens another call when
/// the node ends one to check certificates again.
async fn send_and_hear(
    as_whom: Option<&str>,
    file: &Path,
    asked: ImportLine,
    report: &mut Report,
) -> Result<(), Failure> {
    let channel = profile::open(as_whom).await?;
    let (sender, drafts) = mpsc::channel(DRAFTS_OPEN_MAX);
    let (unfit, refused) = mpsc::channel(DRAFTS_OPEN_MAX);
    let reader = Reader {
        file: file.to_owned(),
        asked,
        lines: report.lines.clone(),
        progress: report.progress.clone(),
        drafts: sender,
        unfit,
    };
    let reading = tokio::task::spawn_blocking(move || reader.read());
    let mut source = Source { drafts, refused, open: VecDeque::new(), ended: false };
    let mut called = source.call(channel, report).await;
    while called.as_ref().is_err_and(|failure| failure.is(Reason::StreamTooOld)) {
        called = source.call(profile::open(as_whom).await?, report).await;
    }
    called?;
    while let Some(result) = source.refused.recv().await {
        report.took(result)?;
    }
    reading.await.map_err(|_| Failure::new("reading was interrupted"))??;
    if report.lines.lock().unwrap_or_else(PoisonError::into_inner).is_empty() {
        return Ok(());
    }
    Err(Failure::unreachable("the node ended the import before every draft was answered"))
}

/// The drafts from the reader, and those that the node has not answered yet.
struct Source {
    drafts: mpsc::Receiver<ImportLine>,
    refused: mpsc::Receiver<ImportResult>,
    open: VecDeque<ImportLine>,
    ended: bool,
}

impl Source {
    /// One call: first the drafts that an earlier call left unanswered, then new ones.
    async fn call(&mut self, channel: Channel, report: &mut Report) -> Result<(), Failure> {
        let (sender, lines) = mpsc::channel(DRAFTS_OPEN_MAX);
        let mut sender = Some(sender);
        let mut waiting: VecDeque<ImportLine> = self.open.clone();
        let mut desk = DeskClient::new(channel);
        let mut results = desk.import_alerts(ReceiverStream::new(lines)).await?.into_inner();
        loop {
            if self.ended && waiting.is_empty() {
                sender = None;
            }
            tokio::select! {
                Some(result) = self.refused.recv() => report.took(result)?,
                result = results.message() => match result? {
                    Some(result) => {
                        self.open.retain(|line| line.line != result.line);
                        report.took(result)?;
                    }
                    None => return Ok(()),
                },
                Some(place) = room(sender.as_ref()), if !waiting.is_empty() => {
                    if let Some(line) = waiting.pop_front() {
                        place.send(line);
                    }
                }
                line = self.drafts.recv(), if !self.ended && waiting.is_empty() => {
                    self.ended = line.is_none();
                    self.open.extend(line.clone());
                    waiting.extend(line);
                }
            }
        }
    }
}

/// Room for the next draft, as soon as the node takes one; `None` when it takes no more.
async fn room(sender: Option<&mpsc::Sender<ImportLine>>) -> Option<mpsc::Permit<'_, ImportLine>> {
    sender?.reserve().await.ok()
}

struct Reader {
    file: PathBuf,
    asked: ImportLine,
    lines: Lines,
    progress: ProgressBar,
    drafts: mpsc::Sender<ImportLine>,
    unfit: mpsc::Sender<ImportResult>,
}

impl Reader {
    fn read(&self) -> Result<(), Failure> {
        let named = |failure: Failure| failure.within(&self.file.display().to_string());
        let source: Box<dyn Read> = if self.file == Path::new("-") {
            Box::new(std::io::stdin())
        } else {
            Box::new(File::open(&self.file).map_err(|error| named(error.into()))?)
        };
        let mut drafts = Drafts::new(source).map_err(named)?;
        while let Some((place, found)) = drafts.take().map_err(named)? {
            if !self.pass_on(place, found) {
                break;
            }
            self.progress.set_position(drafts.taken());
        }
        Ok(())
    }

    /// Returns whether anybody takes more drafts.
    fn pass_on(&self, place: Place, found: Found) -> bool {
        let Place { draft: number, line } = place;
        self.lines.lock().unwrap_or_else(PoisonError::into_inner).insert(number, line);
        match found {
            Found::Draft(draft) => {
                let line = ImportLine { line: number, draft, ..self.asked.clone() };
                self.drafts.blocking_send(line).is_ok()
            }
            Found::Unfit(reason, message) => {
                let refusal = Refusal { reason: reason.to_owned(), message, faults: vec![] };
                let outcome = Some(Line::Refused(refusal));
                let result = ImportResult { line: number, outcome, ..Default::default() };
                self.unfit.blocking_send(result).is_ok()
            }
        }
    }
}

/// What the node has answered so far.
struct Report {
    format: Format,
    items: Items,
    lines: Lines,
    progress: ProgressBar,
    created: u64,
    existing: u64,
    refused: u64,
}

impl Report {
    fn new(file: &Path, format: Format) -> Self {
        let (items, lines) = (Items::default(), Lines::default());
        let progress = progress(file, format);
        Self { format, items, lines, progress, created: 0, existing: 0, refused: 0 }
    }

    fn took(&mut self, result: ImportResult) -> Result<(), Failure> {
        let mut lines = self.lines.lock().unwrap_or_else(PoisonError::into_inner);
        let line = lines.remove(&result.line).unwrap_or_default();
        drop(lines);
        let said = match result.outcome {
            Some(Line::Created(id)) => {
                self.created += 1;
                for warning in &result.warnings {
                    let said = format!("line {line}: {warning}");
                    self.progress.suspend(|| remark("warning", &said));
                }
                json!({ "outcome": "created", "id": id, "warnings": result.warnings })
            }
            Some(Line::Existing(id)) => {
                self.existing += 1;
                json!({ "outcome": "existing", "id": id })
            }
            Some(Line::Refused(refusal)) => {
                self.refused += 1;
                if self.format == Format::Text {
                    let said = refused(&refusal, result.line, line);
                    let tell = || said.iter().for_each(|line| remark("error", line));
                    self.progress.suspend(tell);
                }
                let faults: Vec<Value> = refusal.faults.iter().map(|f| told(f).json()).collect();
                json!({
                    "outcome": "refused", "reason": refusal.reason, "message": refusal.message,
                    "faults": faults,
                })
            }
            None => return Ok(()),
        };
        self.progress.set_message(self.counts());
        if self.format == Format::Json {
            self.items.say(&with_place(said, result.line, line))?;
        }
        Ok(())
    }

    fn counts(&self) -> String {
        let Self { created, existing, refused, .. } = self;
        format!("{created} created, {existing} there already, {refused} refused")
    }

    fn facts(&self) -> Value {
        let Self { created, existing, refused, .. } = self;
        json!({ "next": null, "created": created, "existing": existing, "refused": refused })
    }

    fn end(self, imported: Result<(), Failure>) -> Outcome {
        self.progress.finish_and_clear();
        let (counts, facts, refused) = (self.counts(), self.facts(), self.refused);
        let failure = match imported {
            Ok(()) if refused == 0 => None,
            Ok(()) => Some(
                Failure::new(match refused {
                    1 => "1 draft was refused".to_owned(),
                    many => format!("{many} drafts were refused"),
                })
                .hint("correct them and import the same file again: nothing is created twice"),
            ),
            Err(failure) if failure.is_quiet() => return Err(failure),
            Err(failure) => Some(cut_off(failure, &counts)),
        };
        match (self.format, failure) {
            (Format::Text, None) => Ok(Answer::new(facts, counts)),
            (Format::Text, Some(failure)) => {
                crate::output::say(&counts)?;
                Err(failure)
            }
            (Format::Json, None) => self.items.end(&facts).map(|()| Answer::said()),
            (Format::Json, Some(failure)) => Err(self.items.broken(facts, failure)),
        }
    }
}

fn with_place(mut said: Value, draft: u64, line: u64) -> Value {
    if let Some(said) = said.as_object_mut() {
        said.insert("draft".to_owned(), draft.into());
        said.insert("line".to_owned(), line.into());
    }
    said
}

/// A refused draft for people, a line for each fault.
fn refused(refusal: &Refusal, draft: u64, line: u64) -> Vec<String> {
    let Refusal { reason, message, faults } = refusal;
    let place =
        if draft == line { format!("line {line}") } else { format!("draft {draft}, line {line}") };
    match (reason.as_str(), faults.as_slice()) {
        ("not_utf8", _) => vec![message.clone()],
        (reason, []) => vec![format!("{place}: {message} ({reason})")],
        (_, faults) => faults.iter().map(|f| format!("{place}: {}", told(f).text())).collect(),
    }
}

fn told(fault: &Fault) -> Told {
    let message = match fault.example.as_str() {
        "" => fault.expected.clone(),
        example => format!("{}, e.g. {example}", fault.expected),
    };
    Told { path: fault.path.clone(), reason: fault.reason.clone(), message }
}

/// What was acknowledged is durable, whatever ended the import.
fn cut_off(failure: Failure, counts: &str) -> Failure {
    let again = "import the same file again: nothing is created twice";
    let hint = match failure.hinted() {
        Some(hint) => format!("{hint}; then {again}"),
        None => again.to_owned(),
    };
    failure.within(&format!("the import was cut off after {counts}")).hint(hint)
}

/// A progress bar over the bytes of the file, on a terminal only.
fn progress(file: &Path, format: Format) -> ProgressBar {
    let shows = format == Format::Text && std::io::stderr().is_terminal();
    let bytes = std::fs::metadata(file).ok().filter(|data| shows && data.is_file());
    let Some(data) = bytes else { return ProgressBar::hidden() };
    let style = ProgressStyle::with_template("{bar:40} {percent}% {eta}  {msg}");
    ProgressBar::new(data.len()).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
