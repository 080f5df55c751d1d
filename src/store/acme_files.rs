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
use crate::access::tls_setting::{PairFiles, Source, TlsSetting};

/// Where the files of ACME lie.
#[derive(Debug)]
pub struct AcmeFiles {
    directory: PathBuf,
    /// The answers, as they were read last.
    answers: Mutex<Read>,
}

/// A file's content, and what the file looked like.
type Read = Option<(Fingerprint, Arc<Answers>)>;

/// What is kept of the authorities.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
#[serde(default)]
pub struct AcmeMemory {
    /// The accounts, one at each authority.
    pub accounts: Vec<AcmeAccount>,
    /// The certificates that were given, the newest last.
    pub certificates: Vec<AcmeCertificate>,
}

/// An account at an authority.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcmeAccount {
    /// Whose.
    pub directory: String,
    /// Its address and its key, as the library writes them.
    pub credentials: Value,
}

/// A certificate that an authority gave.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct AcmeCertificate {
    /// Its file, which holds its key too.
    pub path: PathBuf,
    /// What was asked for.
    pub plan: Plan,
    /// When it was given.
    pub obtained_at: Timestamp,
    /// Why the renewals since then came to nothing.
    pub trouble: Option<Trouble>,
}

impl AcmeCertificate {
    /// Returns where it lies.
    pub fn pair(&self) -> PairFiles {
        pair_in(self.path.clone())
    }
}

impl AcmeMemory {
    /// Finds the certificate in a file.
    pub fn of(&self, path: &Path) -> Option<&AcmeCertificate> {
        self.certificates.iter().find(|known| known.path == path)
    }

    /// Takes in a certificate, in the place of what was in its file.
    pub fn keep(&mut self, certificate: AcmeCertificate) {
        self.certificates
            .retain(|known| known.path != certificate.path);
        self.certificates.push(certificate);
    }

    /// Finds the account at an authority.
    pub fn account_at(&self, directory: &str) -> Option<&AcmeAccount> {
        self.accounts
            .iter()
            .find(|known| known.directory == directory)
    }

    /// Takes in an account, in the place of the one that was there.
    pub fn keep_account(&mut self, account: AcmeAccount) {
        self.accounts
            .retain(|known| known.directory != account.directory);
        self.accounts.push(account);
    }
}

/// One file holds a certificate and its key, so that they always belong together.
fn pair_in(path: PathBuf) -> PairFiles {
    PairFiles {
        source: Source::Acme,
        cert_path: path.clone(),
        key_path: path,
    }
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

    /// Returns where a certificate may lie that is not served, nor gone back to.
    pub fn free_place(&self, setting: &TlsSetting) -> PairFiles {
        let before = setting
            .trial
            .as_ref()
            .and_then(|trial| trial.before.as_ref());
        let is_free = |place: &PairFiles| {
            let used = [setting.pair.as_ref(), before];
            used.into_iter()
                .flatten()
                .all(|used| used.cert_path != place.cert_path)
        };
        let place = |number: u8| pair_in(self.directory.join(format!("acme-{number}.pem")));
        // Two are in use at most.
        [1, 2]
            .map(place)
            .into_iter()
            .find(is_free)
            .unwrap_or_else(|| place(3))
    }

    /// Writes a certificate with its chain and its key.
    pub fn write_pair(&self, place: &PairFiles, certificate_and_key: &str) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        files::replace_file(
            &place.cert_path,
            certificate_and_key.as_bytes(),
            Previous::Dropped,
        )
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
        answers.count_at(now).then(|| Arc::clone(answers))
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
    fn what_is_served_or_gone_back_to_is_not_written_over() {
        let (_dir, files) = files();
        let nothing = TlsSetting::default();
        let first = files.free_place(&nothing);
        let served = nothing.decided(Some(first.clone()));
        let second = files.free_place(&served);
        assert_ne!(second, first);
        let now = Timestamp::UNIX_EPOCH;
        let tried = served.tried(second.clone(), now, SignedDuration::from_mins(2));
        let third = files.free_place(&tried.unwrap());
        assert!(third != first && third != second);
    }

    #[test]
    fn what_is_kept_is_read_back_and_damage_is_told() {
        let (_dir, files) = files();
        assert_eq!(files.read().unwrap(), AcmeMemory::default());
        let mut memory = AcmeMemory::default();
        let account = |directory: &str, id: u8| AcmeAccount {
            directory: directory.to_owned(),
            credentials: serde_json::json!({ "id": id }),
        };
        memory.keep_account(account("https://a.lan/d", 1));
        memory.keep_account(account("https://b.lan/d", 2));
        memory.keep_account(account("https://a.lan/d", 3));
        assert_eq!(memory.accounts.len(), 2, "one at each authority");
        assert_eq!(
            memory.account_at("https://a.lan/d").unwrap().credentials["id"],
            3
        );
        files.write(&memory).unwrap();
        assert_eq!(files.read().unwrap(), memory);

        files::replace_file(&files.memory(), b"{", Previous::Dropped).unwrap();
        assert!(files.read().is_err());
    }
}
