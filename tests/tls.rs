//! wss:// through stunnel4: which certificates are good, and what is said of
//! those that are not.

mod harness;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use leash::connection::{Connection, TextField};
use leash::error::{Code, Error};
use leash::options::{IntKey, Options, TextKey};
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};

use harness::{Peer, Started, free_port, misbehave_ws, peer, wait_for_port};

const SOON: Duration = Duration::from_secs(10);

/// A certificate authority, as a file and as one that signs.
struct Authority {
    file: PathBuf,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(folder: &Path, name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        let file = folder.join(format!("{name}.pem"));
        fs::write(&file, params.self_signed(&key).unwrap().pem()).unwrap();
        Self { file, issuer: Issuer::new(params, key) }
    }

    /// A certificate signed by this authority, in NAME.pem and NAME.key.
    fn sign(&self, folder: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
        let (params, key) = (certificate(change), KeyPair::generate().unwrap());
        let signed = params.signed_by(&key, &self.issuer).unwrap();
        Pair::write(folder, name, &signed.pem(), &key)
    }
}

/// Good for localhost, unless changed.
fn certificate(change: impl FnOnce(&mut CertificateParams)) -> CertificateParams {
    let mut params = CertificateParams::new(["localhost".to_owned()]).unwrap();
    params.distinguished_name.push(DnType::CommonName, "a test's");
    change(&mut params);
    params
}

fn self_signed(folder: &Path, name: &str, change: impl FnOnce(&mut CertificateParams)) -> Pair {
    let (params, key) = (certificate(change), KeyPair::generate().unwrap());
    Pair::write(folder, name, &params.self_signed(&key).unwrap().pem(), &key)
}

struct Pair {
    cert: PathBuf,
    key: PathBuf,
}

impl Pair {
    fn write(folder: &Path, name: &str, cert: &str, key: &KeyPair) -> Self {
        let pair = Self {
            cert: folder.join(format!("{name}.pem")),
            key: folder.join(format!("{name}.key")),
        };
        fs::write(&pair.cert, cert).unwrap();
        fs::write(&pair.key, key.serialize_pem()).unwrap();
        pair
    }
}

/// stunnel in front of a server that echoes.
struct Tunnel {
    url: String,
    _stunnel: Started,
    _echo: Started,
}

fn tunnel(stunnel: &Peer, pair: &Pair, more: &str) -> Tunnel {
    let (echo, url) = misbehave_ws(&["upgrade", "echo-loop"]);
    let port = free_port();
    let config = format!(
        "foreground = yes\npid =\n[ws]\naccept = 127.0.0.1:{port}\nconnect = {}\n\
         cert = {}\nkey = {}\n{more}\n",
        url.trim_start_matches("ws://"),
        pair.cert.display(),
        pair.key.display(),
    );
    let file = stunnel.folder.join(format!("{port}.conf"));
    fs::write(&file, config).unwrap();
    let mut command = Command::new(stunnel.program());
    command.arg(&file).stdout(Stdio::null()).stderr(Stdio::null());
    let stunnel = Started::new(command);
    wait_for_port(port);
    Tunnel { url: format!("wss://localhost:{port}/"), _stunnel: stunnel, _echo: echo }
}

fn options(url: &str, ca: Option<&Path>, client: Option<&Pair>) -> Options {
    let text = |path: &Path| path.to_str().unwrap().to_owned();
    let mut options = Options::default();
    options.set_text(TextKey::Url, Some(url)).unwrap();
    options.set_text(TextKey::CaFile, ca.map(text).as_deref()).unwrap();
    options.set_text(TextKey::CertFile, client.map(|c| text(&c.cert)).as_deref()).unwrap();
    options.set_text(TextKey::KeyFile, client.map(|c| text(&c.key)).as_deref()).unwrap();
    options
}

#[track_caller]
fn works(options: &Options) {
    let connection = Connection::open(None, options, Some(SOON));
    let connection = connection.unwrap_or_else(|e| panic!("{:?} {e}", e.code()));
    let event = connection.call("a", Some(b"[1.50]"), Some(SOON)).unwrap();
    assert_eq!(event.text(TextField::Json).unwrap().bytes(), b"[1.50]");
    connection.close(Some(SOON)).unwrap();
}

