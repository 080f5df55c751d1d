//! Certificates from an authority by ACME (RFC 8555): ordered, answered for, and renewed.
//!
//! An order runs in the server or in a command on the host. What the authority is told meanwhile
//! lies in a file, so that the running server answers for both.

use std::error::Error as _;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, Problem, RetryPolicy,
};
use jiff::{SignedDuration, Timestamp};
use rustls::ServerConfig;
use rustls::sign::SingleCertAndKey;
use zeroize::Zeroizing;

use crate::access::acme::{Answer, Answers, ChallengeKind, Plan, Trouble, renews_at};
use crate::access::audit::{Actor, Event};
use crate::access::certificates::{self, examine, provider};
use crate::access::hosts::HostName;
use crate::access::tls_setting::{PairFiles, Source};
use crate::clock::Clock;
use crate::store::{AcmeAccount, AcmeFiles, AcmeMemory, AuditLog, OrderLock, read_roots};
use crate::tls::{Served, Serving};

/// How long an order may take: authorities look at a name from several places, one after another.
const PATIENCE: Duration = Duration::from_mins(3);
/// How long the authority's steps are waited for, each.
const STEP_PATIENCE: Duration = Duration::from_secs(90);
/// How long after a certificate was given the next one is not asked for by itself, whatever the
/// dates in it say.
const REST: SignedDuration = SignedDuration::from_hours(1);
/// The longest sentence that is kept of what an authority says.
const LONGEST_PROBLEM: usize = 600;
/// What a client offers that asks by a TLS handshake (RFC 8737 §4).
pub const ACME_TLS: &[u8] = b"acme-tls/1";

/// Orders, and what is known of the authority.
#[derive(Debug)]
pub struct Acme {
    files: AcmeFiles,
    clock: Clock,
    audit: Arc<AuditLog>,
    progress: Mutex<Option<Progress>>,
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

/// An order came to nothing. Each text is a sentence.
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
    /// The authority took too long.
    #[error("The authority did not answer in time.")]
    Timeout,
    /// What it gave cannot be served.
    #[error("The certificate that the authority gave cannot be used: {0}")]
    Unusable(String),
    /// The root certificates cannot be read.
    #[error("The root certificates cannot be used: {0}")]
    Roots(String),
    /// A file could not be written.
    #[error("A file could not be written: {0}.")]
    Io(#[from] io::Error),
}

impl OrderError {
    /// Says why in a word, for the audit log.
    fn reason(&self) -> &'static str {
        match self {
            Self::Refused(_) => "refused",
            Self::NotHere { .. } => "not_here",
            Self::NoChallenge(_) => "no_challenge",
            Self::Unreachable(_) => "unreachable",
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
        }
    }

    /// Returns where the certificate lies.
    pub fn pair(&self) -> PairFiles {
        self.files.pair()
    }

    /// Returns what is known of the authority.
    pub fn memory(&self) -> io::Result<AcmeMemory> {
        self.files.read()
    }

    /// Returns what was ordered when a certificate was given last.
    pub fn known_plan(&self) -> Option<Plan> {
        self.memory().ok()?.plan
    }

