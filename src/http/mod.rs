//! The web: routes, who may use them, and what comes in and goes out.
//!
//! | to learn how | read |
//! |---|---|
//! | a route asks for a right | [`routes`] |
//! | a request is received and its client found | `visit` |
//! | a token is read and the right decided | `guard` |
//! | a failure looks on the wire | `error` |
//! | a password and a code are checked | `proof` |
//! | the page's files are served | [`assets`] |
//! | connections are accepted and ended | [`server`] |
//!
//! **Invariant:** no handler runs before its guard; a route without a right does not compile.
//!
//! **Invariant:** no cause of a failure leaves the process, only its code and our sentence.

pub mod assets;
mod confirm;
mod cookies;
mod error;
mod extract;
mod guard;
mod leftover;
mod login;
mod openapi;
mod passkeys;
mod password;
mod profile;
mod prometheus;
mod proof;
mod proxies;
pub mod routes;
pub mod server;
mod sessions;
mod setup;
mod status;
mod system;
mod terminal;
mod tls;
mod tokens;
mod totp;
mod visit;

pub use openapi::document;
pub use routes::router;
pub use visit::Peer;
