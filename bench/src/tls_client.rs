//! The encrypted end of a load: TLS 1.3, one root, and nothing remembered from one connection to
//! the next.

use std::net::SocketAddr;
use std::sync::Arc;

use anyhow::ensure;
use rustls::client::Resumption;
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider, kx_group};
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, HandshakeKind, RootCertStore};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

/// The name that servers are called by.
pub(crate) const NAME: &str = "localhost";

/// Opens encrypted connections.
#[derive(Clone)]
pub(crate) struct TlsClient {
    connector: TlsConnector,
    name: ServerName<'static>,
}

impl TlsClient {
    /// Trusts one certificate. Group and cipher are the same for every server, as what two servers
    /// would choose may differ.
    pub(crate) fn trusting(root: CertificateDer<'static>) -> anyhow::Result<Self> {
        let mut roots = RootCertStore::empty();
        roots.add(root)?;
        let provider = CryptoProvider {
            cipher_suites: vec![cipher_suite::TLS13_AES_256_GCM_SHA384],
            kx_groups: vec![kx_group::X25519],
            ..default_provider()
        };
        let mut config = ClientConfig::builder_with_provider(Arc::new(provider))
            .with_protocol_versions(&[&rustls::version::TLS13])?
            .with_root_certificates(roots)
            .with_no_client_auth();
        config.resumption = Resumption::disabled();
        Ok(Self {
            connector: TlsConnector::from(Arc::new(config)),
            name: ServerName::try_from(NAME)?,
        })
    }

    /// Connects, by a handshake in full.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
    ) -> anyhow::Result<TlsStream<TcpStream>> {
        let stream = TcpStream::connect(address).await?;
        stream.set_nodelay(true)?;
        let stream = self.connector.connect(self.name.clone(), stream).await?;
        let (_, session) = stream.get_ref();
        let kind = session.handshake_kind();
        ensure!(
            kind == Some(HandshakeKind::Full),
            "a handshake was {kind:?}"
        );
        Ok(stream)
    }
}
