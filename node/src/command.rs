//! The command line of the daemon: init, draft, check, upgrade, compact, run.

mod compact;
mod upgrade;

use std::io::{self, Write};
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use clap::{Args, Parser, Subcommand};
use rustix::fs::Mode;
use rustix::process::{
    DumpableBehavior, Resource, Rlimit, set_dumpable_behavior, setrlimit, umask,
};
use tokio::signal::unix::{SignalKind, signal};

use crate::config::{Choices, Contact, Endpoint, LoopbackAddr};
use crate::home::{self, Layout};
use crate::id::{AuthorityId, Clock, Entropy};
use crate::run::{Options, start};
use crate::{admin, telemetry};

/// The node of an authority: exchanges alerts with the nodes of its peers
#[derive(Parser)]
#[command(name = "entente-node", version = crate::VERSION, about, arg_required_else_help = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Makes a home folder: configuration, keys, certificates, store, first users
    #[command(after_help = "Examples:\n  \
                            entente-node init --authority dk.politi --home dk --contact '+45 33 14 \
                            88 88' --exchange-listen 0.0.0.0:8440 --exchange-advertise \
                            node.politi.example:8440\n  \
                            entente-node init --authority dk.politi --home dk --trial")]
    Init(Init),
    /// Writes a new draft of the descriptor, for the identity key to sign
    #[command(
        after_help = "Run it after a change of exchange.advertise, contact, keys or roots, and \
                      before the keys expire (after 730 days):\n  \
                      entente-node draft --home dk\n  \
                      entente identity sign --key dk.identity --out dk/descriptor.jws \
                      dk/descriptor.draft.json\n  \
                      entente reload --profile administrator"
    )]
    Draft(Home),
    /// Checks configuration, keys, certificates and store; the exit code says whether the node can
    /// run
    #[command(after_help = "Example:\n  entente-node check --home dk")]
    Check(Home),
    /// Converts the store of an earlier version to this version, which only this one can read then
    #[command(after_help = "Stop the node and back up the home first. An upgrade that was \
                            interrupted continues when you run it again.\n\nExample:\n  \
                            cp -a dk dk.backup\n  \
                            entente-node upgrade --home dk")]
    Upgrade(Home),
    /// Frees the disk space that erased alerts left in the store
    #[command(after_help = "Stop the node first. The command makes a copy of the records beside \
                      the store, and says how much disk that takes. If it was interrupted, run \
                      it again: it continues from there.\n\n\
                      Example:\n  \
                      entente-node compact --home dk")]
    Compact(Home),
    /// Runs the node until SIGTERM or SIGINT; SIGHUP reloads its certificates and descriptor
    #[command(after_help = "Example:\n  entente-node run --home dk")]
    Run(Home),
}

#[derive(Args)]
struct Home {
    /// The home folder
    #[arg(long, value_name = "DIR", env = "ENTENTE_HOME")]
    home: PathBuf,
}

#[derive(Args)]
struct Init {
    /// The authority whose node this is: country code, dot, name, e.g. dk.politi
    #[arg(long, value_name = "AUTHORITY")]
    authority: AuthorityId,
    /// The home folder to make; must be empty or absent
    #[arg(long, value_name = "DIR", env = "ENTENTE_HOME")]
    home: PathBuf,
    /// The address on which the exchange door listens [default: 127.0.0.1:8440]
    #[arg(long, value_name = "ADDRESS")]
    exchange_listen: Option<SocketAddr>,
    /// The host and port at which peers reach the exchange door [default: as it listens]
    #[arg(long, value_name = "HOST:PORT")]
    exchange_advertise: Option<Endpoint>,
    /// The address on which the desk door listens [default: 127.0.0.1:8441]
    #[arg(long, value_name = "ADDRESS")]
    desk_listen: Option<SocketAddr>,
    /// The loopback address that serves health and metrics [default: 127.0.0.1:8442]
    #[arg(long, value_name = "ADDRESS")]
    telemetry_listen: Option<LoopbackAddr>,
    /// The phone number of the 24 h desk, which peers see with each hit
    #[arg(long, value_name = "TEXT", default_value = "")]
    contact: Contact,
    /// For trials: makes an officer, a coordinator, an administrator and an auditor, with all keys
    /// in one place; otherwise an administrator and a coordinator with a folder each
    #[arg(long)]
    trial: bool,
    /// The folder that `entente certs example` made; when omitted, makes a new node CA and user CA
    #[arg(long, value_name = "DIR")]
    certs: Option<PathBuf>,
}

