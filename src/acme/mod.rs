//! Certificates from an authority by ACME (RFC 8555): ordered, answered for, and renewed.
//!
//! An order runs in the server or in a command on the host. What the authority is told meanwhile
//! lies in a file, so that the running server answers for both.

mod client;

use std::error::Error as _;
use std::io;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use instant_acme::{
    Account, AccountBuilder, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier,
    NewAccount, NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use zeroize::Zeroizing;

use crate::access::acme::{
    Answer, Answers, ChallengeKind, LONGEST_ORDER, Plan, Trouble, is_token, renews_at,
};
use crate::access::audit::{Actor, Event};
use crate::access::certificates::{self, certificates_of, examine, provider};
use crate::access::hosts::HostName;
use crate::access::profile::is_unprintable;
use crate::access::tls_setting::{PairFiles, Source, TlsSetting};
use crate::clock::Clock;
use crate::store::{
    AcmeAccount, AcmeCertificate, AcmeFiles, AcmeMemory, AuditLog, OrderLock, read_roots,
};
use crate::tls::{Served, Serving};
use client::Client;

/// How long the authority's steps are waited for, each.
const STEP_PATIENCE: Duration = Duration::from_secs(90);
/// How long after one order the next one is not placed by itself, whatever came of it.
const REST: SignedDuration = SignedDuration::from_hours(1);
/// The longest sentence that is kept of what an authority says.
const LONGEST_PROBLEM: usize = 600;
/// What a client offers that asks by a TLS handshake (RFC 8737 §4).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Orders, and what is known of the authorities.
#[derive(Debug)]
pub struct Acme {
    files: AcmeFiles,
    clock: Clock,
    audit: Arc<AuditLog>,
    progress: Mutex<Option<Progress>>,
    /// When a renewal was begun last, also if nothing could be written down of it.
    renewed: Mutex<Option<Timestamp>>,
}

/// How far the last order of this process came.
#[derive(Clone, Debug)]
pub struct Progress {
    /// What was ordered.
    pub plan: Plan,
    /// The last step that began.
    pub step: Step,
    /// When it began.
    pub started_at: Timestamp,
    /// When it ended.
    pub ended_at: Option<Timestamp>,
    /// Why it came to nothing, in a sentence.
    pub problem: Option<String>,
}

/// The steps of an order.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Step {
    /// The account at the authority is found or made.
    Account,
    /// The order is placed.
    Order,
    /// The authority looks whether the names lead here.
    Challenge,
    /// The authority signs.
    Certificate,
}

impl Step {
    /// Returns the name, as it stands on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Account => "account",
            Self::Order => "order",
            Self::Challenge => "challenge",
            Self::Certificate => "certificate",
        }
    }
}

/// An order that may begin.
#[derive(Debug)]
pub struct Permit {
    plan: Plan,
    /// Where the certificate is to lie.
    pair: PairFiles,
    lock: OrderLock,
}

