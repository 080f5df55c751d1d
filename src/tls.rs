//! TLS as it is served: the pair in use, its trial, and the files that are followed.
//!
//! The setting says which pair to serve. If its files fail, the last pair that was good is served,
//! and without one a certificate made on the spot: once TLS is on, plain HTTP never takes its place.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};

use arc_swap::{ArcSwap, ArcSwapOption};
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;

use crate::access::acme::renews_at;
use crate::access::audit::{Actor, Event};
use crate::access::certificates::{
    self, CertificateInfo, Examination, Pair, SignError, examine, provider, should_renew,
};
use crate::access::tls_setting::{
    NoTrial, PairFiles, Source, TlsSetting, Trial, TrialRuns, proxmox_pairs,
};
use crate::clock::Clock;
use crate::store::{AuditLog, Look, StoreError, TlsFiles, is_there};

/// How long bad files are put down to somebody who is replacing one after the other.
const PATIENCE: SignedDuration = SignedDuration::from_secs(3);
/// Days before the end of a certificate on which its owner is reminded.
const REMINDERS: [i64; 3] = [1, 7, 30];

/// TLS as it is served.
pub struct Tls {
    /// The files.
    pub files: TlsFiles,
    clock: Clock,
    audit: Arc<AuditLog>,
    /// Made once it is needed: that takes tens of milliseconds.
    config: OnceLock<Arc<ServerConfig>>,
    current: Arc<Current>,
    served: ArcSwap<Served>,
    following: Mutex<Following>,
    resumed: Mutex<HashSet<String>>,
}

/// What is served, and why.
#[derive(Clone, Debug, Default)]
pub struct Served {
    /// What the owner decided.
    pub setting: TlsSetting,
    /// Which pair that came to.
    pub serving: Serving,
    /// What its certificate says.
    pub info: Option<CertificateInfo>,
    /// What is wrong, in a sentence.
    pub problem: Option<String>,
}

/// Which pair is served.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Serving {
    /// None: plain HTTP.
    #[default]
    Nothing,
    /// The one that the owner decided on.
    Configured,
    /// The last one that was good.
    LastGood,
    /// One that was made on the spot.
    Emergency,
}

/// What is known of the files.
#[derive(Default)]
struct Following {
    started: bool,
    /// A trial is over, but its end could not be written.
    unsaved: bool,
    look: Look,
    bad: Option<Bad>,
    reminded: Option<(String, i64)>,
}

/// Files that failed, and whether that was told.
struct Bad {
    since: Timestamp,
    problem: String,
    told: bool,
}