    /// Returns how far the last order of this process came.
    pub fn progress(&self) -> Option<Progress> {
        self.lock().clone()
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

    /// Begins an order, unless one runs.
    pub fn begin(&self, plan: Plan) -> Result<Permit, BeginError> {
        let lock = self.files.lock()?.ok_or(BeginError::Runs)?;
        *self.lock() = Some(Progress {
            plan: plan.clone(),
            step: Step::Account,
            started_at: self.clock.now(),
            ended_at: None,
            problem: None,
        });
        Ok(Permit { plan, lock })
    }

    /// Orders a certificate and writes it where it is served from. `watch` is told each step.
    pub async fn order(
        &self,
        permit: Permit,
        actor: &Actor,
        watch: impl Fn(Step) + Send + Sync,
    ) -> Result<(), OrderError> {
        let Permit { plan, lock } = permit;
        let begin = |step| {
            watch(step);
            if let Some(progress) = self.lock().as_mut() {
                progress.step = step;
            }
        };
        let obtained = tokio::time::timeout(PATIENCE, self.obtain(&plan, &begin)).await;
        let outcome = obtained.unwrap_or(Err(OrderError::Timeout));
        if let Err(error) = self.files.withdraw() {
            tracing::warn!(%error, "what an authority was told is not taken back");
        }
        let outcome = outcome.and_then(|pem| Ok(self.files.write_pair(&pem)?));
        let refused = outcome.as_ref().err();
        let problem = refused.map(|error| shortened(&error.to_string()));
        self.remember(&plan, problem.as_deref());
        let names = Vec::from_iter(plan.names.iter().map(HostName::as_str)).join(",");
        let event = match refused.map(OrderError::reason) {
            None => Event::CertificateObtained { names },
            Some(reason) => Event::CertificateRefused { names, reason },
        };
        self.audit.write(&event, actor);
        // Whoever sees that it has ended may begin the next one.
        drop(lock);
        if let Some(progress) = self.lock().as_mut() {
            progress.ended_at = Some(self.clock.now());
            progress.problem = problem;
        }
        outcome
    }

    /// Returns what is to be ordered anew at this moment, if the certificate that is served comes
    /// from an authority.
    pub fn due(&self, served: &Served) -> Option<Plan> {
        let pair = served.setting.pair.as_ref()?;
        if pair.source != Source::Acme {
            return None;
        }
        let now = self.clock.now();
        let lasts = served.serving == Serving::Configured
            && served
                .info
                .as_ref()
                .is_some_and(|info| now < renews_at(info));
        let memory = self.memory().ok()?;
        let trouble = memory.trouble.as_ref();
        let waits = trouble.is_some_and(|trouble| now < trouble.next_try() && now >= trouble.at);
        let rests = memory
            .obtained_at
            .is_some_and(|at| at <= now && now < at + REST);
        memory.plan.filter(|_| !lasts && !waits && !rests)
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
        self.look_at(plan, &chain, &key)?;
        Ok(Zeroizing::new(format!("{}\n{}", chain.trim_end(), *key)))
    }

    /// Finds the account at the authority, or makes one.
    async fn account(&self, plan: &Plan) -> Result<Account, OrderError> {
        // What cannot be read is no account.
        let memory = self.memory().unwrap_or_default();
        let known = memory.account.clone();
        let known = known.filter(|account| account.directory == plan.directory);
        if let Some(known) = known
            && let Some(account) = restored(plan, &known).await?
        {
            if known.email != plan.email {
                self.keep_account(memory, plan, known.credentials)?;
            }
            return Ok(account);
        }
        let contact = contact(plan);
        let contact = contact.as_deref();
        let wanted = NewAccount {
            contact: contact.as_slice(),
            terms_of_service_agreed: true,
            only_return_existing: false,
        };
        let builder = client(plan)?;
        let made = builder.create(&wanted, plan.directory.clone(), None).await;
        let (account, credentials) = made?;
        let credentials = serde_json::to_value(&credentials).map_err(io::Error::from)?;
        self.keep_account(memory, plan, credentials)?;
        Ok(account)
    }

    fn keep_account(
        &self,
        memory: AcmeMemory,
        plan: &Plan,
        credentials: serde_json::Value,
    ) -> io::Result<()> {
        self.files.write(&AcmeMemory {
            account: Some(AcmeAccount {
                directory: plan.directory.clone(),
                email: plan.email.clone(),
                credentials,
            }),
            ..memory
        })
    }

    /// Lets the server answer for each name, and tells the authority so.
    async fn answer(&self, plan: &Plan, order: &mut Order) -> Result<(), OrderError> {
        let mut answers = Answers {
            until: self.clock.now() + SignedDuration::try_from(PATIENCE).unwrap_or(REST),
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
            answers.answers.push(Answer {
                name: challenge.identifier().to_string(),
                token: challenge.token.clone(),
                key_authorization: challenge.key_authorization().as_str().to_owned(),
            });
            self.files.publish(&answers)?;
            challenge.set_ready().await?;
        }
        Ok(())
    }

    /// Looks whether what the authority gave can be served.
    fn look_at(&self, plan: &Plan, chain: &str, key: &str) -> Result<(), OrderError> {
        let names = Vec::from_iter(plan.names.iter().map(ToString::to_string));
        let now = self.clock.now();
        let seen = examine(Ok(chain.as_bytes()), Ok(key.as_bytes()), &names, now);
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
    fn remember(&self, plan: &Plan, problem: Option<&str>) {
        let now = self.clock.now();
        let mut memory = self.memory().unwrap_or_default();
        match problem {
            None => {
                memory.plan = Some(plan.clone());
                memory.obtained_at = Some(now);
                memory.trouble = None;
            }
            Some(problem) => {
                tracing::error!("no certificate was obtained: {problem}");
                // Another wish that fails says nothing about the certificate that is there.
                if memory.plan.as_ref() == Some(plan) {
                    let before = memory.trouble.as_ref();
                    memory.trouble = Some(Trouble::after(before, now, problem.to_owned()));
                }
            }
        }
        if let Err(error) = self.files.write(&memory) {
            tracing::error!(%error, "how the order ended could not be kept");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Option<Progress>> {
        self.progress.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Makes what speaks to the authority, trusting whom the plan says.
fn client(plan: &Plan) -> Result<instant_acme::AccountBuilder, OrderError> {
    let Some(path) = &plan.ca_path else {
        return Ok(Account::builder()?);
    };
    let path: &Path = path;
    read_roots(path).map_err(OrderError::Roots)?;
    Account::builder_with_root(path)
        .map_err(|_unusable| OrderError::Roots(format!("{} holds no certificate.", path.display())))
}

/// Takes up an account again; none if the authority does not know it any more.
async fn restored(plan: &Plan, known: &AcmeAccount) -> Result<Option<Account>, OrderError> {
    let credentials = serde_json::from_value::<AccountCredentials>(known.credentials.clone());
    let Ok(credentials) = credentials else {
        return Ok(None);
    };
    let account = client(plan)?.from_credentials(credentials).await?;
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

fn shortened(text: &str) -> String {
    let plain = text
        .chars()
        .map(|it| if it.is_control() { ' ' } else { it });
    plain.take(LONGEST_PROBLEM).collect()
}