/// An order may not begin.
#[derive(Debug, thiserror::Error)]
pub enum BeginError {
    /// Another one runs, here or in another process.
    #[error("another certificate is being ordered")]
    Runs,
    /// The lock could not be taken.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// An order came to nothing. Each text is a sentence, but holds what an authority says as it says
/// it: [`OrderError::sentence`] is for people.
#[derive(Debug, thiserror::Error)]
pub enum OrderError {
    /// The authority said no.
    #[error("The authority refused: {0}")]
    Refused(String),
    /// The authority did not find the names here.
    #[error("The authority could not see that {name} leads here: {detail}")]
    NotHere {
        /// Which name.
        name: String,
        /// What the authority says.
        detail: String,
    },
    /// The authority does not ask in the way that is wanted.
    #[error("The authority does not offer the challenge {0} for this name.")]
    NoChallenge(&'static str),
    /// The authority could not be asked.
    #[error("The authority cannot be asked: {0}.")]
    Unreachable(String),
    /// What answers is no authority, or does not keep to the protocol.
    #[error("What answers there does not speak ACME as it should.")]
    NotAcme,
    /// The authority took too long.
    #[error("The authority did not answer in time.")]
    Timeout,
    /// What it gave cannot be served.
    #[error("The certificate that the authority gave cannot be used: {0}")]
    Unusable(String),
    /// The root certificates cannot be read.
    #[error("The root certificates cannot be used: {0}.")]
    Roots(String),
    /// A file could not be written.
    #[error("A file could not be written: {0}.")]
    Io(#[from] io::Error),
}

impl OrderError {
    /// Says what is wrong, in a sentence of bounded length that can be shown anywhere.
    pub fn sentence(&self) -> String {
        let text = self.to_string();
        let plain = text
            .chars()
            .map(|it| if is_unprintable(it) { ' ' } else { it });
        plain.take(LONGEST_PROBLEM).collect()
    }

    /// Says why in a word, for the audit log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NotHere { .. } => "not_here",
            Self::NoChallenge(_) => "no_challenge",
            Self::Unreachable(_) => "unreachable",
            Self::NotAcme => "not_acme",
            Self::Timeout => "timeout",
            Self::Unusable(_) => "unusable",
            Self::Roots(_) => "roots",
            Self::Io(_) => "not_written",
        }
    }
}

impl From<instant_acme::Error> for OrderError {
    fn from(error: instant_acme::Error) -> Self {
        if let instant_acme::Error::Api(problem) = &error {
            return Self::Refused(detail(problem));
        }
        if let instant_acme::Error::Timeout(_) = error {
            return Self::Timeout;
        }
        // What it says instead is nobody's business.
        if let instant_acme::Error::Json(_) | instant_acme::Error::Str(_) = error {
            return Self::NotAcme;
        }
        let mut told = error.to_string();
        let mut cause = error.source();
        while let Some(error) = cause {
            let text = error.to_string();
            if !told.contains(&text) {
                told = format!("{told}: {text}");
            }
            cause = error.source();
        }
        Self::Unreachable(told)
    }
}

impl Acme {
    /// Names the files; nothing is asked yet.
    pub fn new(files: AcmeFiles, clock: Clock, audit: Arc<AuditLog>) -> Self {
        Self {
            files,
            clock,
            audit,
            progress: Mutex::default(),
            renewed: Mutex::default(),
        }
    }

    /// Returns where the certificate lies that was given last.
    pub fn newest(&self) -> Option<PairFiles> {
        let memory = self.memory().ok()?;
        Some(memory.certificates.last()?.pair())
    }

    /// Returns what was ordered when a certificate was given last.
    pub fn known_plan(&self) -> Option<Plan> {
        let memory = self.memory().ok()?;
        Some(memory.certificates.last()?.plan.clone())
    }

    /// Returns what is known of the authorities.
    pub fn memory(&self) -> io::Result<AcmeMemory> {
        self.files.read()
    }

    /// Returns how far the last order of this process came.
    pub fn progress(&self) -> Option<Progress> {
        lock(&self.progress).clone()
    }

    /// Returns what an authority is told while an order runs.
    pub fn answers(&self) -> Option<Arc<Answers>> {
        self.files.answers(self.clock.now())
    }

    /// Returns what answers a handshake in which an authority asks whether `name` leads here.
    pub fn challenge_config(&self, name: &str) -> Option<Arc<ServerConfig>> {
        let answers = self.answers()?;
        let key = certificates::challenge(name, answers.over_tls(name)?);
        let key = key.inspect_err(|error| tracing::error!(%error, "a challenge is not answered"));
        let config = ServerConfig::builder_with_provider(provider())
            .with_safe_default_protocol_versions()
            .ok()?;
        let mut config = config
            .with_no_client_auth()
            .with_cert_resolver(Arc::new(SingleCertAndKey::from(key.ok()?)));
        config.alpn_protocols = vec![ACME_TLS.to_vec()];
        Some(Arc::new(config))
    }

