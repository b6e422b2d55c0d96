//! `entente`: the command line of officers, coordinators, administrators and auditors.
#![allow(unreachable_pub, reason = "all items of a program are its own")]

mod commands;
mod files;
mod kind;
mod output;
mod profile;
mod renamed;
mod times;
mod words;

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};
use entente_node::command;

use commands::{
    alert, audit, certs, clock, demo, epoch, identity, node, notice, peer, policy, sample, search,
    user,
};
use output::{Answer, Format, Outcome};

/// Lets authorities exchange alerts about trafficking in human beings
#[derive(Parser)]
#[command(
    name = "entente",
    version = entente_node::VERSION,
    about,
    arg_required_else_help = true,
    after_help = "Examples:\n  entente demo\n  entente status --profile coordinator"
)]
struct Cli {
    /// The profile to use: a name from `entente profile list`, or the path of a profile file; the
    /// default profile when omitted
    #[arg(
        long,
        short,
        global = true,
        env = "ENTENTE_PROFILE",
        value_name = "PROFILE",
        help_heading = output::GLOBAL
    )]
    profile: Option<String>,
    /// The form of results
    #[arg(
        long,
        global = true,
        value_enum,
        default_value = "text",
        value_name = "FORMAT",
        help_heading = output::GLOBAL
    )]
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
    /// Alerts: your authority's own, and those that peers share
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
    /// Notices: short signed texts from one authority's desk to another's
    #[command(
        subcommand,
        after_help = "Examples:\n  entente notice list --profile officer\n  entente notice send \
                      fr.police-judiciaire - --profile officer < notice.txt"
    )]
    Notice(notice::Command),
    /// Peers: the authorities that yours exchanges alerts with
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente peer import fr.descriptor --profile administrator\n  \
                      entente peer test fr.police-judiciaire --profile administrator"
    )]
    Peer(peer::Command),
    /// The sharing policy: what each peer may see
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
    /// Users: the people and systems that may call your node
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente user list --profile administrator\n  \
                      entente user approve jensen --profile coordinator"
    )]
    User(user::Command),
    /// Recovery after a restore: fetch back what peers hold, review what will be in force, restart
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
    /// Certificates for nodes and users
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente certs example --out certs dk.politi fr.police-judiciaire\n  \
                      entente certs request --authority dk.politi --out . jensen\n  \
                      entente certs user --home dk --csr jensen.csr --out jensen jensen"
    )]
    Certs(certs::Command),
    /// Profiles: the nodes you call, and the certificates you call them with
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente profile add administrator hand-over/administrator/profile.toml\n  \
                      entente profile list"
    )]
    Profile(commands::profile::Command),
    /// Writes synthetic alerts as JSON Lines, for trials and tests
    #[command(after_help = sample::EXAMPLES)]
    Sample(sample::Sample),
    /// Shows the state of the node and of its streams with each peer
    #[command(after_help = "Example:\n  entente status --profile coordinator")]
    Status,
    /// The node's clock: what it shows, and how to confirm it after a jump
    #[command(
        subcommand,
        after_help = "Examples:\n  \
                      entente clock show --profile administrator\n  \
                      entente clock confirm 2026-11-24T10:20:00Z --profile administrator"
    )]
    Clock(clock::Command),
    /// Makes the node reload its certificates, descriptor and peers
    #[command(after_help = "Example:\n  entente reload --profile administrator")]
    Reload,
    /// Shows which user and roles the node sees in your certificate
    #[command(after_help = "Example:\n  entente whoami --profile officer")]
    Whoami,
    /// Prints completions for a shell
    #[command(after_help = "Example:\n  \
                            entente completions bash > \
                            ~/.local/share/bash-completion/completions/entente")]
    Completions {
        /// The shell to write completions for
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
        Err(error) => refused(&error),
    }
}

/// Says what is wrong with the arguments, or prints the help that was asked for.
fn refused(error: &clap::Error) -> ExitCode {
    let words: Vec<_> =
        std::env::args_os().map(|word| word.to_string_lossy().into_owned()).collect();
    let format = if asked_for_json(&words) { Format::Json } else { Format::Text };
    if let Some(renamed) = renamed::told(error, &words) {
        return output::Failure::usage(renamed).report(format);
    }
    if error.use_stderr() && format == Format::Json {
        // Where stdout can't be written, stderr and the exit code still tell.
        let _ = output::say_json(&output::Failure::usage(told(error)).json());
    }
    command::said(error)
}

/// Whether `--format json` was given. The arguments could not be parsed, so this looks at the words
/// themselves.
fn asked_for_json(words: &[String]) -> bool {
    let asks =
        |pair: &[String]| matches!(pair, [flag, word] if flag == "--format" && word == "json");
    words.iter().any(|word| word == "--format=json") || words.windows(2).any(asks)
}

/// What was wrong, without clap's usage and tips.
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
            // A thread that still waits for stdin must not delay the end.
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
        Command::Notice(command) => command.run(profile).await,
        Command::Peer(command) => command.run(profile).await,
        Command::Policy(command) => command.run(profile).await,
        Command::Audit(command) => command.run(profile, format).await,
        Command::User(command) => command.run(profile).await,
        Command::Epoch(command) => command.run(profile, format).await,
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

    /// The flags whose values come from a fixed vocabulary.
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

    /// Words with which a help text asks instead of saying what the argument is.
    const RIDDLES: [&str; 13] = [
        "Which", "Whose", "Why", "How", "Where", "What", "Who", "Whom", "When", "Of", "By", "As",
        "So",
    ];

    fn read(command: &clap::Command, read: &mut usize) {
        let name = command.get_name();
        let said = command.get_about().map(ToString::to_string).unwrap_or_default();
        assert!(said.contains(' '), "{name} does not say what it does");
        for argument in command.get_arguments().filter(|a| a.get_id() != "help") {
            let said = argument.get_help().map(ToString::to_string).unwrap_or_default();
            let first = said.split(' ').next().unwrap_or_default();
            assert!(said.contains(' '), "{name} {argument} does not say what it is");
            assert!(!RIDDLES.contains(&first), "{name} {argument}: {said:?} is a riddle");
            *read += 1;
        }
        command.get_subcommands().for_each(|below| self::read(below, read));
    }

    #[test]
    fn help_says_what_each_argument_is() {
        let mut arguments = 0;
        read(&Cli::command(), &mut arguments);
        assert!(arguments > 80, "{arguments}");
    }
}
