//! ProxMenux Monitor: a web dashboard on a Proxmox or Debian host that guards its own way in.
//!
//! | room | holds |
//! |---|---|
//! | [`access`] | the rules, pure |
//! | [`store`] | the state on disk |
//! | [`host`] | the machine |
//! | [`http`] | the web |
//! | [`cli`] | the commands |
//! | [`app`] | the running program, put together |
//! | [`config`] | arguments, environment and settings |
//! | [`derivations`] | the bounded pool for passwords |
//! | [`passkey_ceremonies`] | passkeys that are being made or used |
//! | [`terminals`] | shells that run, and tickets to them |
//! | [`token_memory`] | tokens that were seen |
//! | [`proxies_seen`] | proxies that were seen but are not trusted |
//! | [`tls`] | TLS as it is served |
//! | [`clock`] | the time |

pub mod access;
pub mod acme;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod derivations;
pub mod enrolments;
pub mod host;
pub mod http;
pub mod passkey_ceremonies;
pub mod proxies_seen;
pub mod store;
pub mod terminals;
pub mod tls;
pub mod token_memory;