    /// Begins an order, unless one runs. One for the same names at the same authority renews the
    /// certificate where it lies; another one lies beside what is served until somebody tries it.
    pub fn begin(&self, plan: Plan, setting: &TlsSetting) -> Result<Permit, BeginError> {
        let order_lock = self.files.lock()?.ok_or(BeginError::Runs)?;
        let known = self.memory().unwrap_or_default().certificates;
        let known = known.iter().find(|known| known.plan.is_renewal_of(&plan));
        let pair = known.map_or_else(|| self.files.free_place(setting), AcmeCertificate::pair);
        *lock(&self.progress) = Some(Progress {
            plan: plan.clone(),
            step: Step::Account,
            started_at: self.clock.now(),
            ended_at: None,
            problem: None,
        });
        Ok(Permit {
            plan,
            pair,
            lock: order_lock,
        })
    }

    /// Orders a certificate, writes it down and returns where. `watch` is told each step.
    pub async fn order(
        &self,
        permit: Permit,
        actor: &Actor,
        watch: impl Fn(Step) + Send + Sync,
    ) -> Result<PairFiles, OrderError> {
        let Permit {
            plan,
            pair,
            lock: order_lock,
        } = permit;
        let begin = |step| {
            watch(step);
            if let Some(progress) = lock(&self.progress).as_mut() {
                progress.step = step;
            }
        };
        // The library trusts an authority's numbers and addresses more than one should.
        let obtained = AssertUnwindSafe(self.obtain(&plan, &begin)).catch_unwind();
        let patience = Duration::try_from(LONGEST_ORDER).unwrap_or(STEP_PATIENCE);
        let outcome = match tokio::time::timeout(patience, obtained).await {
            Ok(Ok(obtained)) => obtained,
            Ok(Err(_panic)) => Err(OrderError::NotAcme),
            Err(_elapsed) => Err(OrderError::Timeout),
        };
        if let Err(error) = self.files.withdraw() {
            tracing::warn!(%error, "what an authority was told is not taken back");
        }
        let outcome = outcome.and_then(|pem| Ok(self.files.write_pair(&pair, &pem)?));
        let refused = outcome.as_ref().err();
        let problem = refused.map(OrderError::sentence);
        self.remember(&plan, &pair, problem.as_deref());
        let names = Vec::from_iter(plan.names.iter().map(HostName::as_str)).join(",");
        let event = match refused.map(OrderError::reason) {
            None => Event::CertificateObtained { names },
            Some(reason) => Event::CertificateRefused { names, reason },
        };
        self.audit.write(&event, actor);
        // Whoever sees that it has ended may begin the next one.
        let mut progress = lock(&self.progress);
        drop(order_lock);
        if let Some(progress) = progress.as_mut() {
            progress.ended_at = Some(self.clock.now());
            progress.problem = problem;
        }
        outcome.map(|()| pair)
    }

    /// Orders the certificate anew that is served, if it comes from an authority and its time has
    /// come. To be called about once a minute.
    pub async fn renew(&self, served: &Served) {
        let now = self.clock.now();
        let last = *lock(&self.renewed);
        if last.is_some_and(|last| last <= now && now < last + REST) {
            return;
        }
        let plan = match self.due(served, now) {
            Ok(None) => return,
            Ok(Some(plan)) => plan,
            Err(error) => {
                *lock(&self.renewed) = Some(now);
                tracing::error!(%error, "the certificate is not renewed: what is known of the authority cannot be read");
                return;
            }
        };
        match self.begin(plan, &served.setting) {
            Ok(permit) => {
                *lock(&self.renewed) = Some(now);
                tracing::info!("the certificate is ordered anew");
                // Whatever comes of it is written down there, and tried again later.
                let _told = self.order(permit, &Actor::default(), |_step| {}).await;
            }
            // The next minute will do.
            Err(BeginError::Runs) => {}
            Err(BeginError::Io(error)) => {
                *lock(&self.renewed) = Some(now);
                tracing::error!(%error, "the certificate is not renewed: no order can begin");
            }
        }
    }

    /// Returns what is to be ordered anew at this moment.
    fn due(&self, served: &Served, now: Timestamp) -> io::Result<Option<Plan>> {
        let pair = served.setting.pair.as_ref();
        let Some(pair) = pair.filter(|pair| pair.source == Source::Acme) else {
            return Ok(None);
        };
        let info = served.info.as_ref();
        let lasts =
            served.serving == Serving::Configured && info.is_some_and(|info| now < renews_at(info));
        if lasts {
            return Ok(None);
        }
        let memory = self.memory()?;
        let known = memory.of(&pair.cert_path).ok_or(io::ErrorKind::NotFound)?;
        let waits = known.trouble.as_ref();
        let waits = waits.is_some_and(|trouble| now < trouble.next_try() && now >= trouble.at);
        let rests = known.obtained_at <= now && now < known.obtained_at + REST;
        Ok((!waits && !rests).then(|| known.plan.clone()))
    }

