//! `entente demo`: three authorities on this machine, real processes, real TLS, real stores.

mod federation;
mod notice;
mod scenes;
mod tamper;

use std::time::Duration;

use clap::Args;
use serde_json::json;
use tokio::signal::unix::{SignalKind, signal};
use tokio::time::Instant;

use crate::output::{Answer, Failure, Format, Outcome, fields, remark, say, say_json};
use federation::Federation;
use scenes::SCENES;

pub const EXAMPLES: &str =
    "Examples:\n  entente demo\n  entente demo --format json\n  entente demo --keep";

/// How long a scene may take: it waits for other processes.
const SCENE_MAX: Duration = Duration::from_secs(60);

#[derive(Args)]
pub struct Demo {
    /// Keeps the nodes running, and prints profiles and commands to try
    #[arg(long)]
    keep: bool,
}

/// The output of a scene, and what it proves.
struct Shown {
    proves: String,
    table: String,
}

impl Demo {
    /// A signal ends the nodes and removes their folder, since both belong to the future that is
    /// then dropped.
    pub async fn run(self, format: Format) -> Outcome {
        let failed = |error: std::io::Error| Failure::new(error.to_string());
        let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
        let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
        tokio::select! {
            outcome = self.play(format) => outcome,
            _ = terminate.recv() => Err(interrupted()),
            _ = interrupt.recv() => Err(interrupted()),
        }
    }

    async fn play(self, format: Format) -> Outcome {
        let began = Instant::now();
        let mut federation = Federation::prepare()?;
        let mut steps = Vec::new();
        let mut failed = None;
        for (number, (name, scene)) in (1..).zip(SCENES) {
            let began = Instant::now();
            let shown = tokio::time::timeout(SCENE_MAX, scene(&mut federation)).await;
            let shown = shown.unwrap_or_else(|_| Err(Failure::new("took longer than a minute")));
            let millis = u64::try_from(began.elapsed().as_millis()).unwrap_or(u64::MAX);
            match shown {
                Ok(shown) => {
                    if format == Format::Text {
                        let proves = fields(&[("proves", shown.proves.clone())]);
                        let table = &shown.table;
                        say(&format!("{number:2}. {name} ({millis} ms)\n{proves}\n{table}"))?;
                    }
                    steps.push(json!({
                        "name": name, "ok": true, "millis": millis, "proves": shown.proves,
                    }));
                }
                Err(error) => {
                    steps.push(json!({
                        "name": name, "ok": false, "millis": millis, "error": error.message(),
                    }));
                    failed = Some((name, error));
                    break;
                }
            }
        }
        let seconds = began.elapsed().as_secs_f32();
        let json = json!({ "ok": failed.is_none(), "steps": steps });
        if let Some((name, error)) = failed {
            federation.keep_logs();
            if format == Format::Json {
                say_json(&json)?;
            }
            remark("error", &format!("{name}: {}", error.message()));
            remark("hint", &format!("the nodes' logs are in {}", federation.folder().display()));
            return Err(Failure::silent());
        }
        let done =
            format!("{} steps, all of them as they should be, in {seconds:.1} s", SCENES.len());
        if !self.keep {
            federation.end().await;
            return Ok(Answer::new(json, done));
        }
        let kept = federation.leave_running();
        let json = json!({ "ok": true, "steps": steps, "kept": kept.json });
        Ok(Answer::new(json, format!("{done}\n\n{}", kept.text)))
    }
}

fn interrupted() -> Failure {
    Failure::new("interrupted: the nodes were ended and their folder removed")
}