/// A change of TLS was refused.
#[derive(Debug, thiserror::Error)]
pub enum ChangeError {
    /// The pair failed its checks.
    #[error("the certificate or its key failed a check")]
    Rejected(Box<Examination>),
    /// Another pair is being tried.
    #[error(transparent)]
    TrialRuns(#[from] TrialRuns),
    /// Nothing is being tried.
    #[error(transparent)]
    NoTrial(#[from] NoTrial),
    /// A certificate could not be made.
    #[error(transparent)]
    Sign(#[from] SignError),
    /// The setting could not be written.
    #[error(transparent)]
    Store(#[from] StoreError),
}

impl ChangeError {
    /// Says why in a word, for the audit log.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Rejected(seen) => seen.failed().map_or("unknown", |check| check.name.name()),
            Self::TrialRuns(_) => "trial_running",
            Self::NoTrial(_) => "no_trial",
            Self::Sign(_) => "not_made",
            Self::Store(_) => "not_written",
        }
    }
}

/// Gives the TLS library the pair of this moment, so that another one needs no new connection.
#[derive(Debug, Default)]
struct Current(ArcSwapOption<CertifiedKey>);

impl ResolvesServerCert for Current {
    fn resolve(&self, _hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        self.0.load_full()
    }
}

impl Tls {
    /// Begins to serve what the setting says. `names` are this host's names and addresses.
    pub fn start(files: TlsFiles, names: &[String], clock: Clock, audit: Arc<AuditLog>) -> Self {
        let tls = Self {
            files,
            clock,
            audit,
            config: OnceLock::new(),
            current: Arc::default(),
            served: ArcSwap::default(),
            following: Mutex::default(),
            resumed: Mutex::default(),
        };
        tls.load(&mut tls.lock(), names);
        tls
    }

    /// Returns the TLS library's settings, while TLS is on.
    pub fn config(&self) -> Option<Arc<ServerConfig>> {
        self.config.get().filter(|_| self.is_on()).cloned()
    }

    /// Returns whether connections are encrypted here.
    pub fn is_on(&self) -> bool {
        self.served.load().serving != Serving::Nothing
    }

    /// Returns what is served.
    pub fn served(&self) -> Arc<Served> {
        self.served.load_full()
    }

    /// Returns the trial that runs.
    pub fn trial(&self) -> Option<Trial> {
        let served = self.served.load();
        let over = served.setting.is_over(self.clock.now());
        served.setting.trial.clone().filter(|_| !over)
    }

    /// Returns whether a browser may be told to come back by HTTPS only: never during a trial, nor
    /// for a certificate that the owner would have to be warned of.
    pub fn may_insist(&self) -> bool {
        let served = self.served.load();
        let trusted = served
            .info
            .as_ref()
            .is_some_and(|info| !info.is_self_signed);
        served.serving == Serving::Configured && served.setting.trial.is_none() && trusted
    }

    /// Returns whether a session may use its cookie of plain HTTP over HTTPS: during a trial, once.
    pub fn admits_plain_cookie(&self, session: &str) -> bool {
        self.trial().is_some() && self.resumed().insert(session.to_owned())
    }

    /// Looks at the files of a pair, as a change would.
    pub fn examine(&self, pair: &PairFiles, names: &[String]) -> Examination {
        self.files.read_pair(pair).examine(names, self.clock.now())
    }

    /// Serves a pair at once, and takes that back after `length` unless it is confirmed.
    pub fn try_pair(
        &self,
        pair: PairFiles,
        names: &[String],
        length: SignedDuration,
    ) -> Result<(Examination, Trial), ChangeError> {
        let mut following = self.lock();
        let seen = self.fit(&pair, names)?;
        let now = self.clock.now();
        let setting = self.change(&mut following, names, |before| {
            Ok(before.tried(pair, now, length)?)
        })?;
        self.resumed().clear();
        let trial = setting.trial.ok_or(NoTrial)?;
        Ok((seen, trial))
    }

    /// Keeps the pair that is being tried.
    pub fn confirm(&self, names: &[String]) -> Result<(), ChangeError> {
        let now = self.clock.now();
        let confirmed = |before: &TlsSetting| Ok(before.confirmed(now)?);
        self.change(&mut self.lock(), names, confirmed)?;
        Ok(())
    }

    /// Takes a trial back, or goes back to plain HTTP where none runs.
    pub fn turn_off(&self, names: &[String]) -> Result<(), ChangeError> {
        let off = |before: &TlsSetting| {
            Ok(match before.trial {
                Some(_) => before.taken_back(),
                None => before.decided(None),
            })
        };
        self.change(&mut self.lock(), names, off)?;
        Ok(())
    }

    /// Serves a pair from now on, as a command on the host decides.
    pub fn decide(&self, pair: PairFiles, names: &[String]) -> Result<Examination, ChangeError> {
        let mut following = self.lock();
        let seen = self.fit(&pair, names)?;
        self.change(&mut following, names, |before| {
            Ok(before.decided(Some(pair)))
        })?;
        Ok(seen)
    }

    /// Serves plain HTTP from now on, as a command on the host decides.
    pub fn decide_off(&self, names: &[String]) -> Result<(), ChangeError> {
        self.change(&mut self.lock(), names, |before| Ok(before.decided(None)))?;
        Ok(())
    }

    /// Looks at a pair that somebody wants, and makes it first where it is our own; one that fails a
    /// check is refused.
    fn fit(&self, pair: &PairFiles, names: &[String]) -> Result<Examination, ChangeError> {
        if pair.source == Source::SelfSigned {
            self.make_own(names)?;
        }
        let seen = self.examine(pair, names);
        if seen.failure().is_some() {
            return Err(ChangeError::Rejected(Box::new(seen)));
        }
        Ok(seen)
    }

    /// Changes the setting and serves what it says then.
    fn change(
        &self,
        following: &mut Following,
        names: &[String],
        change: impl FnOnce(&TlsSetting) -> Result<TlsSetting, ChangeError>,
    ) -> Result<TlsSetting, ChangeError> {
        let known = self.served();
        let setting = self.files.change(&known.setting, change)??;
        self.load(following, names);
        Ok(setting)
    }

    /// Makes our own certificate, unless there is one for all these names that lasts.
    fn make_own(&self, names: &[String]) -> Result<(), ChangeError> {
        let now = self.clock.now();
        let there = self.examine(&self.files.self_signed(), names);
        let lasts = there.pair.is_some_and(|pair| {
            let covers = names.iter().all(|name| pair.info.is_for(name));
            covers && !should_renew(&pair.info, now)
        });
        if lasts {
            return Ok(());
        }
        let made = certificates::self_signed(names, now)?;
        self.files
            .write_self_signed(&made)
            .map_err(StoreError::from)?;
        Ok(())
    }

    /// Follows the files and the clock; to be called about twice a second.
    pub fn follow(&self, names: &[String]) {
        let mut following = self.lock();
        let served = self.served();
        let now = self.clock.now();
        if served.setting.is_over(now) || following.unsaved {
            self.revert(&mut following, names);
            return;
        }
        if self.files.look(served.setting.pair.as_ref()) != following.look {
            self.load(&mut following, names);
        }
        self.tell_if_bad(&mut following, now);
        self.renew_or_remind(&mut following, names, now);
    }

    /// Ends a trial that nobody confirmed.
    fn revert(&self, following: &mut Following, names: &[String]) {
        let known = self.served();
        let now = self.clock.now();
        let reverted = self.files.change(&known.setting, |before| {
            if before.is_over(now) {
                Ok(before.taken_back())
            } else {
                // Somebody else has ended it.
                Err(NoTrial)
            }
        });
        let was_told = std::mem::replace(&mut following.unsaved, reverted.is_err());
        match reverted {
            Ok(Ok(_setting)) if was_told => {}
            Ok(Ok(_setting)) => {
                tracing::warn!(
                    "nobody confirmed the certificate that was tried, so it is taken back"
                );
                self.tell(&Event::TlsReverted);
            }
            Ok(Err(NoTrial)) => {}
            Err(error) => {
                if !was_told {
                    tracing::error!(%error, "a trial is over, but the setting could not be written");
                    self.tell(&Event::TlsReverted);
                }
                // The door must not wait for a full disk.
                let setting = known.setting.taken_back();
                self.serve(following, setting, names);
                return;
            }
        }
        self.load(following, names);
    }

    /// Reads the setting and its files, and serves what they hold.
    fn load(&self, following: &mut Following, names: &[String]) {
        match self.files.read() {
            Ok(setting) => self.serve(following, setting, names),
            Err(problem) if following.started => {
                let served = self.served();
                following.look = self.files.look(served.setting.pair.as_ref());
                following.note_bad(&problem, self.clock.now());
            }
            // Whether TLS was on nobody can say, so it is taken to be, with a certificate of our own:
            // what a trial goes back to must not be plain HTTP.
            Err(problem) => {
                if let Err(error) = self.make_own(names) {
                    tracing::error!(%error, "no certificate could be made");
                }
                let setting = TlsSetting::default().decided(Some(self.files.self_signed()));
                following.look = self.files.look(setting.pair.as_ref());
                self.fall_back(following, setting, &problem, names);
            }
        }
        following.started = true;
    }

    fn serve(&self, following: &mut Following, setting: TlsSetting, names: &[String]) {
        following.look = self.files.look(setting.pair.as_ref());
        let Some(pair) = setting.pair.clone() else {
            following.bad = None;
            if let Err(error) = self.files.forget_good() {
                tracing::warn!(%error, "the last good certificate could not be removed");
            }
            self.put(
                None,
                Served {
                    setting,
                    ..Served::default()
                },
            );
            return;
        };
        let text = self.files.read_pair(&pair);
        let seen = text.examine(names, self.clock.now());
        let problem = seen.failure().map(str::to_owned);
        let Some(good) = seen.pair else {
            let problem = problem.unwrap_or_default();
            self.fall_back(following, setting, &problem, names);
            return;
        };
        following.bad = None;
        if let Some(problem) = &problem {
            following.note_bad(problem, self.clock.now());
        }
        if setting.trial.is_none()
            && problem.is_none()
            && let Err(error) = self.files.keep_good(&text)
        {
            tracing::warn!(%error, "the certificate could not be kept for bad times");
        }
        self.tell_reload(&setting, &good.info);
        let served = Served {
            setting,
            serving: Serving::Configured,
            info: Some(good.info),
            problem,
        };
        self.put(Some(good.key), served);
    }

    /// Serves something else than what the files hold: what is served now, the last good pair, or
    /// one made on the spot.
    fn fall_back(
        &self,
        following: &mut Following,
        setting: TlsSetting,
        problem: &str,
        names: &[String],
    ) {
        let now = self.clock.now();
        following.note_bad(problem, now);
        // What is served for this very setting goes on; the pair of another one does not stand in.
        if self.is_on() && self.served().setting.pair == setting.pair {
            let served = Served {
                setting,
                ..(*self.served()).clone()
            };
            self.served.store(Arc::new(served));
            return;
        }
        let good = self.files.read_good().ok();
        let good = good.and_then(|text| text.examine(names, now).pair);
        let (pair, serving) = match good {
            Some(pair) => (Some(pair), Serving::LastGood),
            None => (on_the_spot(names, now), Serving::Emergency),
        };
        let served = Served {
            setting,
            serving,
            info: pair.as_ref().map(|pair| pair.info.clone()),
            problem: Some(problem.to_owned()),
        };
        self.put(pair.map(|pair| pair.key), served);
    }

    fn put(&self, key: Option<Arc<CertifiedKey>>, served: Served) {
        if key.is_some() && self.config.get().is_none() {
            match server_config(Arc::clone(&self.current)) {
                Ok(config) => {
                    let _once = self.config.set(Arc::new(config));
                }
                Err(error) => {
                    tracing::error!(%error, "TLS could not be prepared, so nobody can connect");
                }
            }
        }
        self.current.0.store(key);
        self.served.store(Arc::new(served));
    }

    /// Writes down that a renewed certificate is served.
    fn tell_reload(&self, setting: &TlsSetting, info: &CertificateInfo) {
        let before = self.served();
        let is_renewal = before.setting.pair == setting.pair
            && before
                .info
                .as_ref()
                .is_some_and(|old| old.fingerprint != info.fingerprint);
        if is_renewal {
            tracing::info!(expires = %info.expires, "a renewed certificate is served");
            self.tell(&Event::TlsReloaded);
        }
    }

    /// Says once that files are bad, when that lasts.
    fn tell_if_bad(&self, following: &mut Following, now: Timestamp) {
        let Some(bad) = following.bad.as_mut().filter(|bad| !bad.told) else {
            return;
        };
        if now.duration_since(bad.since) < PATIENCE && self.served().problem.is_none() {
            return;
        }
        bad.told = true;
        let problem = bad.problem.clone();
        tracing::error!("the certificate of the setting is not served: {problem}");
        self.served.rcu(|served| Served {
            problem: Some(problem.clone()),
            ..(**served).clone()
        });
        self.tell(&Event::TlsFailed { problem });
    }

    /// Makes our own certificate anew in time; of another one the owner is reminded.
    fn renew_or_remind(&self, following: &mut Following, names: &[String], now: Timestamp) {
        let served = self.served();
        let (Some(pair), Some(info)) = (&served.setting.pair, &served.info) else {
            return;
        };
        if pair.source == Source::SelfSigned {
            if (should_renew(info, now) || !is_there(pair))
                && let Err(error) = self.make_own(names)
            {
                tracing::error!(%error, "the self-signed certificate could not be renewed");
            }
            return;
        }
        // A third before its end it is ordered anew; only if that fails for long the owner must act.
        if pair.source == Source::Acme && now < halfway_to_the_end(info) {
            return;
        }
        let left = info.days_left(now);
        let Some(threshold) = REMINDERS.into_iter().find(|days| left < *days) else {
            return;
        };
        let reminder = (info.fingerprint.clone(), threshold);
        if following.reminded.as_ref() != Some(&reminder) {
            following.reminded = Some(reminder);
            tracing::warn!(days = left, "the certificate ends soon");
            self.tell(&Event::TlsExpiring { days: threshold });
        }
    }

    fn tell(&self, event: &Event) {
        self.audit.write(event, &Actor::default());
    }

    fn lock(&self) -> MutexGuard<'_, Following> {
        self.following
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }

    fn resumed(&self) -> MutexGuard<'_, HashSet<String>> {
        self.resumed.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Following {
    fn note_bad(&mut self, problem: &str, since: Timestamp) {
        if self.bad.as_ref().is_none_or(|bad| bad.problem != problem) {
            self.bad = Some(Bad {
                since,
                problem: problem.to_owned(),
                told: false,
            });
        }
    }
}

/// Returns the pair that Proxmox serves itself, if this is a Proxmox host.
pub fn proxmox_pair() -> Option<PairFiles> {
    proxmox_pairs().into_iter().find(is_there)
}

/// Returns when half of the time is over in which a certificate should have been renewed.
fn halfway_to_the_end(info: &CertificateInfo) -> Timestamp {
    let begins = renews_at(info);
    begins + info.expires.duration_since(begins) / 2
}

fn on_the_spot(names: &[String], now: Timestamp) -> Option<Pair> {
    let made = certificates::self_signed(names, now).inspect_err(|error| {
        tracing::error!(%error, "no certificate could be made, so nobody can connect");
    });
    let made = made.ok()?;
    examine(
        Ok(made.certificate.as_bytes()),
        Ok(made.key.as_bytes()),
        names,
        now,
    )
    .pair
}

/// TLS 1.2 and 1.3 (RFC 8446), HTTP/2 where the client wants it.
fn server_config(current: Arc<Current>) -> Result<ServerConfig, rustls::Error> {
    let mut config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])?
        .with_no_client_auth()
        .with_cert_resolver(current);
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    config.ignore_client_order = true;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(config)
}
