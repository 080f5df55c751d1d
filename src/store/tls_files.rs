//! The files of TLS: the setting, pairs of certificate and key, and the last pair that was good.

use std::fs::{self, DirBuilder, File};
use std::io::{self, Read as _};
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use rustix::fs::{Mode, OFlags};
use zeroize::Zeroizing;

use super::StoreError;
use super::files::{self, Fingerprint, Previous, WriteLock};
use crate::access::certificates::{self, Examination, SelfSigned};
use crate::access::tls_setting::{PairFiles, Source, TlsSetting};

/// The largest file that is taken for the setting, a certificate or a key.
pub(super) const LARGEST: u64 = 256 * 1024;

/// Where the files of TLS lie.
#[derive(Clone, Debug)]
pub struct TlsFiles {
    setting: PathBuf,
    directory: PathBuf,
}

/// What the files looked like, to know when they change.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Look(Vec<Option<Fingerprint>>);

/// What two files hold, or why they cannot be read: in sentences.
pub struct PairText {
    /// The certificate's file.
    pub certificate: Result<Vec<u8>, String>,
    /// The key's file.
    pub key: Result<Zeroizing<Vec<u8>>, String>,
}

impl PairText {
    /// Looks at what the files hold.
    pub fn examine(&self, names: &[String], now: Timestamp) -> Examination {
        let certificate = self.certificate.as_deref().map_err(Clone::clone);
        let key = self.key.as_ref().map(|key| key.as_slice());
        certificates::examine(certificate, key.map_err(Clone::clone), names, now)
    }
}

impl TlsFiles {
    /// Lays them out: the setting where it always was, the rest in the data directory.
    pub fn new(setting: &Path, data_directory: &Path) -> Self {
        Self {
            setting: setting.to_owned(),
            directory: data_directory.join("tls"),
        }
    }

    /// Returns the setting's file, for messages.
    pub fn setting(&self) -> &Path {
        &self.setting
    }

    /// Reads the setting; a missing file is the default. `Err` is a sentence.
    pub fn read(&self) -> Result<TlsSetting, String> {
        let failed = |why: &dyn std::fmt::Display| format!("{}: {why}", self.setting.display());
        match read_regular(&self.setting, LARGEST) {
            Ok(text) => TlsSetting::parse(&text).map_err(|error| failed(&error)),
            // A link that leads nowhere is no missing file: whether TLS was on nobody can say.
            Err(error)
                if error.kind() == io::ErrorKind::NotFound
                    && fs::symlink_metadata(&self.setting).is_err() =>
            {
                Ok(TlsSetting::default())
            }
            Err(error) => Err(failed(&error)),
        }
    }

    /// Changes the setting, alone among all processes: `change` gets what it is now.
    ///
    /// Instead of a setting that cannot be read, `known` is changed: what is served.
    pub fn change<E>(
        &self,
        known: &TlsSetting,
        change: impl FnOnce(&TlsSetting) -> Result<TlsSetting, E>,
    ) -> Result<Result<TlsSetting, E>, StoreError> {
        files::private_directory(&self.directory)?;
        let _lock = WriteLock::take(&self.directory.join("lock"))?;
        let before = self.read().unwrap_or_else(|_damaged| known.clone());
        let after = match change(&before) {
            Ok(after) => after,
            Err(refused) => return Ok(Err(refused)),
        };
        let text = after.to_text().map_err(io::Error::other)?;
        if let Some(parent) = self.setting.parent() {
            // The old program's directory: open to others, as it was.
            DirBuilder::new().recursive(true).create(parent)?;
        }
        files::replace_file(&self.setting, text.as_bytes(), Previous::Dropped)?;
        Ok(Ok(after))
    }

    /// Looks at the setting and at the files of a pair, without reading them.
    pub fn look(&self, pair: Option<&PairFiles>) -> Look {
        let of_pair = pair
            .into_iter()
            .flat_map(|pair| [&pair.cert_path, &pair.key_path]);
        let looked = std::iter::once(&self.setting).chain(of_pair);
        Look(
            looked
                .map(|path| Fingerprint::of(path).ok().flatten())
                .collect(),
        )
    }

    /// Reads a pair's files.
    pub fn read_pair(&self, pair: &PairFiles) -> PairText {
        let read = |path: &Path| {
            if !path.is_absolute() {
                return Err(format!(
                    "Name the whole path: {} does not begin with /.",
                    path.display()
                ));
            }
            read_regular(path, LARGEST).map_err(|error| reason(path, &error))
        };
        PairText {
            certificate: read(&pair.cert_path),
            key: read(&pair.key_path).map(Zeroizing::new),
        }
    }

    /// Returns where the certificate lies that we sign ourselves.
    pub fn self_signed(&self) -> PairFiles {
        PairFiles {
            source: Source::SelfSigned,
            cert_path: self.directory.join("self-signed.pem"),
            key_path: self.directory.join("self-signed.key"),
        }
    }

    /// Writes that certificate and its key.
    pub fn write_self_signed(&self, made: &SelfSigned) -> io::Result<()> {
        files::private_directory(&self.directory)?;
        let pair = self.self_signed();
        files::replace_file(&pair.key_path, made.key.as_bytes(), Previous::Dropped)?;
        files::replace_file(
            &pair.cert_path,
            made.certificate.as_bytes(),
            Previous::Dropped,
        )
    }

