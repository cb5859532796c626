//! Whom to trust, who we are, and why a handshake failed.

use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::OpenOptionsExt as _;
use std::sync::Arc;

use rustls::client::WebPkiServerVerifier;
use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::crypto::ring;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName, UnixTime};
use rustls::{
    AlertDescription, CertificateError, ClientConfig, DigitallySignedStruct, OtherError,
    RootCertStore, SignatureScheme,
};
use zeroize::Zeroizing;

use crate::error::{Code, Error, Result};

/// Files in PEM. The default: the system's roots, and no certificate of ours.
#[derive(Clone, Copy, Debug, Default)]
pub struct Trust<'a> {
    /// Roots instead of the system's.
    pub ca_file: Option<&'a str>,
    /// Our certificate and those that lead from it to its root.
    pub cert_file: Option<&'a str>,
    /// The key of our certificate.
    pub key_file: Option<&'a str>,
}

const CA: &str = "LEASH_OPT_CA_FILE";
const CERT: &str = "LEASH_OPT_CERT_FILE";
const KEY: &str = "LEASH_OPT_KEY_FILE";

/// A larger file is none of these.
const FILE_MAX: u64 = 16 << 20;

impl Trust<'_> {
    /// Whether all is as by default.
    pub fn is_default(&self) -> bool {
        [self.ca_file, self.cert_file, self.key_file].iter().all(Option::is_none)
    }

    /// Read the files. `Invalid`: one cannot be used; its option is named, what
    /// is in it is not.
    pub(super) fn config(&self) -> Result<Arc<ClientConfig>> {
        let provider = Arc::new(ring::default_provider());
        let roots = match self.ca_file {
            Some(path) => own_roots(path)?,
            None => system_roots(),
        };
        let inner = WebPkiServerVerifier::builder_with_provider(Arc::new(roots), provider.clone())
            .build()
            .map_err(|e| invalid(CA, format!("cannot be used: {e}")))?;
        let builder = ClientConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .map_err(|e| Error::new(Code::Internal, format!("TLS cannot be set up: {e}")))?
            .dangerous()
            .with_custom_certificate_verifier(Arc::new(Verifier { inner }));
        let config = match (self.cert_file, self.key_file) {
            (None, None) => builder.with_no_client_auth(),
            (Some(chain), Some(key)) => {
                let (chain, key) = (certificates(CERT, chain)?, private_key(key)?);
                builder.with_client_auth_cert(chain, key).map_err(|e| match e {
                    rustls::Error::InconsistentKeys(_) => {
                        invalid(KEY, format!("is not the key of {CERT}"))
                    }
                    // Errors of parsing say what is wrong, not what is there.
                    e => invalid(CERT, format!("and {KEY} cannot be used: {e}")),
                })?
            }
            (Some(_), None) => return Err(invalid(CERT, format!("needs {KEY}"))),
            (None, Some(_)) => return Err(invalid(KEY, format!("needs {CERT}"))),
        };
        Ok(Arc::new(config))
    }
}

fn own_roots(path: &str) -> Result<RootCertStore> {
    let mut roots = RootCertStore::empty();
    for certificate in certificates(CA, path)? {
        roots.add(certificate).map_err(|_| invalid(CA, "holds what is no certificate"))?;
    }
    Ok(roots)
}

fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    // A system may hold some that nobody can read any more.
    roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    if roots.is_empty() {
        roots.extend(webpki_roots::TLS_SERVER_ROOTS.iter().cloned());
    }
    roots
}

fn certificates(option: &'static str, path: &str) -> Result<Vec<CertificateDer<'static>>> {
    let text = read(option, path)?;
    let certificates: std::result::Result<Vec<_>, _> =
        CertificateDer::pem_slice_iter(&text).collect();
    match certificates {
        Ok(certificates) if !certificates.is_empty() => Ok(certificates),
        Ok(_) => Err(invalid(option, "holds no certificate in PEM")),
        Err(_) => Err(invalid(option, "is not good PEM")),
    }
}

fn private_key(path: &str) -> Result<PrivateKeyDer<'static>> {
    use rustls::pki_types::pem::Error as Pem;
    PrivateKeyDer::from_pem_slice(&read(KEY, path)?).map_err(|e| match e {
        Pem::NoItemsFound => invalid(KEY, "holds no plain private key in PEM"),
        _ => invalid(KEY, "is not good PEM"),
    })
}

/// Read a plain file: anything else (a pipe that nobody writes) might never end.
fn read(option: &'static str, path: &str) -> Result<Zeroizing<Vec<u8>>> {
    let failed = |e: io::Error| Error::os(Code::Invalid, format!("cannot read {option}"), &e);
    let mut options = File::options();
    let file = options.read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(failed)?;
    let metadata = file.metadata().map_err(failed)?;
    if !metadata.is_file() || metadata.len() > FILE_MAX {
        return Err(invalid(option, "is not a plain file of a likely size"));
    }
    let mut text = Zeroizing::new(Vec::with_capacity(metadata.len() as usize + 1));
    file.take(FILE_MAX).read_to_end(&mut text).map_err(failed)?;
    Ok(text)
}

