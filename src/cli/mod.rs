//! The commands: what an operator types on the host.
//!
//! Whoever may run them is root there, so nothing is asked but what a slip of the hand would cost.
//! Exit status: 0 done, 1 failed, 2 wrong usage. Errors say what to do next.

mod auth;
mod ban;
mod claim_code;
mod completions;
mod import;
mod openapi;
mod proxy;
mod reset_password;
mod restore;
mod serve;
mod session;
mod tls;
mod token;
mod totp;
mod ui;

use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::app::Desk;
use crate::config::{Locations, LogFormat, Overrides, Places, ServeArguments, Settings};

/// The door to this host: a web dashboard that guards its own way in
#[derive(Parser, Debug)]
#[command(name = "proxmenux-monitor", version, max_term_width = 100)]
struct Arguments {
    #[command(flatten)]
    places: Places,
    #[command(subcommand)]
    command: Option<Command>,
}

#[derive(Subcommand, Debug)]
enum Command {
    /// Run the server (also without any command)
    Serve(ServeArguments),
    /// Show, open or turn off the protection by a password
    Auth(auth::Auth),
    /// Clear the interactive login; API tokens stay valid
    ResetPassword(reset_password::ResetPassword),
    /// Turn two-factor off when the phone is lost
    Totp(totp::Totp),
    /// Make, list or revoke API tokens
    Token(token::TokenCommand),
    /// List or end sessions
    Session(session::SessionCommand),
    /// List or lift the penalties of failed sign-ins
    Ban(ban::Ban),
    /// Show, choose or turn off the certificate that is served
    Tls(tls::TlsCommand),
    /// Print a configuration for a reverse proxy, ready to paste
    Proxy(proxy::Proxy),
    /// Show the code that lets someone from outside set this host up
    ClaimCode(claim_code::ClaimCode),
    /// Put a good copy of the state back
    Restore(restore::Restore),
    /// Take over an auth.json of the Python program or of another host
    Import(import::Import),
    /// Print the API's description
    Openapi,
    /// Print completions for a shell
    Completions(completions::Completions),
}

/// Reads the arguments and does what they say.
pub fn run() -> ExitCode {
    let arguments = Arguments::parse();
    let outcome = match arguments.command {
        None => serve::run(
            &arguments.places,
            &ServeArguments::default_from_environment(),
        ),
        Some(Command::Serve(options)) => serve::run(&arguments.places, &options),
        Some(Command::Auth(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::ResetPassword(command)) => {
            at_desk(&arguments.places, |desk| command.run(desk))
        }
        Some(Command::Totp(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Token(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Session(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Ban(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Tls(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::ClaimCode(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Restore(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Import(command)) => at_desk(&arguments.places, |desk| command.run(desk)),
        Some(Command::Proxy(command)) => command.run(),
        Some(Command::Openapi) => openapi::run(),
        Some(Command::Completions(command)) => command.run(&mut Arguments::command()),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            ui::error(&format!("{error:#}"));
            ExitCode::from(u8::from(error.is::<ui::WrongUsage>()) + 1)
        }
    }
}

/// Opens the state for a command.
fn at_desk(
    places: &Places,
    command: impl FnOnce(&Desk) -> anyhow::Result<()>,
) -> anyhow::Result<()> {
    ui::start_log(LogFormat::Text, "warn");
    let (locations, _where_told_by_the_server) = Locations::resolve(places)?;
    let (settings, _told_by_the_server) =
        Settings::read(&locations.settings, &Overrides::default())?;
    let desk = Desk::open(&locations, &settings)?;
    command(&desk)
}