    /// Keeps what is served and was confirmed: one file, so that it is never of two pairs.
    pub fn keep_good(&self, pair: &PairText) -> io::Result<()> {
        let (Ok(certificate), Ok(key)) = (&pair.certificate, &pair.key) else {
            return Ok(());
        };
        files::private_directory(&self.directory)?;
        let mut both = Zeroizing::new(Vec::with_capacity(certificate.len() + key.len() + 1));
        both.extend_from_slice(certificate);
        // One file may hold both.
        if certificate != &**key {
            both.push(b'\n');
            both.extend_from_slice(key);
        }
        if read_regular(&self.good(), 3 * LARGEST).is_ok_and(|kept| kept == *both) {
            return Ok(());
        }
        files::replace_file(&self.good(), &both, Previous::Dropped)
    }

    /// Reads the last good pair.
    pub fn read_good(&self) -> io::Result<PairText> {
        let both = read_regular(&self.good(), 3 * LARGEST)?;
        Ok(PairText {
            key: Ok(Zeroizing::new(both.clone())),
            certificate: Ok(both),
        })
    }

    /// Forgets the last good pair, once TLS is off.
    pub fn forget_good(&self) -> io::Result<()> {
        files::remove_if_there(&self.good())
    }

    fn good(&self) -> PathBuf {
        self.directory.join("last-good.pem")
    }
}

/// Reads a file whole, unless it is large or no file: a pipe would be waited for.
pub(super) fn read_regular(path: &Path, most: u64) -> io::Result<Vec<u8>> {
    let file = rustix::fs::open(
        path,
        OFlags::RDONLY | OFlags::NONBLOCK | OFlags::CLOEXEC,
        Mode::empty(),
    )?;
    let file = File::from(file);
    let metadata = file.metadata()?;
    if !metadata.is_file() || metadata.len() > most {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes)?;
    // Files of the kernel do not say how long they are.
    if bytes.len() as u64 > most {
        return Err(io::ErrorKind::InvalidInput.into());
    }
    Ok(bytes)
}

/// Reads the root certificates of an authority. `Err` is a sentence.
pub fn read_roots(path: &Path) -> Result<Vec<u8>, String> {
    read_regular(path, LARGEST).map_err(|error| reason(path, &error))
}

/// Says why a file cannot be read, and no more than that: the caller may ask for any file.
fn reason(path: &Path, error: &io::Error) -> String {
    let path = path.display();
    let sentences = [
        (io::ErrorKind::NotFound, "There is no such file"),
        (
            io::ErrorKind::PermissionDenied,
            "The Monitor may not read it",
        ),
        (
            io::ErrorKind::InvalidInput,
            "It is not a file that could hold this",
        ),
    ];
    let mut sentences = sentences.into_iter();
    match sentences.find(|(kind, _)| *kind == error.kind()) {
        Some((_, sentence)) => format!("{sentence}: {path}."),
        None => format!("It cannot be read: {path}: {error}."),
    }
}

/// Returns whether a pair of Proxmox is there.
pub fn is_there(pair: &PairFiles) -> bool {
    [&pair.cert_path, &pair.key_path]
        .into_iter()
        .all(|path| fs::metadata(path).is_ok_and(|file| file.is_file()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn files() -> (tempfile::TempDir, TlsFiles) {
        let dir = tempfile::tempdir().unwrap();
        let files = TlsFiles::new(
            &dir.path().join("etc/ssl_config.json"),
            &dir.path().join("data"),
        );
        (dir, files)
    }

    #[test]
    fn a_missing_setting_is_plain_http_and_a_damaged_one_is_told() {
        let (_dir, files) = files();
        assert_eq!(files.read().unwrap(), TlsSetting::default());

        let on = TlsSetting::default().decided(Some(files.self_signed()));
        let written = files
            .change(&TlsSetting::default(), |_before| Ok::<_, ()>(on.clone()))
            .unwrap()
            .unwrap();
        assert_eq!(files.read().unwrap(), written);

        files::replace_file(&files.setting, b"{", Previous::Dropped).unwrap();
        assert!(files.read().unwrap_err().contains("ssl_config.json"));
        files::remove_if_there(&files.setting).unwrap();
        std::os::unix::fs::symlink("/nonexistent", &files.setting).unwrap();
        assert!(files.read().is_err(), "a link that leads nowhere");
    }

    #[test]
    fn a_refused_change_writes_nothing() {
        let (_dir, files) = files();
        assert_eq!(
            files
                .change(&TlsSetting::default(), |_before| Err::<TlsSetting, _>("no"))
                .unwrap(),
            Err("no")
        );
        assert!(!files.setting.exists());
    }

    #[test]
    fn what_is_no_file_is_not_read() {
        let (dir, files) = files();
        let pipe = dir.path().join("pipe");
        rustix::fs::mknodat(
            rustix::fs::CWD,
            &pipe,
            rustix::fs::FileType::Fifo,
            Mode::RUSR,
            0,
        )
        .unwrap();
        let pair = |cert_path: &Path| PairFiles {
            source: Source::Custom,
            cert_path: cert_path.to_owned(),
            key_path: PathBuf::from("/dev/zero"),
        };

        for path in [
            &pipe,
            dir.path(),
            Path::new("/proc/self/pagemap"),
            Path::new("relative.pem"),
            Path::new("/nonexistent"),
        ] {
            let read = files.read_pair(&pair(path));
            assert!(read.certificate.is_err(), "{path:?}");
            assert!(read.key.is_err());
        }
    }

    #[test]
    fn the_last_good_pair_is_kept_until_it_is_forgotten() {
        let (_dir, files) = files();
        assert!(files.read_good().is_err());
        let text = PairText {
            certificate: Ok(b"certificate".to_vec()),
            key: Ok(Zeroizing::new(b"key".to_vec())),
        };

        files.keep_good(&text).unwrap();
        assert_eq!(
            files.read_good().unwrap().certificate.unwrap(),
            b"certificate\nkey"
        );
        files.forget_good().unwrap();
        assert!(files.read_good().is_err());
    }
}
