//! The reference of line 13: nginx, which takes the TLS off in front of the monitor.

use std::fs::DirBuilder;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::Path;
use std::process::Command;

use anyhow::ensure;
use rustix::process::geteuid;

use crate::Plan;
use crate::certificate::Certificate;
use crate::server::Server;
use crate::state::Home;

/// Starts nginx in front of a server. It has as many workers as the servers have processors, which is
/// what `auto` means, unless the load has some of its own.
pub(crate) fn start(
    plan: &Plan,
    home: &Home,
    certificate: &Certificate,
    upstream: SocketAddr,
) -> anyhow::Result<Server> {
    let program = &plan.nginx;
    ensure!(
        program.exists(),
        "{} is not there: scripts/setup bench unpacks it",
        program.display()
    );
    let folder = home.path("nginx");
    DirBuilder::new().mode(0o700).create(&folder)?;
    let address = free_address()?;
    let configuration = folder.join("nginx.conf");
    let text = Configuration {
        workers: plan.cpus.for_servers(),
        folder: &folder,
        certificate,
        address,
        upstream,
    };
    std::fs::write(&configuration, text.to_text())?;
    let mut command = Command::new(program);
    command.args(["-e", "stderr", "-p"]).arg(&folder);
    command.arg("-c").arg(&configuration);
    Server::start_at(plan, command, (address, &home.path("nginx.log")))
}

/// Returns an address that nobody listens on a moment before nginx does.
fn free_address() -> anyhow::Result<SocketAddr> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?;
    Ok(listener.local_addr()?)
}

/// What nginx is told.
struct Configuration<'a> {
    workers: u32,
    folder: &'a Path,
    certificate: &'a Certificate,
    address: SocketAddr,
    upstream: SocketAddr,
}

impl Configuration<'_> {
    /// The headers and the missing buffer are those of the snippet that the monitor prints. Beyond it
    /// connections to the monitor stay open, no connection ends after a number of requests, and
    /// nothing is logged for one: all in favour of nginx.
    fn to_text(&self) -> String {
        let Self {
            workers,
            folder,
            certificate,
            address,
            upstream,
        } = self;
        let folder = folder.display();
        // Its workers would else be somebody's who may not read what is here.
        let user = if geteuid().is_root() {
            "user root;"
        } else {
            ""
        };
        format!(
            "daemon off;
{user}
worker_processes {workers};
pid {folder}/pid;
error_log stderr error;
events {{ worker_connections 1024; }}
http {{
    access_log off;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;
    upstream monitor {{
        server {upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}
    server {{
        listen {address} ssl;
        ssl_certificate {};
        ssl_certificate_key {};
        ssl_protocols TLSv1.2 TLSv1.3;
        keepalive_requests 1000000000;
        location / {{
            proxy_pass http://monitor;
            proxy_http_version 1.1;
            proxy_set_header Host $http_host;
            proxy_set_header Connection \"\";
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Host $http_host;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_buffering off;
        }}
    }}
}}
",
            certificate.file.display(),
            certificate.key.display()
        )
    }
}
