//! The running program: its parts, and how they are put together.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::ArcSwap;
use ipnet::IpNet;
use jiff::Timestamp;
use jiff::tz::TimeZone;
use tokio::sync::Semaphore;

use crate::access::Access;
use crate::access::Used;
use crate::access::address::{ParseTrustedError, parse_trusted};
use crate::access::audit::{Actor, Event};
use crate::access::hosts::{HostName, HostNames};
use crate::access::random;
use crate::access::rights::Door;
use crate::access::tokens::lifecycle::Reminder;
use crate::acme::Acme;
use crate::clock::Clock;
use crate::config::{AuditTime, Locations, PORT, Settings, TrustedFrom, environment};
use crate::derivations::Derivations;
use crate::enrolments::Enrolments;
use crate::host::pty::{Login, Surroundings};
use crate::host::system::{Identity, System};
use crate::passkey_ceremonies::PasskeyCeremonies;
use crate::proxies_seen::{ProxiesSeen, SocketTrials};
pub use crate::store::CopyState;
use crate::store::{
    AcmeFiles, AuditLog, AuditSettings, AvatarFile, ClaimCodeFile, Copy, ImportError, Imported,
    Limits, Notice, Observer, RestoreError, SettingsFileError, State, StatePaths, Store, TlsFiles,
    change_list,
};
use crate::terminals::{Patience, Terminals};
use crate::tls::Tls;
use crate::token_memory::TokenMemory;

/// How many pictures may arrive at once.
const UPLOADS: usize = 4;

/// Everything that handlers work with.
pub struct App {
    /// The time.
    pub clock: Clock,
    /// The rules, on disk.
    pub store: Store,
    /// The picture, on disk.
    pub avatar: AvatarFile,
    /// The code of a host that has no password.
    pub claim_code: ClaimCodeFile,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    /// Failures and penalties.
    pub limits: Arc<Limits>,
    /// The pool for passwords.
    pub derivations: Derivations,
    /// Authenticator apps that wait for their first code.
    pub enrolments: Enrolments,
    /// Passkeys that are being made or used.
    pub passkeys: PasskeyCeremonies,
    /// Tokens that were seen.
    pub tokens: TokenMemory,
    /// TLS as it is served.
    pub tls: Tls,
    /// Certificates from an authority.
    pub acme: Acme,
    /// Proxies that were seen but are not trusted.
    pub proxies_seen: ProxiesSeen,
    /// Pages that try whether a WebSocket comes through.
    pub socket_trials: SocketTrials,
    /// Shells that run.
    pub terminals: Terminals,
    /// The machine.
    pub system: System,
    /// The right to send a picture: few at a time, since each is held in memory.
    pub uploads: Semaphore,
    /// The right to decode a picture: one at a time, since each may take a lot of memory.
    pub decoding: Semaphore,
    live: ArcSwap<Live>,
    settings_file: PathBuf,
    changing_settings: Mutex<()>,
    listening: OnceLock<SocketAddr>,
    request_prefix: String,
    requests: AtomicU64,
}

/// What the owner has decided, and what of the machine goes with it.
#[derive(Clone, Debug, Default)]
pub struct Live {
    /// The settings file.
    pub settings: Settings,
    /// The names by which this host may be called.
    pub host_names: HostNames,
    /// The same and the addresses, as certificates name them.
    pub certificate_names: Vec<String>,
    /// The networks of this host's IPv6 links.
    pub on_link: Vec<IpNet>,
}

impl Live {
    fn new(identity: &Identity, settings: Settings) -> Self {
        let own = identity.names.iter();
        let own = own.filter_map(|name| HostName::parse(name).ok());
        Self {
            host_names: HostNames::new(own, settings.host_names.iter().cloned()),
            certificate_names: certificate_names(identity, &settings),
            on_link: identity.ipv6_networks.clone(),
            settings,
        }
    }
}