#[track_caller]
fn fails(options: &Options, expected: &str) -> Error {
    let error = Connection::open(None, options, Some(SOON)).map(drop).unwrap_err();
    assert!(error.text().contains(expected), "{:?} {error}", error.code());
    error
}

#[test]
fn each_bad_certificate_has_its_own_text() {
    let Some(stunnel) = peer("stunnel4") else { return };
    let folder = &stunnel.folder;
    let ours = Authority::new(folder, "ours");
    let other = Authority::new(folder, "other");

    let good = tunnel(&stunnel, &ours.sign(folder, "good", |_| {}), "");
    works(&options(&good.url, Some(&ours.file), None));
    for url in [&good.url, &good.url.replace("localhost", "LOCALHOST")] {
        works(&options(url, Some(&ours.file), None));
    }
    let unknown = "no trusted root has signed the server's certificate (unknown issuer)";
    let error = fails(&options(&good.url, Some(&other.file), None), unknown);
    assert_eq!(error.code(), Code::Connect);
    // The system's roots do not have ours.
    fails(&options(&good.url, None, None), unknown);
    let by_address = good.url.replace("localhost", "127.0.0.1");
    fails(&options(&by_address, Some(&ours.file), None), "is for another host than the URL's");

    let expired = ours.sign(folder, "expired", |params| {
        params.not_before = date_time_ymd(2020, 1, 1);
        params.not_after = date_time_ymd(2021, 1, 1);
    });
    let expired = tunnel(&stunnel, &expired, "");
    fails(&options(&expired.url, Some(&ours.file), None), "certificate has expired");

    let early = ours.sign(folder, "early", |params| {
        params.not_before = date_time_ymd(2090, 1, 1);
        params.not_after = date_time_ymd(2091, 1, 1);
    });
    let early = tunnel(&stunnel, &early, "");
    fails(&options(&early.url, Some(&ours.file), None), "is not valid yet");

    let alone = self_signed(folder, "alone", |_| {});
    let tunnel_alone = tunnel(&stunnel, &alone, "");
    fails(&options(&tunnel_alone.url, Some(&ours.file), None), "is self-signed, and not among");
    works(&options(&tunnel_alone.url, Some(&alone.cert), None));

    // What `openssl req -x509` makes.
    let alone = self_signed(folder, "alone-ca", |params| {
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    });
    let tunnel_alone = tunnel(&stunnel, &alone, "");
    fails(&options(&tunnel_alone.url, Some(&ours.file), None), "self-signed and a CA's own");
}

#[test]
fn a_client_certificate_is_shown_and_asked_for() {
    let Some(stunnel) = peer("stunnel4") else { return };
    let folder = &stunnel.folder;
    let ours = Authority::new(folder, "ours");
    let other = Authority::new(folder, "other");
    let server = ours.sign(folder, "server", |_| {});
    let client = ours.sign(folder, "client", |_| {});
    let stranger = other.sign(folder, "stranger", |_| {});
    for version in ["TLSv1.3", "TLSv1.2"] {
        let more =
            format!("CAfile = {}\nverifyChain = yes\nsslVersion = {version}", ours.file.display());
        let tunnel = tunnel(&stunnel, &server, &more);
        works(&options(&tunnel.url, Some(&ours.file), Some(&client)));
        // TCP may carry the reset before the alert: more than one try shows it.
        for _ in 0..10 {
            let error = fails(&options(&tunnel.url, Some(&ours.file), None), "client certificate");
            assert!(error.text().contains("LEASH_OPT_CERT_FILE"), "{error}");
            let error = fails(
                &options(&tunnel.url, Some(&ours.file), Some(&stranger)),
                "rejected the client certificate",
            );
            assert_eq!(error.code(), Code::Connect);
        }
    }
}

