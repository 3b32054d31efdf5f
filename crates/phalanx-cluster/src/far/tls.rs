//! TLS 1.3 between a controller and who connects from another machine.
//!
//! A controller makes a certificate at its start, which the connection file has: who connects takes no other one, whoever has
//! signed it. Who may connect is a matter of the token, which is sent inside. Nothing is ever resumed or sent early, so
//! that what somebody has recorded is of no use.

use std::io;
use std::sync::Arc;

use rcgen::{CertificateParams, KeyPair};
use rustls::client::UnbufferedClientConnection;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::{CryptoProvider, ring, verify_tls13_signature};
use rustls::pki_types::{CertificateDer, PrivatePkcs8KeyDer, ServerName, UnixTime};
use rustls::server::{NoServerSessionStorage, UnbufferedServerConnection};
use rustls::version::TLS13;
use rustls::{
    CertificateError, ClientConfig, DigitallySignedStruct, Error, PeerIncompatible, ServerConfig, SignatureScheme,
};

use super::stream::Tls;

/// The name in certificates: what counts is the certificate.
const NAME: &str = "phalanx-controller";

/// What a controller shows that it is.
pub struct Identity {
    certificate: Vec<u8>,
    key: Vec<u8>,
}

impl Identity {
    /// A new one.
    ///
    /// # Errors
    /// When the system has no random numbers.
    pub fn new() -> io::Result<Self> {
        let made = || -> Result<Self, rcgen::Error> {
            let key = KeyPair::generate()?;
            let certificate = CertificateParams::new(vec![NAME.to_owned()])?.self_signed(&key)?;
            Ok(Self { certificate: certificate.der().to_vec(), key: key.serialize_der() })
        };
        made().map_err(io::Error::other)
    }

    /// What who connects has to know of it.
    #[must_use]
    pub fn certificate(&self) -> &[u8] {
        &self.certificate
    }
}

/// The cryptography of both ends: AES with keys of 128 bits first, which has ten rounds instead of fourteen and is as far from
/// being broken.
fn provider() -> Arc<CryptoProvider> {
    let mut provider = ring::default_provider();
    let first = ring::cipher_suite::TLS13_AES_128_GCM_SHA256;
    provider.cipher_suites.sort_by_key(|suite| suite.suite() != first.suite());
    Arc::new(provider)
}

/// What those who connect to a controller are spoken to with.
#[derive(Clone)]
pub(crate) struct Acceptor(Arc<ServerConfig>);

impl Acceptor {
    /// Our end of a connection.
    ///
    /// # Errors
    /// When the system's cryptography is not what it should be.
    pub(crate) fn accept(&self) -> io::Result<Tls> {
        let tls = UnbufferedServerConnection::new(self.0.clone()).map_err(io::Error::other)?;
        Ok(Tls::Server(Box::new(tls)))
    }
}

/// For a controller.
///
/// # Errors
/// When the identity is none.
pub(crate) fn acceptor(identity: &Identity) -> io::Result<Acceptor> {
    let key = PrivatePkcs8KeyDer::from(identity.key.clone());
    let config = ServerConfig::builder_with_provider(provider())
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .with_no_client_auth()
        .with_single_cert(vec![CertificateDer::from(identity.certificate.clone())], key.into());
    let mut config = config.map_err(io::Error::other)?;
    config.send_tls13_tickets = 0;
    config.session_storage = Arc::new(NoServerSessionStorage {});
    Ok(Acceptor(Arc::new(config)))
}

/// What a controller is connected to with.
pub(crate) struct Connector(Arc<ClientConfig>);

impl Connector {
    /// Our end of a connection.
    ///
    /// # Errors
    /// When the system's cryptography is not what it should be.
    pub(crate) fn connect(&self) -> io::Result<Tls> {
        let name = ServerName::try_from(NAME).map_err(io::Error::other)?;
        let tls = UnbufferedClientConnection::new(self.0.clone(), name).map_err(io::Error::other)?;
        Ok(Tls::Client(Box::new(tls)))
    }
}

/// For who connects to the controller that has this certificate.
///
/// # Errors
/// When the system's cryptography is not what it should be.
pub(crate) fn connector(certificate: &[u8]) -> io::Result<Connector> {
    let provider = provider();
    let pinned = Pinned { certificate: certificate.to_vec(), provider: provider.clone() };
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&TLS13])
        .map_err(io::Error::other)?
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(pinned))
        .with_no_client_auth();
    config.resumption = rustls::client::Resumption::disabled();
    Ok(Connector(Arc::new(config)))
}

/// Takes one certificate, and who has its key.
#[derive(Debug)]
struct Pinned {
    certificate: Vec<u8>,
    provider: Arc<CryptoProvider>,
}

impl ServerCertVerifier for Pinned {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        _intermediates: &[CertificateDer<'_>],
        _server_name: &ServerName<'_>,
        _ocsp: &[u8],
        _now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        if end_entity.as_ref() == self.certificate {
            Ok(ServerCertVerified::assertion())
        } else {
            Err(Error::InvalidCertificate(CertificateError::ApplicationVerificationFailure))
        }
    }

    fn verify_tls12_signature(
        &self,
        _message: &[u8],
        _certificate: &CertificateDer<'_>,
        _signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        Err(Error::PeerIncompatible(PeerIncompatible::Tls12NotOffered))
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        certificate: &CertificateDer<'_>,
        signature: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, certificate, signature, &self.provider.signature_verification_algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.provider.signature_verification_algorithms.supported_schemes()
    }
}
