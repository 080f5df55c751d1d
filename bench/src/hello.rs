//! The reference: a plain route behind the server's own connections, with none of its rooms.

use std::io::Write as _;
use std::net::{Ipv4Addr, SocketAddr};

use axum::Router;
use axum::routing::get;
use proxmenux_monitor::http::server::Server;

/// Serves `hello` on every path that is measured, until killed.
pub(crate) fn serve() -> anyhow::Result<()> {
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
        server.run(router, std::future::pending()).await;
        anyhow::Ok(())
    })
}