    /// Goes through the steps, and returns the certificate, its chain and its key as PEM.
    async fn obtain(
        &self,
        plan: &Plan,
        begin: &(impl Fn(Step) + Send + Sync),
    ) -> Result<Zeroizing<String>, OrderError> {
        let policy = RetryPolicy::new().timeout(STEP_PATIENCE).backoff(1.5);
        begin(Step::Account);
        let account = self.account(plan).await?;
        begin(Step::Order);
        let names = plan.names.iter().map(HostName::as_str);
        let names = Vec::from_iter(names.map(|name| Identifier::Dns(name.to_owned())));
        let mut order = account.new_order(&NewOrder::new(&names)).await?;
        begin(Step::Challenge);
        self.answer(plan, &mut order).await?;
        let ready = order.poll_ready(&policy).await;
        if !matches!(ready, Ok(OrderStatus::Ready)) {
            let refused = refusal_of(&mut order).await;
            let refused = refused.or_else(|| ready.err().map(OrderError::from));
            return Err(refused.unwrap_or(OrderError::Timeout));
        }
        begin(Step::Certificate);
        let key = Zeroizing::new(order.finalize().await?);
        let chain = order.poll_certificate(&policy).await?;
        let both = Zeroizing::new(format!("{}{}", certificates_of(&chain), *key));
        self.look_at(plan, &both)?;
        Ok(both)
    }

