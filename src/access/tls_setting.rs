//! What the owner decided about TLS, and the trial that takes a decision back.
//!
//! The setting is the old program's file, `ssl_config.json`, with one more key for the trial:
//!
//! ```json
//! {
//!   "enabled": true,
//!   "source": "custom",
//!   "cert_path": "/etc/ssl/pve.pem",
//!   "key_path": "/etc/ssl/pve.key",
//!   "trial": {"ends_at": "2026-11-24T12:02:00Z", "before": null}
//! }
//! ```
//!
//! A trial that nobody confirms ends in what was there before it: the time of its end is in the
//! file, so it also ends while the program does not run.

use std::path::{Path, PathBuf};

use jiff::{SignedDuration, Timestamp};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

/// The longest that a trial may be set to last.
pub const LONGEST_TRIAL: SignedDuration = SignedDuration::from_hours(1);

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Source {
    /// The Proxmox host's own.
    Proxmox,
    /// Files that the owner named.
    Custom,
    /// One that the Monitor made and signed.
    SelfSigned,
    /// One that the Monitor got from an authority.
    Acme,
}

impl Source {
    /// Returns the name, as it stands in the file and on the wire.
    pub fn name(self) -> &'static str {
        match self {
            Self::Proxmox => "proxmox",
            Self::Custom => "custom",
            Self::SelfSigned => "self_signed",
            Self::Acme => "acme",
        }
    }
}

/// The files of a certificate and its key.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct PairFiles {
    /// Where they come from.
    pub source: Source,
    /// The certificate and its chain.
    pub cert_path: PathBuf,
    /// The key.
    pub key_path: PathBuf,
}

impl PairFiles {
    /// Names files of the owner.
    pub fn custom(certificate: &str, key: &str) -> Self {
        Self {
            source: Source::Custom,
            cert_path: certificate.into(),
            key_path: key.into(),
        }
    }
}

/// A decision that ends by itself unless somebody confirms it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// When it ends.
    pub ends_at: Timestamp,
    /// What was served before, and will be again; none is plain HTTP.
    pub before: Option<PairFiles>,
}

/// What the owner decided.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TlsSetting {
    /// What is served; none is plain HTTP.
    pub pair: Option<PairFiles>,
    /// The trial that runs.
    pub trial: Option<Trial>,
    /// Keys of the file that are not ours.
    rest: Map<String, Value>,
}

/// The file as it is written.
#[derive(Serialize, Deserialize)]
struct File {
    #[serde(default)]
    enabled: bool,
    #[serde(default)]
    source: Option<String>,
    #[serde(default)]
    cert_path: Option<PathBuf>,
    #[serde(default)]
    key_path: Option<PathBuf>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    trial: Option<Trial>,
    #[serde(flatten)]
    rest: Map<String, Value>,
}

/// The file does not say what the owner decided.
#[derive(Debug, thiserror::Error)]
pub enum ParseSettingError {
    /// It is not JSON, or a key is not of its kind.
    #[error("it is damaged: {0}")]
    Damaged(#[from] serde_json::Error),
    /// TLS is on, but not with which files.
    #[error("TLS is on, but `cert_path` or `key_path` is missing")]
    NoFiles,
}

/// A trial cannot begin, since another runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("another certificate is being tried")]
pub struct TrialRuns;

/// There is no trial that could be confirmed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no certificate is being tried")]
pub struct NoTrial;

impl TlsSetting {
    /// Reads the file's text.
    pub fn parse(text: &[u8]) -> Result<Self, ParseSettingError> {
        let file: File = serde_json::from_slice(text)?;
        let path = |path: Option<PathBuf>| path.filter(|path| !path.as_os_str().is_empty());
        let pair = match (file.enabled, path(file.cert_path), path(file.key_path)) {
            (false, ..) => None,
            (true, Some(cert_path), Some(key_path)) => Some(PairFiles {
                source: match file.source.as_deref() {
                    Some("proxmox") => Source::Proxmox,
                    Some("self_signed") => Source::SelfSigned,
                    Some("acme") => Source::Acme,
                    _named_files => Source::Custom,
                },
                cert_path,
                key_path,
            }),
            (true, ..) => return Err(ParseSettingError::NoFiles),
        };
        Ok(Self {
            trial: file.trial.filter(|_| pair.is_some()),
            pair,
            rest: file.rest,
        })
    }

    /// Returns the file's text.
    pub fn to_text(&self) -> Result<String, serde_json::Error> {
        let pair = self.pair.as_ref();
        let source = pair.map_or("none", |pair| pair.source.name());
        let file = File {
            enabled: pair.is_some(),
            source: Some(source.to_owned()),
            cert_path: Some(pair.map(|pair| pair.cert_path.clone()).unwrap_or_default()),
            key_path: Some(pair.map(|pair| pair.key_path.clone()).unwrap_or_default()),
            trial: self.trial.clone(),
            rest: self.rest.clone(),
        };
        serde_json::to_string_pretty(&file).map(|text| text + "\n")
    }

    /// Tries a pair from now on for as long as `length`.
    pub fn tried(
        &self,
        pair: PairFiles,
        now: Timestamp,
        length: SignedDuration,
    ) -> Result<Self, TrialRuns> {
        if self.trial.is_some() && !self.is_over(now) {
            return Err(TrialRuns);
        }
        Ok(Self {
            trial: Some(Trial {
                ends_at: now + length,
                // What a trial that is over left behind does not count.
                before: if self.is_over(now) {
                    self.taken_back().pair
                } else {
                    self.pair.clone()
                },
            }),
            pair: Some(pair),
            rest: self.rest.clone(),
        })
    }

