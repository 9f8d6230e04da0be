//! TLS of one listener: what is shown to clients, what they have to show, and how both are replaced
//! while it runs.
//!
//! A handshake takes what is live at its beginning, under the terms of the name that the client
//! asks for (`tls/terms.rs`). When a file has changed, all of it is read and checked again, and
//! takes the place of what was live, or changes nothing. Tickets by which clients come back outlive
//! such a change, unless the terms are others from then on: who was let in under the old ones must
//! be asked again (`tls/tickets.rs`).
//!
//! A connection is for the names that have its terms. A request for another name is misdirected
//! (`Tls::admits`): it would come around what clients of that name have to show.
//!
//! Data before the end of a handshake (0-RTT) is not taken, as whoever records it can send it
//! again.

mod checks;
mod certificate;
mod certificates;
mod client_identity;
mod terms;
mod tickets;
mod ocsp;
mod config;
mod file;

pub use config::{CertificateConfig, ClientCertificate, Config, TicketsConfig, Version};
pub use terms::Credentials;

use crate::acme::{Acme, Challenges};
use crate::problem::{Level, Problem};
use crate::yaml::At;
use arc_swap::ArcSwap;
use certificate::Certificate;
use certificates::Certificates;
use file::{Files, State};
use parking_lot::Mutex;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::{ClientHello, NoServerSessionStorage};
use rustls::version::{TLS12, TLS13};
use rustls::{ServerConfig, ServerConnection};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;
use terms::{Terms, Written};
use tickets::{OneHandshake, Tickets};

/// HTTP/2 as ALPN names it (RFC 9113 §3.2).
pub(super) const HTTP2: &[u8] = b"h2";

/// HTTP/1.1 as ALPN names it.
const HTTP1: &[u8] = b"http/1.1";

/// How long before the end of a certificate the log warns of it.
pub const EXPIRY_WARNED_BEFORE: Duration = certificate::EXPIRY_WARNED_BEFORE;

/// TLS of one listener.
#[derive(Debug)]
pub struct Tls {
    config: Config,
    base_dir: PathBuf,
    acme: Option<Arc<Acme>>,
    /// Some clients are asked for a certificate.
    pub(super) asks_clients: bool,
    /// HTTP/2 is offered before HTTP/1.
    http2: bool,
    live: ArcSwap<Live>,
    /// The files as they were when they were looked at last, good or not.
    seen: Mutex<State>,
}

/// What handshakes are made of.
#[derive(Debug)]
struct Live {
    certificates: Arc<Certificates>,
    /// One for each of the terms that some name has.
    sides: Vec<Side>,
}

/// What handshakes under the same terms are made of.
#[derive(Debug)]
struct Side {
    terms: Arc<Terms>,
    tickets: Arc<Tickets>,
    server: Arc<ServerConfig>,
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
    /// Reads and checks all files; what it returns beside the settings are warnings. With `http2`
    /// it is offered to clients.
    pub fn compile(
        config: &At<Config>,
        base_dir: &Path,
        http2: bool,
    ) -> Result<(Self, Vec<Problem>), Vec<Problem>> {
        let mut problems = checks::problems(config);
        if !problems.iter().all(is_warning) && config.acme.is_some() {
            return Err(problems);
        }
        let acme = config.acme.as_ref().map(|acme| Arc::new(Acme::new(acme, base_dir)));
        let config = config.with_ordered(acme.as_deref());
        let files = Files::open(&config, base_dir, acme.as_deref());
        match live(&config, &files, None) {
            Ok((mut live, warnings)) if problems.iter().all(is_warning) => {
                problems.extend(warnings);
                live.offer(http2);
                let tls = Tls {
                    http2,
                    asks_clients: checks::asks_clients(&config),
                    config,
                    base_dir: base_dir.to_owned(),
                    acme,
                    live: ArcSwap::from_pointee(live),
                    seen: Mutex::new(files.state()),
                };
                Ok((tls, problems))
            }
            Ok(_) => Err(problems),
            Err(more) => Err(problems.into_iter().chain(more).collect()),
        }
    }

    /// What a handshake is made of that begins now with a client that asks for this name, and the
    /// terms that it is made under.
    pub(super) fn begin(&self, name: Option<&str>) -> (Arc<Terms>, Arc<ServerConfig>) {
        let live = self.live.load();
        let side = &live.sides[live.certificates.terms(name)];
        let server = match side.terms.mode {
            ClientCertificate::Off => Arc::clone(&side.server),
            ClientCertificate::Optional | ClientCertificate::Required => {
                let mut server = (*side.server).clone();
                server.ticketer = Arc::new(OneHandshake::new(&side.tickets));
                Arc::new(server)
            }
        };
        (Arc::clone(&side.terms), server)
    }