#[test]
fn files_that_cannot_be_used_are_named_by_their_option() {
    let folder = harness::work().join(harness::Mark::new().value());
    fs::create_dir_all(&folder).unwrap();
    let ours = Authority::new(&folder, "ours");
    let client = ours.sign(&folder, "client", |_| {});
    let another = ours.sign(&folder, "another", |_| {});
    let url = "wss://127.0.0.1:1/";
    let bad = folder.join("hunter2");
    let invalid = |options: &Options, expected: &str| {
        let error = fails(options, expected);
        assert_eq!(error.code(), Code::Invalid, "{error}");
        assert!(!error.text().contains("hunter2"), "{error}");
    };
    invalid(&options(url, Some(&bad), None), "cannot read LEASH_OPT_CA_FILE: No such file");
    invalid(&options(url, Some(&folder), None), "LEASH_OPT_CA_FILE is not a plain file");
    fs::write(&bad, "hunter2").unwrap();
    invalid(&options(url, Some(&bad), None), "LEASH_OPT_CA_FILE holds no certificate");
    fs::write(&bad, "-----BEGIN CERTIFICATE-----\nhunter2!\n-----END CERTIFICATE-----").unwrap();
    invalid(&options(url, Some(&bad), None), "LEASH_OPT_CA_FILE is not good PEM");
    fs::write(&bad, "-----BEGIN CERTIFICATE-----\nQUJD\n-----END CERTIFICATE-----").unwrap();
    invalid(&options(url, Some(&bad), None), "LEASH_OPT_CA_FILE holds what is no certificate");
    let mixed = Pair { cert: client.cert.clone(), key: another.key.clone() };
    invalid(&options(url, None, Some(&mixed)), "LEASH_OPT_KEY_FILE is not the key of");
    let swapped = Pair { cert: client.key.clone(), key: client.cert.clone() };
    invalid(&options(url, None, Some(&swapped)), "LEASH_OPT_CERT_FILE holds no certificate");
    let keyless = Pair { cert: client.cert.clone(), key: client.cert.clone() };
    invalid(&options(url, None, Some(&keyless)), "LEASH_OPT_KEY_FILE holds no plain private key");
    let mut half = options(url, None, Some(&client));
    half.set_text(TextKey::KeyFile, None).unwrap();
    invalid(&half, "LEASH_OPT_CERT_FILE needs LEASH_OPT_KEY_FILE");
    let pipe = folder.join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    invalid(&options(url, Some(&pipe), None), "LEASH_OPT_CA_FILE is not a plain file");
    fs::remove_dir_all(folder).unwrap();
}

#[test]
fn a_server_without_tls_is_told_from_a_silent_one() {
    let (_server, url) = misbehave_ws(&["raw:SSH-2.0-OpenSSH_9\\r\\n", "stall"]);
    let url = url.replace("ws://", "wss://");
    let error = fails(&options(&url, None, None), "does not speak TLS");
    assert!(error.text().contains(&url), "{error}");

    let (_server, url) = misbehave_ws(&["stall"]);
    let silent = options(&url.replace("ws://", "wss://"), None, None);
    let error = Connection::open(None, &silent, Some(Duration::from_millis(300)));
    let error = error.map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Timeout);
    assert!(error.text().contains("the TLS handshake was not finished"), "{error}");

    let (_server, url) = misbehave_ws(&["fin"]);
    let error = options(&url.replace("ws://", "wss://"), None, None);
    let error = Connection::open(None, &error, Some(SOON)).map(drop).unwrap_err();
    assert_eq!(error.code(), Code::Connect, "{error}");
    assert!(error.text().contains("during the TLS handshake"), "{error}");
}

#[test]
fn large_messages_pass_through_tls() {
    let Some(stunnel) = peer("stunnel4") else { return };
    let ours = Authority::new(&stunnel.folder, "ours");
    let tunnel = tunnel(&stunnel, &ours.sign(&stunnel.folder, "good", |_| {}), "");
    let mut options = options(&tunnel.url, Some(&ours.file), None);
    options.set_int(IntKey::PingEvery, 1000).unwrap();
    let connection = Connection::open(None, &options, Some(SOON)).unwrap();
    let params = format!("[{:?}]", "x".repeat(18 << 20));
    let limit = Some(Duration::from_secs(60));
    let event = connection.call("a", Some(params.as_bytes()), limit).unwrap();
    event.outcome().unwrap();
    assert!(event.text(TextField::Json).unwrap().bytes() == params.as_bytes());
    connection.close(Some(SOON)).unwrap();
}