    /// Keeps what is being tried.
    pub fn confirmed(&self, now: Timestamp) -> Result<Self, NoTrial> {
        if self.trial.is_none() || self.is_over(now) {
            return Err(NoTrial);
        }
        Ok(Self {
            trial: None,
            ..self.clone()
        })
    }

    /// Whether a trial has ended without being confirmed. One whose end is farther away than any
    /// trial lasts was begun by another clock, so it is over too.
    pub fn is_over(&self, now: Timestamp) -> bool {
        self.trial.as_ref().is_some_and(|trial| {
            let left = trial.ends_at.duration_since(now);
            left <= SignedDuration::ZERO || left > LONGEST_TRIAL
        })
    }

    /// Goes back to what was served before the trial; without one nothing changes.
    #[must_use]
    pub fn taken_back(&self) -> Self {
        match &self.trial {
            Some(trial) => Self {
                pair: trial.before.clone(),
                trial: None,
                rest: self.rest.clone(),
            },
            None => self.clone(),
        }
    }

    /// Serves `pair` without a trial; none is plain HTTP.
    #[must_use]
    pub fn decided(&self, pair: Option<PairFiles>) -> Self {
        Self {
            pair,
            trial: None,
            rest: self.rest.clone(),
        }
    }
}

/// Returns where Proxmox keeps the certificate that it serves itself: the owner's own first, then
/// the one that the cluster signed.
pub fn proxmox_pairs() -> [PairFiles; 2] {
    let local = Path::new("/etc/pve/local");
    ["pveproxy-ssl", "pve-ssl"].map(|name| PairFiles {
        source: Source::Proxmox,
        cert_path: local.join(format!("{name}.pem")),
        key_path: local.join(format!("{name}.key")),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LENGTH: SignedDuration = SignedDuration::from_secs(120);

    fn now() -> Timestamp {
        "2026-11-24T12:00:00Z".parse().unwrap()
    }

    fn pair(name: &str) -> PairFiles {
        PairFiles {
            source: Source::Custom,
            cert_path: format!("/etc/ssl/{name}.pem").into(),
            key_path: format!("/etc/ssl/{name}.key").into(),
        }
    }

    #[test]
    fn the_old_programs_file_is_read_and_its_other_keys_are_kept() {
        let text = br#"{"enabled": true, "cert_path": "/a.pem", "key_path": "/a.key", "source": "proxmox", "note": [1]}"#;

        let setting = TlsSetting::parse(text).unwrap();
        assert_eq!(setting.pair.as_ref().unwrap().source, Source::Proxmox);
        let off = setting.decided(None).to_text().unwrap();

        let written: Value = serde_json::from_str(&off).unwrap();
        assert_eq!(written["enabled"], false);
        assert_eq!(written["source"], "none");
        assert_eq!(written["note"], serde_json::json!([1]));
        assert_eq!(TlsSetting::parse(off.as_bytes()).unwrap().pair, None);
    }

    #[test]
    fn a_file_that_turns_tls_on_without_naming_files_is_refused() {
        for text in [
            r#"{"enabled": true}"#,
            r#"{"enabled": true, "cert_path": "", "key_path": "/k"}"#,
            r#"{"enabled": "yes"}"#,
            r#"{"enabled": true, "cert_path": "/c", "key_path": "/k", "trial": {"ends_at": "soon", "before": null}}"#,
            "[]",
            "{",
            "",
        ] {
            assert!(TlsSetting::parse(text.as_bytes()).is_err(), "{text}");
        }
    }

    #[test]
    fn what_is_written_is_read_back() {
        let before = TlsSetting::default().decided(Some(pair("a")));
        let tried = before.tried(pair("b"), now(), LENGTH).unwrap();
        for setting in [TlsSetting::default(), before, tried] {
            let text = setting.to_text().unwrap();
            assert_eq!(TlsSetting::parse(text.as_bytes()).unwrap(), setting);
        }
    }

    #[test]
    fn a_trial_ends_in_what_was_before() {
        let before = TlsSetting::default().decided(Some(pair("a")));

        let tried = before.tried(pair("b"), now(), LENGTH).unwrap();

        assert_eq!(tried.pair, Some(pair("b")));
        assert!(!tried.is_over(now()));
        assert!(tried.is_over(now() + LENGTH));
        let set_back = now() - SignedDuration::from_hours(24);
        assert!(tried.is_over(set_back), "begun by another clock");
        assert_eq!(tried.taken_back(), before);
        assert_eq!(tried.tried(pair("c"), now(), LENGTH), Err(TrialRuns));
        let next = tried.tried(pair("c"), now() + LENGTH, LENGTH).unwrap();
        assert_eq!(
            next.taken_back(),
            before,
            "what was over is not gone back to"
        );
    }

    #[test]
    fn only_a_running_trial_is_confirmed() {
        let tried = TlsSetting::default()
            .tried(pair("b"), now(), LENGTH)
            .unwrap();

        let kept = tried.confirmed(now()).unwrap();

        assert_eq!((kept.pair, kept.trial), (Some(pair("b")), None));
        assert_eq!(tried.confirmed(now() + LENGTH), Err(NoTrial));
        assert_eq!(TlsSetting::default().confirmed(now()), Err(NoTrial));
    }
}