/// Begins to serve what the setting of TLS says, unless a trial ended while nothing ran.
fn start_tls(locations: &Locations, live: &Live, clock: &Clock, audit: &Arc<AuditLog>) -> Tls {
    let tls = Tls::start(
        TlsFiles::new(&locations.ssl_config, &locations.data),
        &live.certificate_names,
        clock.clone(),
        Arc::clone(audit),
    );
    tls.follow(&live.certificate_names);
    tls
}

/// Returns the names and addresses under which this host is reached, each once.
fn certificate_names(identity: &Identity, settings: &Settings) -> Vec<String> {
    let configured = settings.host_names.iter().map(ToString::to_string);
    let mut names = Vec::new();
    let own = identity.names.iter().cloned();
    let addresses = identity.addresses.iter().map(ToString::to_string);
    let this_host = ["localhost", "127.0.0.1", "::1"].map(str::to_owned);
    for name in own.chain(configured).chain(addresses).chain(this_host) {
        if !names.contains(&name) {
            names.push(name);
        }
    }
    names
}

/// The program could not be put together.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// A thread could not be started.
    #[error("a thread could not be started: {0}")]
    Thread(#[from] io::Error),
    /// The kernel gave no randomness.
    #[error(transparent)]
    Random(#[from] random::RandomError),
}

/// The list of trusted proxies was not changed.
#[derive(Debug, thiserror::Error)]
pub enum TrustError {
    /// An argument or the environment decides.
    #[error("the list is set by an option of the server")]
    SetByOption,
    /// The list would trust everybody.
    #[error(transparent)]
    Refused(#[from] ParseTrustedError),
    /// The settings could not be changed.
    #[error(transparent)]
    File(#[from] SettingsFileError),
}

impl App {
    /// Puts the program together. What an operator should know is told in sentences.
    pub fn start(
        locations: &Locations,
        settings: Settings,
        clock: Clock,
    ) -> Result<(Self, Vec<String>), StartError> {
        let mut told = Vec::new();
        told.extend(crate::store::make_private_directory(&locations.data));
        let audit = Arc::new(open_audit_log(locations, &settings, &clock));
        let paths = StatePaths::new(&locations.state, &locations.data);
        let claim_code = ClaimCodeFile::new(paths.claim_code.clone());
        let watcher = Watcher {
            audit: Arc::clone(&audit),
            claim_code: Some(claim_code.clone()),
        };
        let (store, tightened) = Store::open(&paths, clock.clone(), watcher)?;
        told.extend(tightened);
        told.extend(crate::store::tighten(&locations.settings, 0o600));
        told.extend(crate::store::tighten(&locations.auth_log, 0o640));
        told.extend(fresh_start_beside_copies(&store, &paths));
        let (avatar, avatar_told) = AvatarFile::open(paths.avatar.clone());
        told.extend(avatar_told);
        let (limits, limits_told) = Limits::open(paths.limits.clone(), clock.now());
        told.extend(limits_told);
        let system = System::new();
        let live = Live::new(&system.identity(), settings);
        let tls = start_tls(locations, &live, &clock, &audit);
        let app = Self {
            avatar,
            claim_code,
            audit: Arc::clone(&audit),
            limits: Arc::new(limits),
            derivations: Derivations::start()?,
            enrolments: Enrolments::default(),
            passkeys: PasskeyCeremonies::default(),
            tokens: TokenMemory::default(),
            tls,
            acme: Acme::new(
                AcmeFiles::new(&locations.data),
                clock.clone(),
                Arc::clone(&audit),
            ),
            proxies_seen: ProxiesSeen::default(),
            socket_trials: SocketTrials::default(),
            settings_file: locations.settings.clone(),
            changing_settings: Mutex::new(()),
            listening: OnceLock::new(),
            terminals: Terminals::new(
                Login::of_service(&Surroundings::read(environment)),
                Patience::default(),
            ),
            system,
            uploads: Semaphore::new(UPLOADS),
            decoding: Semaphore::new(1),
            live: ArcSwap::from_pointee(live),
            request_prefix: random::hex::<4>()?,
            requests: AtomicU64::new(0),
            store,
            clock,
        };
        Ok((app, told))
    }

    /// Returns what the owner has decided.
    pub fn live(&self) -> Arc<Live> {
        self.live.load_full()
    }

    /// Takes other settings from now on.
    pub fn apply(&self, settings: Settings) {
        let identity = self.system.identity();
        self.live.store(Arc::new(Live::new(&identity, settings)));
    }

    /// Reads the settings again, and takes them from now on unless they are bad.
    pub fn reload<E>(&self, read: impl FnOnce() -> Result<Settings, E>) -> Result<(), E> {
        let _alone = self.alone_with_settings();
        self.apply(read()?);
        Ok(())
    }

    /// Takes the word of other proxies from now on, and writes that down in the settings.
    pub fn change_trusted(
        &self,
        change: impl FnOnce(&mut Vec<IpNet>),
    ) -> Result<Vec<IpNet>, TrustError> {
        let _alone = self.alone_with_settings();
        let live = self.live();
        if live.settings.trusted_from == TrustedFrom::Option {
            return Err(TrustError::SetByOption);
        }
        let texts = |networks: &[IpNet]| Vec::from_iter(networks.iter().map(ToString::to_string));
        let known = texts(&live.settings.proxies.trusted);
        let change = |listed: Vec<String>| {
            let mut trusted = parse_trusted(&listed.join(","))?;
            change(&mut trusted);
            let listed = texts(&trusted);
            parse_trusted(&listed.join(",")).map(|_checked| listed)
        };
        let (file, check) = (&self.settings_file, Settings::check);
        let listed = change_list(file, "trusted_proxies", known, change, check)??;
        let trusted = parse_trusted(&listed.join(","))?;
        let mut settings = live.settings.clone();
        settings.trusted_from = TrustedFrom::Settings;
        settings.proxies.trusted.clone_from(&trusted);
        self.apply(settings);
        Ok(trusted)
    }

    /// Waits until nobody else reads or changes the settings: each change begins with what the one
    /// before has left.
    fn alone_with_settings(&self) -> MutexGuard<'_, ()> {
        let alone = self.changing_settings.lock();
        alone.unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes over names and networks of this host that came or went.
    pub fn refresh_identity(&self) {
        let identity = self.system.identity();
        self.live
            .rcu(|live| Live::new(&identity, live.settings.clone()));
    }

    /// Writes down that the server runs without a password, as it does at each start.
    pub fn tell_open_mode(&self) {
        if self
            .store
            .read()
            .is_ok_and(|access| access.door() == Door::Open)
        {
            self.audit.write(&Event::OpenMode, &Actor::default());
            tracing::warn!(
                "no password protects this dashboard: everything on the private network may use it"
            );
        }
    }

    /// Writes down which API tokens end soon, once at each threshold, and makes sure that replaced
    /// ones whose time is over are revoked in the file too.
    pub async fn look_after_tokens(&self) {
        let now = self.clock.now();
        let Ok(access) = self.store.read() else {
            return;
        };
        let reminders = access.reminders(now);
        let retired = access.tokens_to_retire(now);
        if reminders.is_empty() && retired.is_empty() {
            return;
        }
        let told = reminders.clone();
        let noted = self.store.update(move |access| {
            access.note_reminders(&told);
            access.prune(now);
            Ok::<_, std::convert::Infallible>(())
        });
        if let Err(error) = noted.await {
            tracing::error!(%error, "reminders of API tokens were not noted");
            return;
        }
        for token in retired {
            let event = Event::TokenRevoked { token };
            self.audit.write(&event, &Actor::default());
        }
        for reminder in reminders {
            let Reminder { id, name, days } = reminder;
            tracing::warn!(token = %id, name, days, "an API token ends soon");
            let event = Event::TokenExpiring { token: id, days };
            self.audit.write(&event, &Actor::default());
        }
    }

    /// Returns whether a session was unused for longer than the owner allows.
    pub fn is_idle(&self, session: &str, access: &Access, live: &Live, now: Timestamp) -> bool {
        let Some(idle) = live.settings.idle else {
            return false;
        };
        let recorded = access.sessions().find(session);
        let recorded = recorded.map(|session| session.last_seen_at);
        let remembered = self.store.last_use(&Used::Session(session.to_owned()));
        let remembered = remembered.map(|used| used.at);
        recorded
            .max(remembered)
            .is_some_and(|last| now.duration_since(last) > idle)
    }

    /// Remembers where the server listens.
    pub fn listens_on(&self, address: SocketAddr) {
        let _first_counts = self.listening.set(address);
    }

    /// Returns where a proxy on this host reaches the server.
    pub fn upstream(&self) -> SocketAddr {
        let everywhere = SocketAddr::from((Ipv4Addr::LOCALHOST, PORT));
        let listening = self.listening.get().copied().unwrap_or(everywhere);
        if listening.ip().is_unspecified() {
            return SocketAddr::from((Ipv4Addr::LOCALHOST, listening.port()));
        }
        listening
    }

    /// Returns a name for the next request, unique in this run and unlikely in another.
    pub fn next_request_id(&self) -> String {
        let number = self.requests.fetch_add(1, Ordering::Relaxed);
        format!("{}-{number:x}", self.request_prefix)
    }
}

/// Opens the audit log where the settings say.
fn open_audit_log(locations: &Locations, settings: &Settings, clock: &Clock) -> AuditLog {
    let zone = match settings.audit_time {
        AuditTime::Local => TimeZone::system(),
        AuditTime::Utc => TimeZone::UTC,
    };
    AuditLog::open(
        AuditSettings::new(locations.auth_log.clone(), zone),
        clock.clone(),
    )
}

/// A missing state is a fresh start; with good copies beside it, perhaps not a wanted one.
fn fresh_start_beside_copies(store: &Store, paths: &StatePaths) -> Option<String> {
    let is_fresh = !paths.auth_json.exists() && store.read().is_ok();
    let copies = crate::store::copies(paths);
    let newest = copies.first().filter(|_| is_fresh)?;
    Some(format!(
        "{} is missing, so this is a fresh start; {} is a copy of an earlier one: if that was not wanted, run `proxmenux-monitor restore`",
        paths.auth_json.display(),
        newest.path.display()
    ))
}

/// Follows the state: keeps the claim code right, and writes down what happens to the file.
struct Watcher {
    audit: Arc<AuditLog>,
    claim_code: Option<ClaimCodeFile>,
}

impl Observer for Watcher {
    fn saw(&self, state: &State) {
        let (State::Ready(access), Some(claim_code)) = (state, &self.claim_code) else {
            return;
        };
        let door = access.door();
        let kept = claim_code.follow(door, |code| {
            tracing::info!("claim code for setting up from outside: {}", *code.expose());
        });
        if let Err(error) = kept {
            tracing::error!(%error, "the claim code's file could not be written");
        }
    }

    fn noticed(&self, notice: &Notice) {
        let write = |event: Event| self.audit.write(&event, &Actor::default());
        match notice {
            Notice::Locked(lock) => {
                tracing::error!("the state is locked: {lock}");
                let problem = lock.problem.clone();
                write(Event::StateLocked { problem });
            }
            Notice::Unlocked => {
                tracing::info!("the state can be trusted again");
                write(Event::StateUnlocked);
            }
            Notice::Reloaded => {
                tracing::info!("the state was changed by another program or by hand");
                write(Event::StateReloaded);
            }
            Notice::Unsaved(error) => {
                tracing::error!(%error, "a change is held in memory, since it could not be written");
                write(Event::StateUnsaved);
            }
            Notice::Uncopied(error) => {
                tracing::error!(%error, "the state is written, but the copy for `restore` could not be");
            }
            Notice::Saved => tracing::info!("what was held in memory is written"),
        }
    }
}

/// What a command on the host works with: the state and the audit log, no server.
pub struct Desk {
    /// The time.
    pub clock: Clock,
    /// Where the parts of the state lie.
    pub paths: StatePaths,
    /// The rules, on disk.
    pub store: Store,
    /// The audit log.
    pub audit: Arc<AuditLog>,
    tls_files: TlsFiles,
    data: PathBuf,
    settings: Settings,
}

impl Desk {
    /// Opens the state as a running server would see it.
    pub fn open(locations: &Locations, settings: &Settings) -> io::Result<Self> {
        let clock = Clock::machine();
        let audit = Arc::new(open_audit_log(locations, settings, &clock));
        let paths = StatePaths::new(&locations.state, &locations.data);
        let watcher = Watcher {
            audit: Arc::clone(&audit),
            claim_code: None,
        };
        let (store, told) = Store::open(&paths, clock.clone(), watcher)?;
        for sentence in told {
            tracing::warn!("{sentence}");
        }
        Ok(Self {
            clock,
            paths,
            store,
            audit,
            tls_files: TlsFiles::new(&locations.ssl_config, &locations.data),
            data: locations.data.clone(),
            settings: settings.clone(),
        })
    }

    /// Returns the names and addresses under which this host is reached.
    pub fn certificate_names(&self) -> Vec<String> {
        certificate_names(&System::new().identity(), &self.settings)
    }

    /// Reads what the setting of TLS comes to.
    pub fn tls(&self) -> Tls {
        Tls::start(
            self.tls_files.clone(),
            &self.certificate_names(),
            self.clock.clone(),
            Arc::clone(&self.audit),
        )
    }

    /// Takes up what is known of the authority.
    pub fn acme(&self) -> Acme {
        Acme::new(
            AcmeFiles::new(&self.data),
            self.clock.clone(),
            Arc::clone(&self.audit),
        )
    }

    /// Returns the code that a running server made, for the command of that name.
    pub fn claim_code(&self) -> io::Result<String> {
        ClaimCodeFile::new(self.paths.claim_code.clone()).read()
    }

    /// Opens the limiter's file.
    pub fn limits(&self) -> Limits {
        let (limits, told) = Limits::open(self.paths.limits.clone(), self.clock.now());
        if let Some(sentence) = told {
            tracing::warn!("{sentence}");
        }
        limits
    }

    /// Puts a copy of the state aside.
    pub fn put_aside(&self) -> io::Result<Option<PathBuf>> {
        crate::store::put_aside(&self.paths, self.clock.now())
    }

    /// Lists the copies of the state, the newest first.
    pub fn copies(&self) -> Vec<Copy> {
        crate::store::copies(&self.paths)
    }

    /// Puts a copy back, the newest good one where none is named; returns it, and where what it
    /// replaced lies now.
    pub fn restore(&self, copy: Option<&Path>) -> Result<(PathBuf, Option<PathBuf>), RestoreError> {
        crate::store::restore(&self.paths, copy, self.clock.now())
    }

    /// Says what is in a file that could be taken over.
    pub fn examine(&self, file: &Path) -> Result<Imported, ImportError> {
        crate::store::examine(file)
    }

    /// Takes a state file over.
    pub fn import(&self, file: &Path) -> Result<Imported, ImportError> {
        crate::store::import(&self.paths, file, self.clock.now())
    }

    /// Writes down what a command did, by the name of who is root here.
    pub fn tell(&self, event: &Event) {
        self.audit.write(event, &Self::actor());
    }

    /// Returns who runs commands here.
    pub fn actor() -> Actor {
        Actor {
            address: None,
            user: Some("root".to_owned()),
        }
    }
}

impl Drop for Desk {
    fn drop(&mut self) {
        self.store.close();
    }
}