    /// The host whose proof an authority asks for, if that is what this client is.
    pub(super) fn asked_proof(&self, hello: &ClientHello<'_>) -> Option<String> {
        self.acme.as_ref().and_then(|_| Challenges::asked(hello))
    }

    /// What it is shown, if somebody has promised it.
    pub(super) async fn proof(&self, host: &str) -> Option<Arc<ServerConfig>> {
        self.acme.as_ref()?.proof(host).await
    }

    /// Takes over from the TLS of the listener that this one replaces what a store may not give.
    pub(super) fn take_over(&self, before: &Tls) {
        if let (Some(acme), Some(before)) = (&self.acme, &before.acme) {
            acme.take_over(before);
        }
    }

    /// The certificate that is ordered, if one is.
    pub fn acme(&self) -> Option<&Arc<Acme>> {
        self.acme.as_ref()
    }

    /// What a client has shown in a handshake that was made under these terms.
    pub(super) fn credentials(&self, terms: Arc<Terms>, session: &ServerConnection) -> Credentials {
        let certificates = session.peer_certificates().map(<[_]>::to_vec).unwrap_or_default();
        let identity = certificates.first().and_then(|shown| {
            client_identity::read(shown, self.config.client_headers).map(Arc::new)
        });
        Credentials { terms, certificates, identity }
    }

    /// Whether the connection of a client that has shown these, and asked for this name (SNI), may
    /// carry a request for `host`: what a client has to show must be the same for both. Where files
    /// have changed since then, the client must be one that would be let in now, too.
    pub(super) fn admits(&self, shown: &Credentials, sni: Option<&str>, host: &str) -> bool {
        let live = self.live.load();
        let of = |name| &live.sides[live.certificates.terms(name)].terms;
        let now = of(Some(host));
        now.are_as(&shown.terms) || now.are_as(of(sni)) && now.admit(&shown.certificates)
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
        let of_listener = self.config.client.value;
        let asked = |mode: ClientCertificate| match mode {
            ClientCertificate::Off => String::new(),
            mode => format!(", client certificates {}", mode.name()),
        };
        let versions = format!("TLS from {} on{}", self.config.min, asked(of_listener));
        let each = live.certificates.all.iter().map(|certificate| {
            let mode = live.sides[certificate.terms].terms.mode;
            let asked = match mode {
                mode if mode == of_listener => String::new(),
                ClientCertificate::Off => ", no client certificates".to_owned(),
                mode => asked(mode),
            };
            format!("{}{asked}", certificate.describe())
        });
        std::iter::once(versions).chain(each).collect()
    }

