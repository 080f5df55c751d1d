//! The one integration binary: endpoints in process, and the real binary on a port of its own.
#![expect(
    clippy::unwrap_used,
    clippy::indexing_slicing,
    reason = "helper functions of tests are tests"
)]

mod acme;
mod binary;
mod bodies;
mod cli;
mod crash;
mod harness;
mod hostile;
mod login;
mod passkeys;
mod password;
mod profile;
mod proxies;
mod python;
mod routes;
mod sessions;
mod setup;
mod soft_passkey;
mod state;
mod status;
mod terminal;
mod tidy;
mod tls;
mod token_lifecycle;
mod tokens;
mod totp;
mod wire;
