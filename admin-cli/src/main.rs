//! `entente`: the command line of officers, coordinators, administrators and auditors.
#![allow(unreachable_pub, reason = "all items of a program are its own")]

mod commands;
mod files;
mod output;
mod profile;
mod words;

use std::ffi::OsString;
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use entente_node::command;

use commands::{
    alert, audit, certs, clock, demo, epoch, identity, node, peer, policy, sample, search, user,
};
use output::{Answer, Format, Outcome};

/// Exchange of alerts about trafficking in human beings between authorities
#[derive(Parser)]
#[command(
    name = "entente",
    version = entente_node::VERSION,
    about,
    arg_required_else_help = true,
    after_help = "Examples:\n  entente demo\n  entente status --profile coordinator"
)]
struct Cli {
    /// As whom, at which node: a name that `entente profile add` gave, or the path of a file; else
    /// the default
    #[arg(long, short, global = true, env = "ENTENTE_PROFILE", value_name = "PROFILE")]
    profile: Option<String>,
    /// How results are written
    #[arg(long, global = true, value_enum, default_value = "text", value_name = "FORMAT")]
    format: Format,
    #[command(flatten)]
    look: output::Look,
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Shows three authorities exchange alerts, step by step, on this machine
    #[command(after_help = demo::EXAMPLES)]
    Demo(demo::Demo),
    /// Alerts: own ones, and those that peers share
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente alert create draft.json --profile officer\n  \
                      entente alert list --profile officer"
    )]
    Alert(alert::Command),
    /// Searches own and received alerts; the justification is mandatory and logged
    #[command(after_help = search::EXAMPLES)]
    Search(search::Search),
    /// Peers: whom this authority trusts
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente peer import fr.descriptor --profile administrator\n  \
                      entente peer test fr.police-judiciaire --profile administrator"
    )]
    Peer(peer::Command),
    /// The sharing policy: who sees what
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente policy check policy.toml\n  \
                      entente policy apply policy.toml --profile administrator"
    )]
    Policy(policy::Command),
    /// The audit log, and the proof that nobody changed it
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente audit list --profile auditor\n  \
                      entente audit checkpoint --out monday.jws --profile auditor"
    )]
    Audit(audit::Command),
    /// Users of this authority's desk
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente user list --profile administrator\n  \
                      entente user approve jensen --profile coordinator"
    )]
    User(user::Command),
    /// After a loss of state: fetch back what peers hold, look at what is to be in force, then go
    /// on
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente epoch recover --profile administrator\n  \
                      entente epoch show --profile administrator"
    )]
    Epoch(epoch::Epoch),
    /// The authority's identity key; works without a node and without a network
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente identity create --authority dk.politi --out dk.identity\n  \
                      entente identity fingerprint dk/descriptor.jws"
    )]
    Identity(identity::Command),
    /// Certificates in the profile of certs-example/
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente certs example --out certs dk.politi fr.police-judiciaire\n  \
                      entente certs request --authority dk.politi --out . jensen\n  \
                      entente certs user --home dk --csr jensen.csr --out jensen jensen"
    )]
    Certs(certs::Command),
    /// Profiles: as whom, at which node
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente profile add administrator hand-over/administrator/profile.toml\n  \
                      entente profile list"
    )]
    Profile(commands::profile::Command),
    /// Writes synthetic alerts as JSON Lines, to try things with
    #[command(after_help = sample::EXAMPLES)]
    Sample(sample::Sample),
    /// How the node and its streams to peers stand
    #[command(after_help = "Example:\n  entente status --profile coordinator")]
    Status,
    /// The node's clock, and a person's word on it after it leapt
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente clock show --profile administrator\n  \
                      entente clock confirm 2026-11-24T10:20:00Z --profile administrator"
    )]
    Clock(clock::Command),
    /// Has the node read certificates, descriptor and peers anew
    #[command(after_help = "Example:\n  entente reload --profile administrator")]
    Reload,
    /// Who the node takes you for
    #[command(after_help = "Example:\n  entente whoami --profile officer")]
    Whoami,
    /// Prints completions for a shell
    #[command(after_help = "Example:\n  \
                            entente completions bash > \
                            ~/.local/share/bash-completion/completions/entente")]
    Completions {
        /// Which shell
        shell: clap_complete::Shell,
    },
    /// The node itself, as `entente-node`
    #[command(hide = true)]
    Node(command::Cli),
}

