//! `token`: API tokens made, listed and revoked on the host, where root is the trust anchor.

use std::str::FromStr;

use clap::{Args, Subcommand, ValueEnum};
use ipnet::IpNet;
use serde::Serialize;

use super::ui::{self, Consent, WrongUsage};
use crate::access::audit::Event;
use crate::access::label::Label;
use crate::access::rfc3339;
use crate::access::rights::Scope;
use crate::access::tokens::lifecycle::{
    Days, IssuedToken, MAX_DAYS, TerminalRight, TokenWish, UnknownToken, parse_network,
};
use crate::access::tokens::{ApiToken, Invalidation, Shown, Standing};
use crate::app::Desk;

#[derive(Args, Debug)]
pub(super) struct TokenCommand {
    #[command(subcommand)]
    action: Action,
}

#[derive(Subcommand, Debug)]
enum Action {
    /// Make a token and print it, this once
    Create(Create),
    /// List the tokens
    List {
        /// Print JSON
        #[arg(long)]
        json: bool,
    },
    /// Revoke a token, or all: the next request with it fails
    Revoke {
        /// What `token list` shows
        #[arg(required_unless_present = "all", conflicts_with = "all")]
        id: Option<String>,
        /// Revoke every token
        #[arg(long)]
        all: bool,
        #[command(flatten)]
        consent: Consent,
    },
}

#[derive(Args, Debug)]
struct Create {
    /// What the list calls it
    #[arg(value_parser = Label::parse)]
    name: Label,
    /// How far it reaches
    #[arg(long, value_enum, default_value_t = ScopeArgument::ReadOnly)]
    scope: ScopeArgument,
    /// For how many days it lives
    #[arg(long, value_name = "DAYS", default_value = "365d")]
    expires: DaysArgument,
    /// From where it may be used; more than one may be named. Everywhere if none is
    #[arg(long, value_name = "CIDR", value_parser = network)]
    allow: Vec<IpNet>,
    /// Let it open a terminal, which asks for full rights
    #[arg(long)]
    terminal: bool,
    /// Print JSON
    #[arg(long)]
    json: bool,
}

#[derive(ValueEnum, Clone, Copy, Debug)]
#[value(rename_all = "snake_case")]
enum ScopeArgument {
    /// What a monitoring system scrapes
    Metrics,
    /// Everything that can be read and is no secret
    ReadOnly,
    /// Bans and the gateway's state too
    Operator,
    /// All but what only a person may do
    FullAdmin,
}

impl From<ScopeArgument> for Scope {
    fn from(scope: ScopeArgument) -> Self {
        match scope {
            ScopeArgument::Metrics => Self::Metrics,
            ScopeArgument::ReadOnly => Self::ReadOnly,
            ScopeArgument::Operator => Self::Operator,
            ScopeArgument::FullAdmin => Self::FullAdmin,
        }
    }
}

/// A number of days, with or without a `d` behind it.
#[derive(Clone, Copy, Debug)]
struct DaysArgument(Days);

impl FromStr for DaysArgument {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let number = text.strip_suffix('d').unwrap_or(text);
        let days = number.parse().ok().and_then(Days::new);
        days.map(Self)
            .ok_or_else(|| format!("choose 1d to {MAX_DAYS}d"))
    }
}

fn network(text: &str) -> Result<IpNet, String> {
    parse_network(text).ok_or_else(|| "not an address or a network such as 192.0.2.0/24".to_owned())
}

impl TokenCommand {
    pub(super) fn run(self, desk: &Desk) -> anyhow::Result<()> {
        match self.action {
            Action::Create(create) => create.run(desk),
            Action::List { json } => list(desk, json),
            Action::Revoke { id: Some(id), .. } => revoke(desk, &id),
            Action::Revoke { consent, .. } => revoke_all(desk, consent),
        }
    }
}

#[derive(Serialize)]
struct Created<'a> {
    id: &'a str,
    token: &'a str,
    token_name: &'a str,
    scope: Scope,
    expires_at: String,
}

impl Create {
    fn run(self, desk: &Desk) -> anyhow::Result<()> {
        let scope = Scope::from(self.scope);
        if self.terminal && scope != Scope::FullAdmin {
            let wrong = "only a token with --scope full_admin may open a terminal";
            return Err(WrongUsage(wrong.to_owned()).into());
        }
        let wish = TokenWish {
            name: self.name,
            scope,
            days: self.expires.0,
            networks: self.allow,
            terminal: if self.terminal {
                TerminalRight::Granted
            } else {
                TerminalRight::Withheld
            },
        };
        let now = desk.clock.now();
        let issued = desk
            .store
            .update_now(move |access| access.issue_token_from_host(wish.clone(), now))??;
        desk.tell(&Event::TokenCreated {
            token: issued.id.clone(),
            scope: issued.wish.scope.name(),
        });
        show(&issued, self.json)
    }
}