/// From here on only the owner can read what the process writes, no key in its memory gets into a
/// core dump or under another process's debugger, and a fault tells its place only.
///
/// # Errors
/// The exit code, after saying what the system refused.
pub fn confine() -> Result<(), ExitCode> {
    umask(Mode::RWXG | Mode::RWXO);
    // What a fault was about may be what somebody wrote: only its place is told.
    std::panic::set_hook(Box::new(|fault| {
        let place = fault.location().map_or_else(String::new, ToString::to_string);
        say_error(&format!("a fault of this program at {place}: report it"));
    }));
    let none = Rlimit { current: Some(0), maximum: Some(0) };
    let confined = setrlimit(Resource::Core, none)
        .and_then(|()| set_dumpable_behavior(DumpableBehavior::NotDumpable));
    confined.map_err(|error| {
        say_error(&format!("core dumps can't be switched off: {error}"));
        ExitCode::FAILURE
    })
}

/// Exit code of wrong usage (EX_USAGE).
const USAGE: u8 = 64;

/// Parses the arguments; help and version end with 0, wrong usage with 64 (EX_USAGE).
///
/// # Errors
/// The exit code, after clap said what was wrong.
pub fn parse<C: Parser>() -> Result<C, ExitCode> {
    C::try_parse().map_err(|error| said(&error))
}

/// Says why the arguments were refused, or prints the help that was asked for. Returns the exit
/// code.
pub fn said(error: &clap::Error) -> ExitCode {
    let printed = error.print().and_then(|()| io::stdout().flush());
    match printed.map_err(Unwritten::from) {
        _ if error.use_stderr() => ExitCode::from(USAGE),
        Ok(()) | Err(Unwritten::Closed) => ExitCode::SUCCESS,
        Err(unwritten) => {
            say_error(&unwritten.to_string());
            ExitCode::FAILURE
        }
    }
}

/// Why a result could not be written to standard output.
#[derive(Debug, thiserror::Error)]
pub enum Unwritten {
    /// Its reader has read enough; this is no failure.
    #[error("standard output was closed")]
    Closed,
    /// The result is lost.
    #[error("standard output can't be written: {0}; the command has taken effect")]
    Failed(io::Error),
}

impl From<io::Error> for Unwritten {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Closed,
            _ => Self::Failed(error),
        }
    }
}

/// Writes a result to standard output, to the last byte. Nothing else writes there.
///
/// # Errors
/// When it could not be written whole.
pub fn write_out(bytes: &[u8]) -> Result<(), Unwritten> {
    let mut stdout = io::stdout().lock();
    Ok(stdout.write_all(bytes).and_then(|()| stdout.flush())?)
}

/// Runs one command; errors go to stderr and into the exit code.
pub fn run_cli(cli: &Cli) -> ExitCode {
    let done = match &cli.command {
        Command::Init(asked) => {
            let choices = choices(asked);
            if let Err(what) = choices.serve_peers() {
                say_error(&what);
                return ExitCode::from(USAGE);
            }
            init(asked, &choices)
        }
        Command::Draft(asked) => draft(&asked.home),
        Command::Check(asked) => match check(&asked.home) {
            Ok(sound) => return if sound { ExitCode::SUCCESS } else { ExitCode::FAILURE },
            Err(error) => Err(error.into()),
        },
        Command::Upgrade(asked) => upgrade::upgrade(&asked.home),
        Command::Compact(asked) => compact::compact(&asked.home),
        Command::Run(asked) => run(&asked.home),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            say_error(&format!("{error:#}"));
            ExitCode::FAILURE
        }
    }
}

