//! A certificate for one run, on P-256, and its key.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};

use jiff::Timestamp;
use proxmenux_monitor::access::certificates::self_signed;
use proxmenux_monitor::access::tls_setting::{PairFiles, Source, TlsSetting};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;

use crate::state::Home;
use crate::tls_client::NAME;

/// What servers prove themselves with.
pub(crate) struct Certificate {
    /// The certificate's file.
    pub(crate) file: PathBuf,
    /// The key's file.
    pub(crate) key: PathBuf,
    /// The certificate.
    pub(crate) der: CertificateDer<'static>,
}

impl Certificate {
    /// Makes one that is its own root, and puts it into a home.
    pub(crate) fn create(home: &Home) -> anyhow::Result<Self> {
        let made = self_signed(&[NAME.to_owned()], Timestamp::now())?;
        let (file, key) = (home.path("certificate.pem"), home.path("key.pem"));
        write(&file, &made.certificate)?;
        write(&key, &made.key)?;
        let der = CertificateDer::from_pem_slice(made.certificate.as_bytes())?;
        Ok(Self { file, key, der })
    }

    /// Lets the server that starts in a home serve it.
    pub(crate) fn serve_in(&self, home: &Home) -> anyhow::Result<()> {
        let pair = PairFiles {
            source: Source::Custom,
            cert_path: self.file.clone(),
            key_path: self.key.clone(),
        };
        let setting = TlsSetting::default().decided(Some(pair));
        write(&home.tls_setting(), &setting.to_text()?)
    }
}

fn write(path: &Path, text: &str) -> anyhow::Result<()> {
    let mut private = OpenOptions::new();
    private.write(true).create_new(true).mode(0o600);
    private.open(path)?.write_all(text.as_bytes())?;
    Ok(())
}
