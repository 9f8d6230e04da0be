//! An authority that signs certificates for a test, and clients of TLS that trust it.

use crate::harness::DEADLINE;
use crate::process::Directory;
use rcgen::{
    BasicConstraints, CertificateParams, CertifiedIssuer, DnType, ExtendedKeyUsagePurpose, IsCa,
    KeyPair, KeyUsagePurpose, SignatureAlgorithm, date_time_ymd,
};
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion};
use std::io;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

pub(crate) const DAY: i64 = 24 * 3_600;

/// Signs certificates.
pub(crate) struct Authority(CertifiedIssuer<'static, KeyPair>);

/// A certificate and its key, as PEM.
#[derive(Clone)]
pub(crate) struct Issued {
    pub(crate) cert: String,
    pub(crate) key: String,
}

impl Authority {
    pub(crate) fn new(name: &str) -> Self {
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().unwrap();
        Authority(CertifiedIssuer::self_signed(params, key).unwrap())
    }

    pub(crate) fn pem(&self) -> String {
        self.0.pem()
    }

    pub(crate) fn roots(&self) -> Arc<RootCertStore> {
        let mut roots = RootCertStore::empty();
        roots.add(self.0.der().clone()).unwrap();
        Arc::new(roots)
    }

    /// A certificate for these hosts, good for a year.
    pub(crate) fn issue(&self, names: &[&str]) -> Issued {
        self.issue_with(names, &rcgen::PKCS_ECDSA_P256_SHA256, (-DAY, 365 * DAY))
    }

    /// The same with another kind of key, and valid from so many seconds from now to so many.
    pub(crate) fn issue_with(
        &self,
        names: &[&str],
        kind: &'static SignatureAlgorithm,
        (from, until): (i64, i64),
    ) -> Issued {
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        let mut params = CertificateParams::new(names).unwrap();
        let at = |seconds: i64| {
            let seconds = streamgate::clock::unix_seconds().saturating_add_signed(seconds);
            date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds)
        };
        (params.not_before, params.not_after) = (at(from), at(until));
        self.sign(&params, kind)
    }

    /// A certificate for a client of this name.
    pub(crate) fn issue_client(&self, name: &str) -> Issued {
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        self.sign(&params, &rcgen::PKCS_ECDSA_P256_SHA256)
    }

    /// The list of those certificates of its own that it has revoked, as PEM.
    pub(crate) fn revoke(&self, revoked: &[&Issued]) -> String {
        let now =
            date_time_ymd(1970, 1, 1) + Duration::from_secs(streamgate::clock::unix_seconds());
        let revoked = revoked.iter().map(|issued| rcgen::RevokedCertParams {
            serial_number: rcgen::SerialNumber::from(issued.serial()),
            revocation_time: now,
            reason_code: None,
            invalidity_date: None,
        });
        let list = rcgen::CertificateRevocationListParams {
            this_update: now,
            next_update: now + Duration::from_secs(3_600),
            crl_number: rcgen::SerialNumber::from(1_u64),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: rcgen::KeyIdMethod::Sha256,
        };
        list.signed_by(&self.0).unwrap().pem().unwrap()
    }

    /// What it says of a certificate (OCSP), in DER: `V` that it is good, `R` that it is revoked,
    /// nothing that it does not know it; good for a day, or long over.
    pub(crate) fn say(
        &self,
        directory: &Directory,
        of: &Issued,
        state: &str,
        is_over: bool,
    ) -> Vec<u8> {
        put(directory, "said-ca.pem", &self.pem());
        put(directory, "said-ca.key", &self.0.key().serialize_pem());
        put(directory, "said.pem", &of.cert);
        let serial: String = of.serial().iter().map(|byte| format!("{byte:02X}")).collect();
        let revoked = if state == "R" { "200101000000Z" } else { "" };
        let line = format!("{state}\t401231235959Z\t{revoked}\t{serial}\tunknown\t/CN=tv\n");
        let index = if state.is_empty() { String::new() } else { line };
        put(directory, "said.txt", &index);
        let mut command = std::process::Command::new("openssl");
        command.args(["ocsp", "-index", "said.txt", "-CA", "said-ca.pem", "-rsigner"]);
        command.args(["said-ca.pem", "-rkey", "said-ca.key", "-issuer", "said-ca.pem"]);
        command.args(["-cert", "said.pem", "-respout", "said.ocsp", "-noverify"]);
        command.args(["-ndays", "1"]);
        let output = command.current_dir(directory.path()).output().unwrap();
        assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
        let mut said = std::fs::read(directory.file("said.ocsp")).unwrap();
        // No time of an answer can be asked for, so its years are written over.
        const GENERALIZED_TIME: &[u8] = b"\x18\x0f2";
        for at in (0..said.len()).filter(|_| is_over) {
            if said[at..].starts_with(GENERALIZED_TIME) {
                said[at + 2..at + 6].copy_from_slice(b"2020");
            }
        }
        said
    }

    fn sign(&self, params: &CertificateParams, kind: &'static SignatureAlgorithm) -> Issued {
        let key = KeyPair::generate_for(kind).unwrap();
        let cert = params.signed_by(&key, &self.0).unwrap();
        Issued { cert: cert.pem(), key: key.serialize_pem() }
    }

    /// What a client is configured with that trusts this authority.
    pub(crate) fn client(&self, versions: &[&'static SupportedProtocolVersion]) -> ClientConfig {
        let provider = Arc::new(aws_lc_rs::default_provider());
        let builder = ClientConfig::builder_with_provider(provider);
        let builder = builder.with_protocol_versions(versions).unwrap();
        builder.with_root_certificates(self.roots()).with_no_client_auth()
    }

    /// The same, with a certificate of its own.
    pub(crate) fn client_as(&self, own: &Issued) -> ClientConfig {
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()));
        let builder = builder.with_safe_default_protocol_versions().unwrap();
        let builder = builder.with_root_certificates(self.roots());
        builder.with_client_auth_cert(vec![own.der()], own.key_der()).unwrap()
    }
}