    /// Looks at the files. `None`: they are as they were. Otherwise all of them are live from now
    /// on, or what is wrong is told, once, and nothing has changed.
    pub fn look_again(&self) -> Option<Result<Change, Vec<Problem>>> {
        let files = Files::open(&self.config, &self.base_dir, self.acme.as_deref());
        let state = files.state();
        if std::mem::replace(&mut *self.seen.lock(), state.clone()) == state {
            return None;
        }
        let before = self.live.load_full();
        let read = live(&self.config, &files, Some(&before));
        Some(read.map(|(mut now, warnings)| {
            now.offer(self.http2);
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

impl Live {
    /// Offers the protocols that are spoken.
    fn offer(&mut self, http2: bool) {
        let protocols = if http2 { &[HTTP2, HTTP1][..] } else { &[HTTP1] };
        for side in &mut self.sides {
            let server = Arc::get_mut(&mut side.server).expect("no handshake has begun with it");
            server.alpn_protocols = protocols.iter().map(|name| name.to_vec()).collect();
        }
    }
}

fn is_warning(problem: &Problem) -> bool {
    problem.level == Level::Warning
}

/// Makes what is live from what was read. What it shares with `before`, it keeps.
fn live(
    config: &Config,
    files: &Files,
    before: Option<&Live>,
) -> Result<(Live, Vec<Problem>), Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let terms = terms(config, files, &provider);
    let of_entry = terms.as_ref().map_or(vec![0; config.certificates.len()], |it| it.1.clone());
    let certificates = certificates(config, files, &of_entry, &provider);
    let ((all, mut warnings), (certificates, told)) = match (terms, certificates) {
        (Ok((all, _, warnings)), Ok(certificates)) => ((all, warnings), certificates),
        (terms, certificates) => {
            let wrong = certificates.err().unwrap_or_default();
            return Err(wrong.into_iter().chain(terms.err().unwrap_or_default()).collect());
        }
    };
    warnings.extend(told);
    let certificates = Arc::new(certificates);
    let side = |terms: Terms| {
        let kept =
            before.and_then(|before| before.sides.iter().find(|side| side.terms.are_as(&terms)));
        let (terms, tickets) = match kept {
            Some(side) => (Arc::clone(&side.terms), Arc::clone(&side.tickets)),
            None => {
                let tickets = Tickets::new(config.tickets.as_ref(), terms.print);
                (Arc::new(terms), Arc::new(tickets))
            }
        };
        let server = server(config, &certificates, &terms, &tickets, &provider).map_err(|why| {
            let text = format!("TLS can't be used here: {why}");
            vec![config.certificates.problem(text).help("see that each file is what its key says")]
        })?;
        Ok(Side { terms, tickets, server: Arc::new(server) })
    };
    let sides = all.into_iter().map(side).collect::<Result<_, Vec<Problem>>>()?;
    Ok((Live { certificates, sides }, warnings))
}

/// All terms, the place among them of those of each entry of `certificates`, and warnings.
#[expect(clippy::type_complexity, reason = "it is taken apart where it is returned to")]
fn terms(
    config: &Config,
    files: &Files,
    provider: &Arc<CryptoProvider>,
) -> Result<(Vec<Terms>, Vec<usize>, Vec<Problem>), Vec<Problem>> {
    let (mut all, mut of_entry) = (Vec::<Terms>::new(), Vec::new());
    let (mut warnings, mut wrong) = (Vec::new(), Vec::new());
    for entry in config.certificates.iter() {
        match Written::of(config, entry).read(files, provider) {
            Ok((terms, told)) => {
                let known = all.iter().position(|known| known.are_as(&terms));
                of_entry.push(known.unwrap_or(all.len()));
                if known.is_none() {
                    all.push(terms);
                    warnings.extend(told);
                }
            }
            Err(problem) if wrong.contains(&problem) => {}
            Err(problem) => wrong.push(problem),
        }
    }
    if wrong.is_empty() { Ok((all, of_entry, warnings)) } else { Err(wrong) }
}

fn certificates(
    config: &Config,
    files: &Files,
    terms: &[usize],
    provider: &CryptoProvider,
) -> Result<(Certificates, Vec<Problem>), Vec<Problem>> {
    let (mut all, mut warnings, mut wrong) = (Vec::new(), Vec::new(), Vec::new());
    for (written, terms) in config.certificates.iter().zip(terms) {
        match Certificate::read(written, files, *terms, provider) {
            Ok(certificate) => {
                warnings.extend(certificate.warnings(written, files));
                all.push(certificate);
            }
            Err(problems) => wrong.extend(problems),
        }
    }
    if !wrong.is_empty() || all.is_empty() {
        return Err(wrong);
    }
    let certificates = Certificates::new(all);
    if let Some((first, other)) = certificates.ambiguous() {
        let [first, other] = [first, other].map(|index| &config.certificates[index].cert);
        let text = format!(
            "`{}` and `{}` are for one name, and ask different things of its clients",
            first.value, other.value
        );
        let help = "write the same `client`, `client_ca` and `client_crl` for both";
        return Err(vec![other.problem(text).help(help)]);
    }
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
    terms: &Terms,
    tickets: &Arc<Tickets>,
    provider: &Arc<CryptoProvider>,
) -> Result<ServerConfig, String> {
    let versions: &[_] = match config.min {
        Version::V12 => &[&TLS13, &TLS12],
        Version::V13 => &[&TLS13],
    };
    let builder = ServerConfig::builder_with_provider(Arc::clone(provider));
    let builder = builder.with_protocol_versions(versions).map_err(|error| error.to_string())?;
    let builder = match &terms.verifier {
        None => builder.with_no_client_auth(),
        Some(verifier) => builder.with_client_cert_verifier(Arc::clone(verifier)),
    };
    let mut server = builder.with_cert_resolver(certificates.clone());
    server.ticketer = tickets.clone();
    // A ticket holds all that is to be remembered, so workers and gateways need no memory of it.
    server.session_storage = Arc::new(NoServerSessionStorage {});
    server.max_early_data_size = 0;
    Ok(server)
}
