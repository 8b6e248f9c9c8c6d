//! TLS in front of a stub.

use std::error::Error;
use std::io;
use std::path::Path;
use std::sync::Arc;

use rustls::ServerConfig;
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream, ToSocketAddrs};
use tokio_rustls::TlsAcceptor;

use crate::Stub;

/// The certificate and key of a server.
pub struct Tls(TlsAcceptor);

impl Tls {
    /// Makes a self-signed certificate for `localhost`. Returns it in PEM as well.
    ///
    /// # Errors
    /// The certificate could not be made.
    pub fn self_signed() -> Result<(Self, String), Box<dyn Error + Send + Sync>> {
        let made = rcgen::generate_simple_self_signed(vec!["localhost".to_owned()])?;
        let key = PrivatePkcs8KeyDer::from(made.signing_key.serialize_der());
        let tls = Self::new(vec![made.cert.der().clone()], key.into())?;
        Ok((tls, made.cert.pem()))
    }

    /// Reads the certificate, with those of its issuers, and the key from PEM files.
    ///
    /// # Errors
    /// A file could not be read, or they do not belong together.
    pub fn from_files(
        certificates: &Path,
        key: &Path,
    ) -> Result<Self, Box<dyn Error + Send + Sync>> {
        let chain = CertificateDer::pem_file_iter(certificates)?.collect::<Result<Vec<_>, _>>()?;
        Ok(Self::new(chain, PrivateKeyDer::from_pem_file(key)?)?)
    }

    fn new(
        chain: Vec<CertificateDer<'static>>,
        key: PrivateKeyDer<'static>,
    ) -> Result<Self, rustls::Error> {
        let provider = Arc::new(ring::default_provider());
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()?
            .with_no_client_auth()
            .with_single_cert(chain, key)?;
        Ok(Self(TlsAcceptor::from(Arc::new(config))))
    }
}

impl Stub {
    /// Serves the stub with TLS at this address as well. Returns the port.
    ///
    /// # Errors
    /// The port could not be bound.
    pub async fn serve_tls(&self, address: impl ToSocketAddrs, tls: &Tls) -> io::Result<u16> {
        let listener = TcpListener::bind(address).await?;
        let port = listener.local_addr()?.port();
        tokio::spawn(serve(listener, tls.0.clone(), self.port()));
        Ok(port)
    }
}

async fn serve(listener: TcpListener, acceptor: TlsAcceptor, stub: u16) {
    while let Ok((outside, _)) = listener.accept().await {
        let acceptor = acceptor.clone();
        tokio::spawn(async move {
            // The client reports a handshake that fails.
            let Ok(mut outside) = acceptor.accept(outside).await else {
                return;
            };
            if let Ok(mut inside) = TcpStream::connect(("127.0.0.1", stub)).await {
                let _ = tokio::io::copy_bidirectional(&mut outside, &mut inside).await;
            }
        });
    }
}