fn invalid(option: &str, what: impl std::fmt::Display) -> Error {
    Error::new(Code::Invalid, format!("{option} {what}"))
}

/// webpki's judgement, unchanged. Only the reason of a refusal is told more
/// exactly: for webpki a certificate signed by itself has an unknown issuer.
#[derive(Debug)]
struct Verifier {
    inner: Arc<WebPkiServerVerifier>,
}

/// A certificate was refused that had been signed by itself.
#[derive(Debug)]
struct SelfSigned {
    is_ca: bool,
}

impl std::fmt::Display for SelfSigned {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("self-signed")
    }
}

impl std::error::Error for SelfSigned {}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> std::result::Result<ServerCertVerified, rustls::Error> {
        let inner = &self.inner;
        inner
            .verify_server_cert(end_entity, intermediates, server_name, ocsp_response, now)
            .map_err(|e| {
                let is_ca = is_ca(&e);
                if (is_unknown(&e) || is_ca) && is_self_issued(end_entity) {
                    let error = OtherError(Arc::new(SelfSigned { is_ca }));
                    return rustls::Error::InvalidCertificate(CertificateError::Other(error));
                }
                e
            })
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls12_signature(message, cert, dss)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> std::result::Result<HandshakeSignatureValid, rustls::Error> {
        self.inner.verify_tls13_signature(message, cert, dss)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.inner.supported_verify_schemes()
    }
}

fn is_unknown(e: &rustls::Error) -> bool {
    matches!(e, rustls::Error::InvalidCertificate(CertificateError::UnknownIssuer))
}

/// A CA's certificate where a server's should be. `openssl req -x509` makes one.
fn is_ca(e: &rustls::Error) -> bool {
    let rustls::Error::InvalidCertificate(CertificateError::Other(OtherError(e))) = e else {
        return false;
    };
    matches!(e.downcast_ref(), Some(webpki::Error::CaUsedAsEndEntity))
}

fn is_self_issued(certificate: &CertificateDer<'_>) -> bool {
    webpki::EndEntityCert::try_from(certificate).is_ok_and(|c| c.issuer() == c.subject())
}

/// What TLS says was wrong, if it was TLS.
pub fn cause(e: &io::Error) -> Option<&rustls::Error> {
    e.get_ref()?.downcast_ref()
}

/// Why TLS failed, in words that say what to do.
pub fn reason(e: &rustls::Error, has_certificate: bool) -> String {
    use AlertDescription as Alert;
    use rustls::Error as E;
    match e {
        E::InvalidCertificate(e) => certificate_reason(e),
        E::AlertReceived(Alert::CertificateRequired) => {
            format!("the server wants a client certificate: {CERT} and {KEY}")
        }
        E::AlertReceived(
            alert @ (Alert::UnknownCA
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::AccessDenied
            | Alert::DecryptError),
        ) if has_certificate => format!("the server rejected the client certificate ({alert:?})"),
        // What TLS 1.2 says when a certificate is missing.
        E::AlertReceived(alert @ Alert::HandshakeFailure) if !has_certificate => {
            format!("the server refused ({alert:?}); it may want a client certificate: {CERT}")
        }
        E::AlertReceived(alert) => format!("the server refused ({alert:?})"),
        E::InvalidMessage(_) => "the server does not speak TLS; perhaps it is ws://".to_owned(),
        e => e.to_string(),
    }
}

fn certificate_reason(e: &CertificateError) -> String {
    use CertificateError as E;
    let text = match e {
        E::UnknownIssuer => "no trusted root has signed the server's certificate (unknown issuer)",
        E::Expired | E::ExpiredContext { .. } => "the server's certificate has expired",
        E::NotValidYet | E::NotValidYetContext { .. } => {
            "the server's certificate is not valid yet: is this machine's clock right?"
        }
        E::NotValidForName | E::NotValidForNameContext { .. } => {
            "the server's certificate is for another host than the URL's"
        }
        E::Revoked => "the server's certificate was revoked",
        E::Other(OtherError(e)) => match e.downcast_ref() {
            Some(SelfSigned { is_ca: false }) => {
                "the server's certificate is self-signed, and not among the trusted roots"
            }
            Some(SelfSigned { is_ca: true }) => {
                "the server's certificate is self-signed and a CA's own (CA:TRUE), \
                 which a server must not use"
            }
            None => return format!("the server's certificate cannot be used: {e}"),
        },
        e => return format!("the server's certificate cannot be used: {e}"),
    };
    text.to_owned()
}