    /// Finds the account at the authority, or makes one.
    async fn account(&self, plan: &Plan) -> Result<Account, OrderError> {
        // What cannot be read is no account.
        let mut memory = self.memory().unwrap_or_default();
        let known = memory.account_at(&plan.directory).cloned();
        if let Some(known) = known
            && let Some(account) = restored(plan, &known).await?
        {
            return Ok(account);
        }
        let contact = contact(plan);
        let contact = contact.as_deref();
        let wanted = NewAccount {
            contact: contact.as_slice(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = builder(plan)?;
        let made = builder.create(&wanted, plan.directory.clone(), None).await;
        let (account, credentials) = made?;
        memory.keep_account(AcmeAccount {
            directory: plan.directory.clone(),
            credentials: serde_json::to_value(&credentials).map_err(io::Error::from)?,
        });
        self.files.write(&memory)?;
        Ok(account)
    }

    /// Lets the server answer for each name, and tells the authority so.
    async fn answer(&self, plan: &Plan, order: &mut Order) -> Result<(), OrderError> {
        let mut answers = Answers {
            until: self.clock.now() + LONGEST_ORDER,
            challenge: plan.challenge,
            answers: Vec::new(),
        };
        let kind = match plan.challenge {
            ChallengeKind::Http01 => ChallengeType::Http01,
            ChallengeKind::TlsAlpn01 => ChallengeType::TlsAlpn01,
        };
        let mut authorizations = order.authorizations();
        while let Some(authorization) = authorizations.next().await {
            let mut authorization = authorization?;
            if authorization.status == AuthorizationStatus::Valid {
                continue;
            }
            let mut challenge = authorization
                .challenge(kind.clone())
                .ok_or(OrderError::NoChallenge(plan.challenge.name()))?;
            let name = challenge.identifier().to_string();
            let is_wanted = plan.names.iter().any(|wanted| wanted.as_str() == name);
            let is_known = answers.answers.iter().any(|known| known.name == name);
            if !is_wanted || is_known || !is_token(&challenge.token) {
                return Err(OrderError::NotAcme);
            }
            answers.answers.push(Answer {
                name,
                token: challenge.token.clone(),
                key_authorization: challenge.key_authorization().as_str().to_owned(),
            });
            self.files.publish(&answers)?;
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// Looks whether the file that is about to be written can be served.
    fn look_at(&self, plan: &Plan, both: &str) -> Result<(), OrderError> {
        let names = Vec::from_iter(plan.names.iter().map(ToString::to_string));
        let now = self.clock.now();
        let seen = examine(Ok(both.as_bytes()), Ok(both.as_bytes()), &names, now);
        if let Some(failure) = seen.failure() {
            return Err(OrderError::Unusable(failure.to_owned()));
        }
        let missing = |info: &certificates::CertificateInfo| {
            names.iter().find(|name| !info.is_for(name)).cloned()
        };
        match seen.info.as_ref().and_then(missing) {
            Some(name) => Err(OrderError::Unusable(format!("it is not for {name}."))),
            None => Ok(()),
        }
    }

    /// Remembers how an order ended.
    fn remember(&self, plan: &Plan, pair: &PairFiles, problem: Option<&str>) {
        let now = self.clock.now();
        let mut memory = self.memory().unwrap_or_default();
        match problem {
            None => memory.keep(AcmeCertificate {
                path: pair.cert_path.clone(),
                plan: plan.clone(),
                obtained_at: now,
                trouble: None,
            }),
            Some(problem) => {
                tracing::error!("no certificate was obtained: {problem}");
                // Another wish that fails says nothing about the certificates that are there.
                let mut known = memory.certificates.iter_mut();
                if let Some(known) = known.find(|known| known.plan == *plan) {
                    let before = known.trouble.as_ref();
                    known.trouble = Some(Trouble::after(before, now, problem.to_owned()));
                }
            }
        }
        if let Err(error) = self.files.write(&memory) {
            tracing::error!(%error, "how the order ended could not be kept");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Makes what speaks to the authority, trusting whom the plan says.
fn builder(plan: &Plan) -> Result<AccountBuilder, OrderError> {
    let roots = plan.ca_path.as_deref().map(|path: &Path| read_roots(path));
    let roots = roots.transpose().map_err(OrderError::Roots)?;
    let client = Client::trusting(roots.as_deref())?;
    Ok(Account::builder_with_http(Box::new(client)))
}

/// Takes up an account again; none if the authority does not know it any more.
async fn restored(plan: &Plan, known: &AcmeAccount) -> Result<Option<Account>, OrderError> {
    let credentials = serde_json::from_value::<AccountCredentials>(known.credentials.clone());
    let Ok(credentials) = credentials else {
        return Ok(None);
    };
    let account = builder(plan)?.from_credentials(credentials).await?;
    let contact = contact(plan);
    let contact = contact.as_deref();
    // This says also whether the account is still there.
    match account.update_contacts(contact.as_slice()).await {
        Ok(()) => Ok(Some(account)),
        Err(instant_acme::Error::Api(problem)) if is_unknown_account(&problem) => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Whether an authority does not know the account (RFC 8555 §6.7).
fn is_unknown_account(problem: &Problem) -> bool {
    let kind = problem.r#type.as_deref().unwrap_or_default();
    ["accountDoesNotExist", "unauthorized"]
        .iter()
        .any(|known| kind.strip_prefix("urn:ietf:params:acme:error:") == Some(*known))
}

fn contact(plan: &Plan) -> Option<String> {
    plan.email.as_ref().map(|email| format!("mailto:{email}"))
}

/// Asks which name the authority did not find here, and why.
async fn refusal_of(order: &mut Order) -> Option<OrderError> {
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        let state = authorization.refresh().await.ok()?;
        let mut errors = state.challenges.iter().filter_map(|it| it.error.as_ref());
        if let Some(problem) = errors.next() {
            return Some(OrderError::NotHere {
                name: state.identifier().to_string(),
                detail: detail(problem),
            });
        }
    }
    None
}

/// Returns what an authority says, as one text.
fn detail(problem: &Problem) -> String {
    let parts = problem.subproblems.iter().map(|part| part.detail.as_ref());
    let parts = parts.flatten().chain(&problem.detail);
    let parts = Vec::from_iter(parts.map(String::as_str));
    match parts.as_slice() {
        [] => problem.r#type.clone().unwrap_or_default(),
        parts => parts.join(" "),
    }
}
