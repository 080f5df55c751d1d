//! `serve`: the server, from its first breath to its last.

use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use axum::body::Bytes;
use rustix::process::{Resource, getrlimit, setrlimit};
use sd_notify::NotifyState;
use tokio::signal::unix::{SignalKind, signal};

use super::ui;
use crate::app::App;
use crate::clock::Clock;
use crate::config::{
    ConfigError, ListenAddress, Locations, Overrides, PORT, Places, ServeArguments, Settings,
    log_filter,
};
use crate::host::page_folder;
use crate::host::system::INTERVAL_SECONDS;
use crate::http::assets::Assets;
use crate::http::router;
use crate::http::server::Server;

/// How often a folder of the page is looked at.
const LOOK_AT_FOLDER: Duration = Duration::from_secs(1);

/// Runs the server until it is told to stop.
pub(super) fn run(places: &Places, arguments: &ServeArguments) -> anyhow::Result<()> {
    ui::start_log(arguments.log_format, &log_filter());
    let (locations, told) = Locations::resolve(places)?;
    let overrides = Overrides::from(arguments);
    let (settings, settings_told) = Settings::read(&locations.settings, &overrides)?;
    raise_descriptor_limit();
    let (app, app_told) = App::start(&locations, settings, Clock::machine())?;
    for sentence in told.into_iter().chain(settings_told).chain(app_told) {
        tracing::warn!("{sentence}");
    }
    app.tell_open_mode();
    let app = Arc::new(app);
    let assets = match &arguments.ui_dir {
        Some(folder) => folder_assets(folder)?,
        None => Assets::embedded(),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("the runtime could not be started")?;
    let served = runtime.block_on(async {
        let server = open_sockets(&arguments.listen)?;
        let stop = stop_signal().context("signals cannot be received")?;
        let follow = Follow {
            app: Arc::clone(&app),
            settings: locations.settings.clone(),
            overrides,
        };
        tokio::spawn(follow.reload_on_hangup());
        tokio::spawn(record(Arc::clone(&app)));
        tokio::spawn(remind(Arc::clone(&app)));
        tokio::spawn(follow_tls(Arc::clone(&app)));
        tokio::spawn(renew_certificate(Arc::clone(&app)));
        tokio::spawn(feed_watchdog());
        for address in server.addresses()? {
            app.listens_on(address);
            ui::line(&format!("listening on http://{address}"));
        }
        let _no_systemd = sd_notify::notify(&[NotifyState::Ready]);
        let stopping = Arc::clone(&app);
        let stop = async move {
            stop.await;
            stopping.terminals.stop();
        };
        server.run(&app, router(&app, assets), stop).await;
        app.terminals.stopped().await;
        let _no_systemd = sd_notify::notify(&[NotifyState::Stopping]);
        anyhow::Ok(())
    });
    runtime.shutdown_timeout(Duration::from_millis(500));
    app.store.close();
    served
}

/// Asks for as many file descriptors as the process may have, since each connection takes one.
fn raise_descriptor_limit() {
    let mut limit = getrlimit(Resource::Nofile);
    limit.current = limit.maximum;
    if let Err(error) = setrlimit(Resource::Nofile, limit) {
        tracing::warn!(%error, "the limit of file descriptors stays as it is");
    }
}

/// Takes the sockets that systemd opened, or opens those that were asked for.
fn open_sockets(addresses: &[ListenAddress]) -> anyhow::Result<Server> {
    let mut given = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..given.len() {
        listeners.extend(given.take_tcp_listener(index)?);
    }
    if !listeners.is_empty() {
        return Ok(Server::from_listeners(listeners)?);
    }
    let wanted = Vec::from_iter(addresses.iter().map(|ListenAddress(address)| *address));
    if !wanted.is_empty() {
        return Server::bind(&wanted).with_context(|| cannot_listen(&wanted));
    }
    let ListenAddress(dual) = ListenAddress::default();
    Server::bind(&[dual])
        .or_else(|error| {
            if error.kind() == io::ErrorKind::AddrInUse {
                return Err(error);
            }
            // A kernel without IPv6 has no dual stack.
            Server::bind(&[SocketAddr::new(IpAddr::V4(Ipv4Addr::UNSPECIFIED), PORT)])
        })
        .with_context(|| cannot_listen(&[dual]))
}

fn cannot_listen(addresses: &[SocketAddr]) -> String {
    let addresses = Vec::from_iter(addresses.iter().map(ToString::to_string)).join(", ");
    format!(
        "cannot listen on {addresses}: is another program there? `--listen ADDR:PORT` names another place"
    )
}

/// Ends when the process is told to.
fn stop_signal() -> io::Result<impl Future<Output = ()>> {
    let mut terminate = signal(SignalKind::terminate())?;
    let mut interrupt = signal(SignalKind::interrupt())?;
    Ok(async move {
        tokio::select! {
            _told = terminate.recv() => {}
            _told = interrupt.recv() => {}
        }
        tracing::info!("stopping");
    })
}

/// What follows the owner's decisions.
struct Follow {
    app: Arc<App>,
    settings: PathBuf,
    overrides: Overrides,
}

impl Follow {
    /// On SIGHUP opens the logs anew and reads the settings again; bad ones change nothing.
    async fn reload_on_hangup(self) {
        let Ok(mut hangup) = signal(SignalKind::hangup()) else {
            return;
        };
        while hangup.recv().await.is_some() {
            self.app.audit.reopen();
            let read = self.app.reload(|| {
                let (settings, told) = Settings::read(&self.settings, &self.overrides)?;
                for sentence in told {
                    tracing::warn!("{sentence}");
                }
                Ok::<_, ConfigError>(settings)
            });
            match read {
                Ok(()) => tracing::info!("settings are read again"),
                Err(error) => tracing::error!(%error, "the settings stay as they were"),
            }
        }
    }
}

/// Keeps the history of the last hour, and knows of networks that came and went.
async fn record(app: Arc<App>) {
    let mut minute = tokio::time::interval(Duration::from_secs(u64::from(INTERVAL_SECONDS)));
    minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        minute.tick().await;
        let app = Arc::clone(&app);
        let recorded = tokio::task::spawn_blocking(move || {
            app.system.record(app.clock.now());
            app.refresh_identity();
        });
        if let Err(error) = recorded.await {
            tracing::error!(%error, "a minute was not recorded");
        }
    }
}