fn main() -> ExitCode {
    if let Err(code) = command::confine() {
        return code;
    }
    match Cli::try_parse() {
        Ok(Cli { command: Command::Node(cli), .. }) => command::run_cli(&cli),
        Ok(cli) => speak(cli),
        Err(error) => {
            if error.use_stderr() && asked_for_json() {
                // Where stdout can't be written, stderr and the exit code still tell.
                let _ = output::say_json(&output::Failure::usage(told(&error)).json());
            }
            command::said(&error)
        }
    }
}

/// Whether a program reads the answer: what was asked for could not be parsed, so the words are
/// looked at.
fn asked_for_json() -> bool {
    let words: Vec<_> = std::env::args_os().collect();
    let asks =
        |pair: &[OsString]| matches!(pair, [flag, word] if flag == "--format" && word == "json");
    words.iter().any(|word| word == "--format=json") || words.windows(2).any(asks)
}

/// What was wrong, without usage and tips.
fn told(error: &clap::Error) -> String {
    let text = error.render().to_string();
    let first = text.lines().next().unwrap_or_default();
    first.strip_prefix("error: ").unwrap_or(first).to_owned()
}

fn speak(cli: Cli) -> ExitCode {
    let format = cli.format;
    output::set_look(cli.look);
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build();
    let told = match runtime {
        Ok(runtime) => {
            let told = runtime.block_on(tell(cli));
            // A thread that still waits for stdin has nothing to give any more.
            runtime.shutdown_background();
            told
        }
        Err(error) => Err(error.into()),
    };
    let written = output::end().map_err(output::Failure::from);
    match told.and(written) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(format),
    }
}

async fn tell(cli: Cli) -> Result<(), output::Failure> {
    let format = cli.format;
    let answer = run(cli).await?;
    if answer.text.is_empty() && answer.json.is_null() { Ok(()) } else { answer.say(format) }
}

async fn run(cli: Cli) -> Outcome {
    let Cli { profile, format, command, .. } = cli;
    let profile = profile.as_deref();
    match command {
        Command::Demo(demo) => demo.run(format).await,
        Command::Alert(command) => command.run(profile, format).await,
        Command::Search(search) => search.run(profile).await,
        Command::Peer(command) => command.run(profile).await,
        Command::Policy(command) => command.run(profile).await,
        Command::Audit(command) => command.run(profile, format).await,
        Command::User(command) => command.run(profile).await,
        Command::Epoch(command) => command.run(profile).await,
        Command::Identity(command) => command.run(),
        Command::Certs(command) => command.run(),
        Command::Profile(command) => command.run(),
        Command::Sample(sample) => sample.run(),
        Command::Clock(command) => command.run(profile).await,
        Command::Status => node::status(profile).await,
        Command::Reload => node::reload(profile).await,
        Command::Whoami => node::whoami(profile).await,
        Command::Completions { shell } => {
            let mut command = Cli::command();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, "entente", &mut script);
            command::write_out(&script).map_err(output::Failure::from)?;
            Ok(Answer::said())
        }
        Command::Node(_) => Err(output::Failure::usage("node is the first word, or none")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Names of flags whose words a vocabulary fixes.
    const FIXED: [&str; 9] =
        ["category", "offence", "sought", "roles", "state", "aim", "urgency", "operation", "shell"];

    fn look(command: &clap::Command, found: &mut usize) {
        for argument in command.get_arguments().filter(|a| FIXED.contains(&a.get_id().as_str())) {
            let words = argument.get_possible_values();
            assert!(!words.is_empty(), "{} {argument} takes any word", command.get_name());
            *found += 1;
        }
        command.get_subcommands().for_each(|below| look(below, found));
    }

    #[test]
    fn every_flag_with_fixed_words_knows_them() {
        let mut found = 0;
        look(&Cli::command(), &mut found);
        assert!(found >= 9, "{found}");
        Cli::command().debug_assert();
    }
}