impl Issued {
    pub(crate) fn der(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_slice(self.cert.as_bytes()).unwrap()
    }

    pub(crate) fn key_der(&self) -> PrivateKeyDer<'static> {
        PrivateKeyDer::from_pem_slice(self.key.as_bytes()).unwrap()
    }

    pub(crate) fn serial(&self) -> Vec<u8> {
        let der = self.der();
        let (_, read) = x509_parser::parse_x509_certificate(&der).unwrap();
        read.raw_serial().to_vec()
    }

    /// Writes both into `directory`, and returns how a listener names them.
    pub(crate) fn write(&self, directory: &Directory, name: &str) -> String {
        let (cert, key) = (format!("{name}.pem"), format!("{name}.key"));
        put(directory, &cert, &self.cert);
        put(directory, &key, &self.key);
        let path = |file: &str| directory.file(file).display().to_string();
        format!("{{ cert: {}, key: {} }}", path(&cert), path(&key))
    }
}

/// Writes a file whole, so that nobody sees half of it. Nobody else may read it.
pub(crate) fn put(directory: &Directory, name: &str, text: &str) {
    let (new, path) = (directory.file(&format!("{name}.new")), directory.file(name));
    std::fs::write(&new, text).unwrap();
    std::fs::set_permissions(&new, std::fs::Permissions::from_mode(0o600)).unwrap();
    std::fs::rename(new, path).unwrap();
}

/// Connects to a gateway as a client that wants this host.
pub(crate) async fn secure<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    config: ClientConfig,
    host: &str,
) -> io::Result<TlsStream<S>> {
    secure_shared(socket, &Arc::new(config), host).await
}

/// The same with settings that remember tickets.
pub(crate) async fn secure_shared<S: AsyncRead + AsyncWrite + Unpin>(
    socket: S,
    config: &Arc<ClientConfig>,
    host: &str,
) -> io::Result<TlsStream<S>> {
    let name = ServerName::try_from(host.to_owned()).unwrap();
    let connect = TlsConnector::from(Arc::clone(config)).connect(name, socket);
    timeout(DEADLINE, connect).await.expect("a handshake in time")
}

/// Opens a connection of its own for it.
pub(crate) async fn connect(
    address: SocketAddr,
    config: ClientConfig,
    host: &str,
) -> io::Result<TlsStream<TcpStream>> {
    secure(TcpStream::connect(address).await.unwrap(), config, host).await
}

/// Sends `bytes`, and reads to the end of a head.
pub(crate) async fn ask<S: AsyncRead + AsyncWrite + Unpin>(stream: &mut S, bytes: &str) -> String {
    stream.write_all(bytes.as_bytes()).await.unwrap();
    stream.flush().await.unwrap();
    head(stream).await
}

/// The head of the next answer; what follows it is left.
pub(crate) async fn head<S: AsyncRead + Unpin>(stream: &mut S) -> String {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        let byte = timeout(DEADLINE, stream.read_u8()).await.expect("a head in time");
        head.push(byte.unwrap_or_else(|error| panic!("{error} after {:?}", head.escape_ascii())));
    }
    String::from_utf8(head).unwrap()
}