fn show(issued: &IssuedToken, json: bool) -> anyhow::Result<()> {
    if json {
        return ui::json(&Created {
            id: &issued.id,
            token: &issued.token,
            token_name: issued.wish.name.as_str(),
            scope: issued.wish.scope,
            expires_at: rfc3339(issued.expires_at),
        });
    }
    ui::line(&issued.token);
    ui::note(&format!(
        "{} ({}) ends on {}. It is shown this once; `proxmenux-monitor token revoke {}` ends it earlier.",
        issued.wish.name,
        issued.wish.scope.name(),
        rfc3339(issued.expires_at),
        issued.id
    ));
    Ok(())
}

#[derive(Serialize)]
struct Listed<'a> {
    id: String,
    name: &'a str,
    scope: &'a str,
    token_prefix: Option<&'a str>,
    created_at: Option<&'a str>,
    expires_at: Option<&'a str>,
    last_used_at: Option<&'a str>,
    last_used_from: Option<&'a str>,
    allowed_networks: &'a [String],
    terminal: bool,
    valid: Option<bool>,
    invalidation_reason: Option<Invalidation>,
}

fn listed(token: &ApiToken, standing: Standing) -> Listed<'_> {
    Listed {
        id: token.id(),
        name: token.name(),
        scope: token.scope.as_deref().unwrap_or("unknown"),
        token_prefix: token.token_prefix.as_ref().and_then(Shown::as_str),
        created_at: token.created_at.as_ref().and_then(Shown::as_str),
        expires_at: token.expires_at.as_ref().and_then(Shown::as_str),
        last_used_at: token.last_used_at.as_ref().and_then(Shown::as_str),
        last_used_from: token.last_used_from.as_ref().and_then(Shown::as_str),
        allowed_networks: token.allowed_networks.as_deref().unwrap_or_default(),
        terminal: token.terminal == Some(true),
        valid: standing.is_valid(),
        invalidation_reason: standing.invalidation(),
    }
}

fn list(desk: &Desk, json: bool) -> anyhow::Result<()> {
    let access = desk.store.read()?;
    let now = desk.clock.now();
    let tokens = access.api_tokens().iter();
    let listed = Vec::from_iter(tokens.map(|token| listed(token, access.standing(token, now))));
    if json {
        return ui::json(&listed);
    }
    if listed.is_empty() {
        ui::line("There are no API tokens.");
        return Ok(());
    }
    let rows = Vec::from_iter(listed.into_iter().map(|token| {
        let or_dash = |text: Option<&str>| text.unwrap_or("-").to_owned();
        vec![
            token.id,
            token.name.to_owned(),
            token.scope.to_owned(),
            or_dash(token.token_prefix),
            or_dash(token.expires_at),
            or_dash(token.last_used_at),
            state_of(token.invalidation_reason).to_owned(),
        ]
    }));
    let head = [
        "ID",
        "NAME",
        "SCOPE",
        "TOKEN",
        "EXPIRES",
        "LAST USED",
        "STATE",
    ];
    ui::table(&head, &rows);
    Ok(())
}

fn state_of(reason: Option<Invalidation>) -> &'static str {
    match reason {
        None => "active",
        Some(Invalidation::Revoked) => "revoked",
        Some(Invalidation::Rotated) => "replaced",
        Some(Invalidation::Expired) => "expired",
        Some(Invalidation::SecretChanged) => "invalid, regenerate",
    }
}

fn revoke(desk: &Desk, id: &str) -> anyhow::Result<()> {
    let wanted = id.to_owned();
    let revoked = desk
        .store
        .update_now(move |access| access.revoke_token(&wanted))?;
    if let Err(UnknownToken) = revoked {
        anyhow::bail!(
            "there is no such token; `proxmenux-monitor token list` shows which there are"
        );
    }
    desk.tell(&Event::TokenRevoked {
        token: id.to_owned(),
    });
    ui::line("1 token revoked.");
    Ok(())
}

fn revoke_all(desk: &Desk, consent: Consent) -> anyhow::Result<()> {
    consent.obtain("Revoke every API token? Everything that uses one stops.")?;
    let Ok(revoked) = desk
        .store
        .update_now(|access| Ok::<_, std::convert::Infallible>(access.revoke_all_tokens()))?;
    for id in &revoked {
        desk.tell(&Event::TokenRevoked { token: id.clone() });
    }
    ui::line(&format!("{} revoked.", ui::count(revoked.len(), "token")));
    Ok(())
}
