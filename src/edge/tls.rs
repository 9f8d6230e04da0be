//! TLS of one listener: what is shown to clients, and how it is replaced while it runs.
//!
//! A handshake takes what is live at its beginning. When a file has changed, all of it is read and
//! checked again, and takes the place of what was live, or changes nothing. Tickets by which
//! clients come back outlive such a change, as all workers share one key for them, unless other
//! authorities sign the certificates of clients from then on: who was let in by the old ones must
//! be asked again.
//!
//! A resumed session is bound to its name: rustls takes no ticket for another SNI. Data before the
//! end of a handshake (0-RTT) is not taken, as whoever records it can send it again.

mod certificate;
mod certificates;
mod config;
mod file;

pub use config::{CertificateConfig, ClientCertificate, Config, Version};

use crate::problem::{Level, Problem};
use crate::yaml::At;
use arc_swap::ArcSwap;
use certificate::Certificate;
use certificates::Certificates;
use file::{Files, State};
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::pki_types::CertificateDer;
use rustls::server::{NoServerSessionStorage, ProducesTickets, WebPkiClientVerifier};
use rustls::version::{TLS12, TLS13};
use rustls::{RootCertStore, ServerConfig};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// How long before the end of a certificate the log warns of it.
pub const EXPIRY_WARNED_BEFORE: Duration = certificate::EXPIRY_WARNED_BEFORE;

/// The longest subject of a client's certificate that is told, in bytes; the rest is cut.
const SUBJECT_BYTES_MAX: usize = 256;

/// TLS of one listener.
#[derive(Debug)]
pub struct Tls {
    config: Config,
    base_dir: PathBuf,
    live: ArcSwap<Live>,
    /// The files as they were when they were looked at last, good or not.
    seen: Mutex<State>,
}

/// What a handshake is made of.
#[derive(Debug)]
struct Live {
    server: Arc<ServerConfig>,
    certificates: Arc<Certificates>,
    clients: Clients,
}

/// Who may come back with a ticket: those who came in under the same conditions.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Clients {
    mode: ClientCertificate,
    authorities: Option<State>,
}

/// What replaced what, by name with its end in seconds since 1970.
#[derive(Debug)]
pub struct Change {
    /// What was shown so far.
    pub before: Vec<(String, i64)>,
    /// What is shown from now on.
    pub now: Vec<(String, i64)>,
    /// What is seldom meant.
    pub warnings: Vec<Problem>,
}

impl Tls {
    /// Reads and checks all files; what it returns beside the settings are warnings.
    pub fn compile(
        config: &At<Config>,
        base_dir: &Path,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let files = Files::open(config, base_dir);
        let mut problems = settings(config);
        match live(config, &files, None) {
            Ok((live, warnings)) if problems.iter().all(is_warning) => {
                problems.extend(warnings);
                let tls = Tls {
                    config: config.value.clone(),
                    base_dir: base_dir.to_owned(),
                    live: ArcSwap::from_pointee(live),
                    seen: Mutex::new(files.state()),
                };
                Ok((tls, problems))
            }
            Ok(_) => Err(problems),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        }
    }

    /// What a handshake that begins now is made of.
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.live.load().server)
    }

    /// How long a handshake may take.
    pub fn handshake_timeout(&self) -> Duration {
        self.config.handshake_timeout.0
    }

    /// When each certificate ends, by name, in seconds since 1970.
    pub fn ends(&self) -> Vec<(String, i64)> {
        self.live.load().certificates.ends()
    }

    /// For people: a line for the settings, and one for each certificate.
    pub fn describe(&self) -> Vec<String> {
        let live = self.live.load();
        let clients = match self.config.client.value {
            ClientCertificate::Off => "",
            ClientCertificate::Optional => ", client certificates optional",
            ClientCertificate::Required => ", client certificates required",
        };
        let versions = format!("TLS from {} on{clients}", self.config.min);
        let each = live.certificates.all.iter().map(Certificate::describe);
        std::iter::once(versions).chain(each).collect()
    }

    /// Looks at the files. `None`: they are as they were. Otherwise all of them are live from now
    /// on, or what is wrong is told, once, and nothing has changed.
    pub fn look_again(&self) -> Option<Result<Change, Vec<Problem>>> {
        let files = Files::open(&self.config, &self.base_dir);
        let state = files.state();
        if std::mem::replace(&mut *self.seen.lock(), state.clone()) == state {
            return None;
        }
        let before = self.live.load_full();
        let read = live(&self.config, &files, Some(&before));
        Some(read.map(|(now, warnings)| {
            let change = Change {
                before: before.certificates.ends(),
                now: now.certificates.ends(),
                warnings,
            };
            self.live.store(Arc::new(now));
            change
        }))
    }
}

/// The subject of a client's certificate, for the log.
pub fn subject(certificate: &CertificateDer<'_>) -> Option<Box<str>> {
    let (_, read) = X509Certificate::from_der(certificate).ok()?;
    let mut subject = read.subject().to_string();
    subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES_MAX));
    Some(subject.into())
}

fn is_warning(problem: &Problem) -> bool {
    problem.level == Level::Warning
}

