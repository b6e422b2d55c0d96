//! `entente-node`: the daemon of an authority.

use std::process::ExitCode;

use entente_node::command;

fn main() -> ExitCode {
    let cli = command::confine().and_then(|()| command::parse());
    cli.map_or_else(|code| code, |cli| command::run_cli(&cli))
}