/// Reminds the owner of API tokens that end soon, and lets those end whose successor has taken over.
async fn remind(app: Arc<App>) {
    let mut minute = tokio::time::interval(Duration::from_mins(1));
    minute.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        minute.tick().await;
        app.look_after_tokens().await;
    }
}

/// Follows the certificate's files, the trial of one, and its end.
async fn follow_tls(app: Arc<App>) {
    let mut look = tokio::time::interval(Duration::from_millis(500));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        look.tick().await;
        let app = Arc::clone(&app);
        let followed = tokio::task::spawn_blocking(move || {
            app.tls.follow(&app.live().certificate_names);
        });
        if let Err(error) = followed.await {
            tracing::error!(%error, "the certificate was not looked after");
        }
    }
}

/// Orders a certificate anew in time, where an authority gave it.
async fn renew_certificate(app: Arc<App>) {
    let mut look = tokio::time::interval(Duration::from_mins(1));
    look.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
    loop {
        look.tick().await;
        app.acme.renew(&app.tls.served()).await;
    }
}

/// Tells systemd that the server is alive, where it asks.
async fn feed_watchdog() {
    let Some(patience) = sd_notify::watchdog_enabled() else {
        return;
    };
    let mut beat = tokio::time::interval(patience / 2);
    loop {
        beat.tick().await;
        let _no_systemd = sd_notify::notify(&[NotifyState::Watchdog]);
    }
}

/// Reads the page from a folder, and again whenever the folder changes.
fn folder_assets(folder: &Path) -> anyhow::Result<Assets> {
    let read = |folder: &Path| -> io::Result<Vec<(String, Bytes)>> {
        let files = page_folder::read(folder)?;
        Ok(Vec::from_iter(
            files
                .into_iter()
                .map(|(name, bytes)| (name, Bytes::from(bytes))),
        ))
    };
    let files = read(folder).with_context(|| format!("--ui-dir {}", folder.display()))?;
    let assets = Assets::from_files(files);
    let (folder, followed) = (folder.to_owned(), assets.clone());
    std::thread::Builder::new()
        .name("page-folder".to_owned())
        .spawn(move || {
            let mut known = page_folder::version(&folder).ok();
            loop {
                std::thread::sleep(LOOK_AT_FOLDER);
                let seen = page_folder::version(&folder).ok();
                if seen != known
                    && let Ok(files) = read(&folder)
                {
                    followed.replace(files);
                    known = seen;
                }
            }
        })?;
    Ok(assets)
}