/// What can't be meant, whatever the files hold.
fn settings(config: &At<Config>) -> Vec<Problem> {
    let mut problems = Vec::new();
    if config.certificates.is_empty() {
        let problem = config.certificates.problem("there is no certificate to show to clients");
        let help = "write at least one: `[ { cert: tv.pem, key: tv.key } ]`";
        problems.push(problem.help(help).of_absence());
    }
    let mode = &config.client;
    match (mode.value, &config.client_ca) {
        (ClientCertificate::Off, Some(ca)) => {
            let text = "nobody is asked for a certificate, so `client_ca` has no effect";
            let help = "write `client: required` or `client: optional`, or leave it out";
            problems.push(ca.problem(text).help(help));
        }
        (ClientCertificate::Optional | ClientCertificate::Required, None) => {
            let text = "nobody is named who signs the certificates of clients";
            problems.push(mode.problem(text).help("write `client_ca: clients.pem`").of_absence());
        }
        _ => {}
    }
    problems
}

/// Makes what is live from what was read. What it shares with `before`, it keeps.
fn live(
    config: &Config,
    files: &Files,
    before: Option<&Live>,
) -> Result<(Live, Vec<Problem>), Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let certificates = certificates(config, files, &provider);
    let roots = config.client_ca.as_ref().zip(files.client_ca.as_ref());
    let roots = roots.map(|(written, file)| {
        let chain = certificate::chain(written, file)?;
        let mut roots = RootCertStore::empty();
        for authority in chain {
            roots.add(authority).map_err(|error| {
                let text = format!("a certificate in `{}` can't be used: {error}", written.value);
                written.problem(text).help("name the certificates of authorities alone")
            })?;
        }
        Ok(Arc::new(roots))
    });
    let (certificates, warnings, roots) = match (certificates, roots.transpose()) {
        (Ok((certificates, warnings)), Ok(roots)) => (certificates, warnings, roots),
        (certificates, roots) => {
            let wrong = certificates.err().unwrap_or_default();
            return Err(wrong.into_iter().chain(roots.err()).collect());
        }
    };
    let authorities = files.client_ca.as_ref().map(file::File::state);
    let clients = Clients { mode: config.client.value, authorities };
    let kept = before.filter(|before| before.clients == clients);
    let tickets = kept.map(|before| Arc::clone(&before.server.ticketer));
    let certificates = Arc::new(certificates);
    let server = server(config, &certificates, roots, tickets, provider);
    let server = server.map_err(|error| {
        let text = format!("TLS can't be used here: {error}");
        vec![config.certificates.problem(text).help("see that each file is what its key says")]
    })?;
    Ok((Live { server: Arc::new(server), certificates, clients }, warnings))
}

fn certificates(
    config: &Config,
    files: &Files,
    provider: &CryptoProvider,
) -> Result<(Certificates, Vec<Problem>), Vec<Problem>> {
    let (mut all, mut warnings, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (written, pair) in config.certificates.iter().zip(&files.pairs) {
        match Certificate::read(written, pair, provider) {
            Ok(certificate) => {
                warnings.extend(certificate.warnings(written, &pair.1));
                all.push(certificate);
            }
            Err(problems) => wrong.extend(problems),
        }
    }
    if !wrong.is_empty() || all.is_empty() {
        return Err(wrong);
    }
    let certificates = Certificates::new(all);
    warnings.extend(certificates.idle().into_iter().map(|index| {
        let written = &config.certificates[index];
        let text = format!("no client is ever shown `{}`", written.cert.value);
        let help = "those before it are for the same names, with the same kind of key";
        written.cert.problem(text).help(help).warning()
    }));
    Ok((certificates, warnings))
}

fn server(
    config: &Config,
    certificates: &Arc<Certificates>,
    roots: Option<Arc<RootCertStore>>,
    tickets: Option<Arc<dyn ProducesTickets>>,
    provider: Arc<CryptoProvider>,
) -> Result<ServerConfig, String> {
    let versions: &[_] = match config.min {
        Version::V12 => &[&TLS13, &TLS12],
        Version::V13 => &[&TLS13],
    };
    let said = |error: rustls::Error| error.to_string();
    let builder = ServerConfig::builder_with_provider(Arc::clone(&provider));
    let builder = builder.with_protocol_versions(versions).map_err(said)?;
    let builder = match roots {
        None => builder.with_no_client_auth(),
        Some(roots) => {
            let verifier = WebPkiClientVerifier::builder_with_provider(roots, provider);
            let verifier = match config.client.value {
                ClientCertificate::Required => verifier,
                _ => verifier.allow_unauthenticated(),
            };
            let verifier = verifier.build().map_err(|error| error.to_string())?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let mut server = builder.with_cert_resolver(certificates.clone());
    server.ticketer = match tickets {
        Some(tickets) => tickets,
        None => aws_lc_rs::Ticketer::new().map_err(said)?,
    };
    // A ticket holds all that is to be remembered, so workers and gateways need no memory of it.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.alpn_protocols = vec![b"http/1.1".to_vec()];
    server.max_early_data_size = 0;
    Ok(server)
}
