//! The files of ACME: what is known of the authority, what it is told while an order runs, and the
//! certificate that it gave.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use jiff::Timestamp;
use serde::{Deserialize, Serialize};
use serde_json::Value;

use super::files::{self, Fingerprint, Previous};
use super::tls_files::{LARGEST, read_regular};
use crate::access::acme::{Answers, Plan, Trouble};
use crate::access::tls_setting::{PairFiles, Source};

/// Where the files of ACME lie.
#[derive(Debug)]
pub struct AcmeFiles {
    directory: PathBuf,
    /// The answers, as they were read last.
    answers: Mutex<Read>,
}

/// A file's content, and what the file looked like.
type Read = Option<(Fingerprint, Arc<Answers>)>;

/// What is kept of an authority.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcmeMemory {
    /// What was asked for when a certificate was given last.
    pub plan: Option<Plan>,
    /// The account there.
    pub account: Option<AcmeAccount>,
    /// When that was.
    pub obtained_at: Option<Timestamp>,
    /// Why the renewals since then came to nothing.
    pub trouble: Option<Trouble>,
}

/// An account at an authority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcmeAccount {
    /// Whose.
    pub directory: String,
    /// Where the authority may write to.
    pub email: Option<String>,
    /// Its address and its key, as the library writes them.
    pub credentials: Value,
}

/// The right to order a certificate, among all processes.
#[derive(Debug)]
pub struct OrderLock(#[expect(dead_code, reason = "held for its drop")] File);

impl AcmeFiles {
    /// Lays them out.
    pub fn new(data_directory: &Path) -> Self {
        Self {
            directory: data_directory.join("tls"),
            answers: Mutex::default(),
        }
    }

    /// Returns where the certificate lies: one file holds it and its key, so that they always
    /// belong together.
    pub fn pair(&self) -> PairFiles {
        let path = self.directory.join("acme.pem");
        PairFiles {
            source: Source::Acme,
            cert_path: path.clone(),
            key_path: path,
        }
    }

    /// Writes a certificate with its chain and its key.
    pub fn write_pair(&self, certificate_and_key: &str) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        let path = self.pair().cert_path;
        files::replace_file(&path, certificate_and_key.as_bytes(), Previous::Dropped)
    }

    /// Reads what is known of the authority; a missing file is nothing.
    pub fn read(&self) -> io::Result<AcmeMemory> {
        match read_regular(&self.memory(), LARGEST) {
            Ok(text) => Ok(serde_json::from_slice(&text)?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(AcmeMemory::default()),
            Err(error) => Err(error),
        }
    }

    /// Writes what is known of the authority.
    pub fn write(&self, memory: &AcmeMemory) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        let text = serde_json::to_string_pretty(memory)? + "\n";
        files::replace_file(&self.memory(), text.as_bytes(), Previous::Dropped)
    }

    /// Takes the right to order; none while somebody else has it.
    pub fn lock(&self) -> io::Result<Option<OrderLock>> {
        files::private_directory(&self.directory)?;
        let file = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .open(self.directory.join("acme.lock"))?;
        match file.try_lock() {
            Ok(()) => Ok(Some(OrderLock(file))),
            Err(fs::TryLockError::WouldBlock) => Ok(None),
            Err(fs::TryLockError::Error(error)) => Err(error),
        }
    }

    /// Lets a running server tell an authority this.
    pub fn publish(&self, answers: &Answers) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        let text = serde_json::to_string_pretty(answers)? + "\n";
        files::replace_file(&self.published(), text.as_bytes(), Previous::Dropped)
    }

    /// Takes that back.
    pub fn withdraw(&self) -> io::Result<()> {
        files::remove_if_there(&self.published())
    }

    /// Returns what an authority is told at this moment.
    pub fn answers(&self, now: Timestamp) -> Option<Arc<Answers>> {
        let path = self.published();
        let look = Fingerprint::of(&path).ok().flatten()?;
        let mut known = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        if known.as_ref().is_none_or(|(seen, _)| *seen != look) {
            let text = read_regular(&path, LARGEST).ok()?;
            let answers = serde_json::from_slice(&text).ok()?;
            *known = Some((look, Arc::new(answers)));
        }
        let (_, answers) = known.as_ref()?;
        (now < answers.until).then(|| Arc::clone(answers))
    }

    fn memory(&self) -> PathBuf {
        self.directory.join("acme.json")
    }

    fn published(&self) -> PathBuf {
        self.directory.join("acme-answers.json")
    }
}

#[cfg(test)]
mod tests {
    use jiff::SignedDuration;

    use super::*;
    use crate::access::acme::{Answer, ChallengeKind};

    fn files() -> (tempfile::TempDir, AcmeFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = AcmeFiles::new(&dir.path().join("data"));
        (dir, files)
    }

    #[test]
    fn answers_are_given_until_they_are_taken_back_or_too_old() {
        let (_dir, files) = files();
        let now = "2026-11-24T12:00:00Z".parse::<Timestamp>().unwrap();
        let minute = SignedDuration::from_mins(1);
        assert_eq!(files.answers(now), None);
        let mut answers = Answers {
            until: now + minute,
            challenge: ChallengeKind::Http01,
            answers: Vec::new(),
        };

        files.publish(&answers).unwrap();
        assert_eq!(*files.answers(now).unwrap(), answers);
        assert_eq!(files.answers(now + minute), None);

        answers.answers.push(Answer {
            name: "a.net".to_owned(),
            token: "t".to_owned(),
            key_authorization: "t.k".to_owned(),
        });
        files.publish(&answers).unwrap();
        assert_eq!(*files.answers(now).unwrap(), answers);

        files.withdraw().unwrap();
        assert_eq!(files.answers(now), None);
        files.withdraw().unwrap();
    }

    #[test]
    fn one_order_runs_at_a_time() {
        let (_dir, files) = files();
        let held = files.lock().unwrap();
        assert!(held.is_some());
        assert!(files.lock().unwrap().is_none());
        drop(held);
        assert!(files.lock().unwrap().is_some());
    }

    #[test]
    fn what_is_kept_is_read_back_and_damage_is_told() {
        let (_dir, files) = files();
        assert_eq!(files.read().unwrap(), AcmeMemory::default());
        let memory = AcmeMemory {
            account: Some(AcmeAccount {
                directory: "https://ca.lan/d".to_owned(),
                email: None,
                credentials: serde_json::json!({"id": "1"}),
            }),
            ..AcmeMemory::default()
        };
        files.write(&memory).unwrap();
        assert_eq!(files.read().unwrap(), memory);

        files::replace_file(&files.memory(), b"{", Previous::Dropped).unwrap();
        assert!(files.read().is_err());
    }
}
