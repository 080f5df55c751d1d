//! The reference: a plain route behind the server's own connections, with none of its rooms.

use std::fs::DirBuilder;
use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::sync::Arc;

use axum::Router;
use axum::routing::get;
use proxmenux_monitor::app::App;
use proxmenux_monitor::clock::Clock;
use proxmenux_monitor::config::{Locations, Settings};
use proxmenux_monitor::http::server::Server;

/// Serves `hello` on every path that is measured, until killed. The connections ask the program's
/// parts whom to trust and what to encrypt, so these are there, on an empty state in `directory`.
pub(crate) fn serve(directory: &Path) -> anyhow::Result<()> {
    let mut private = DirBuilder::new();
    private.recursive(true).mode(0o700).create(directory)?;
    let locations = Locations {
        state: directory.to_owned(),
        data: directory.join("data"),
        settings: directory.join("monitor.toml"),
        auth_log: directory.join("auth.log"),
        ssl_config: directory.join("ssl_config.json"),
    };
    let (app, _told) = App::start(&locations, Settings::default(), Clock::machine())?;
    let app = Arc::new(app);
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()?;
    runtime.block_on(async {
        let server = Server::bind(&[SocketAddr::from((Ipv4Addr::LOCALHOST, 0))])?;
        for address in server.addresses()? {
            writeln!(std::io::stdout(), "listening on http://{address}")?;
        }
        let hello = || get(async || "hello");
        let router = Router::new()
            .route("/api/auth/profile", hello())
            .route("/api/auth/status", hello());
        server.run(&app, router, std::future::pending()).await;
        anyhow::Ok(())
    })
}