/// Writes a line of a result; a reader that went away does not stop the command.
fn say(text: &str) -> Result<(), Unwritten> {
    match write_out(format!("{text}\n").as_bytes()) {
        Err(Unwritten::Closed) => Ok(()),
        written => written,
    }
}

fn say_error(text: &str) {
    tell(&format!("entente: error: {text}"));
}

fn tell(text: &str) {
    // Where nobody reads it, the exit code and the log are left.
    let _ = writeln!(io::stderr(), "{}", crate::id::visible(text, &['\n']));
}

fn choices(asked: &Init) -> Choices {
    Choices {
        trial: asked.trial,
        authority: asked.authority.clone(),
        contact: asked.contact.clone(),
        exchange_listen: asked.exchange_listen,
        exchange_advertise: asked.exchange_advertise.clone(),
        desk_listen: asked.desk_listen,
        telemetry_listen: asked.telemetry_listen,
    }
}

fn init(asked: &Init, choices: &Choices) -> anyhow::Result<()> {
    let (home, certs) = (&asked.home, asked.certs.as_deref());
    let made = home::init(home, choices, certs, &Clock::system(), &Entropy::os())?;
    let layout = Layout::new(home);
    say(&format!("made the home of {} in {}", made.authority, home.display()))?;
    say(&format!("first users, one role each: {}", made.users.join(", ")))?;
    say(&if choices.trial {
        format!(
            "for trials only: the keys of four people lie in one place, {}",
            layout.users().display()
        )
    } else {
        let folder = layout.hand_over();
        format!(
            "hand over: give each person their folder in {}; they run\n  \
             `entente profile add`, then delete the folder\n\
             officers and auditors: `entente certs request`, `entente certs user --csr`,\n  \
             then `entente user add`",
            folder.display()
        )
    })?;
    say(&format!(
        "next: sign the descriptor with the authority's identity key, then start the node\n  \
         entente identity sign --key FILE --out {} {}\n  entente-node run --home {}",
        layout.descriptor().display(),
        layout.draft().display(),
        home.display()
    ))?;
    Ok(())
}

fn draft(home: &Path) -> anyhow::Result<()> {
    let draft = home::draft_descriptor(home, &Clock::system())?;
    let path = Layout::new(home).draft();
    say(&format!(
        "wrote {} with serial {}; now sign it with `entente identity sign`",
        path.display(),
        draft.serial
    ))?;
    Ok(())
}

/// Returns whether the node can run.
fn check(home: &Path) -> Result<bool, Unwritten> {
    let findings = home::check(home, &Clock::system());
    for finding in &findings {
        let mark = match finding.state {
            home::State::Ok => "ok",
            home::State::Warning => "warning",
            home::State::Failed => "failed",
        };
        say(&format!("{mark:7} {:13} {}", finding.part, finding.found))?;
    }
    Ok(findings.iter().all(home::Finding::ok))
}

fn run(home: &Path) -> anyhow::Result<()> {
    crate::run::runtime()?.block_on(async {
        let config = home::Home::read(home, &Clock::system())?.config;
        telemetry::init_log(&config.log)?;
        let mut terminate = signal(SignalKind::terminate())?;
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut hang_up = signal(SignalKind::hangup())?;
        let running = start(home, Options::default()).await?;
        loop {
            tokio::select! {
                _ = terminate.recv() => break,
                _ = interrupt.recv() => break,
                _ = hang_up.recv() => match admin::reload(&running.node, "signal").await {
                    Ok(reloaded) => {
                        tracing::info!("reloaded {}", reloaded.in_force.join(", "));
                        for what in reloaded.not_in_force {
                            tracing::warn!("changed, but not in force: {what}");
                        }
                    }
                    Err(error) => tracing::error!("{error}"),
                },
            }
        }
        tracing::info!("ending");
        running.stop().await
    })
}
