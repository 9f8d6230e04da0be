//! What `tls` of a listener can't mean, whatever the files hold.

use super::config::{CertificateConfig, ClientCertificate, Config};
use super::terms::Written;
use crate::problem::Problem;
use crate::units::rotation_problems;

/// Whether some clients are asked for a certificate.
pub(super) fn asks_clients(config: &Config) -> bool {
    config.certificates.iter().any(|entry| asks(config, entry))
}

fn asks(config: &Config, entry: &CertificateConfig) -> bool {
    Written::of(config, entry).mode.value != ClientCertificate::Off
}

/// All that can't be meant.
pub(super) fn problems(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    problems.extend(config.acme.iter().flat_map(|acme| acme.problems()));
    if config.certificates.is_empty() && config.acme.is_none() {
        let problem = config.certificates.problem("there is no certificate to show to clients");
        let help = "write at least one, `[ { cert: tv.pem, key: tv.key } ]`, or `acme`";
        problems.push(problem.help(help).of_absence());
    }
    problems.extend(without_effect(config));
    problems.extend(without_authority(config));
    problems.extend(
        config
            .tickets
            .iter()
            .flat_map(|tickets| rotation_problems(&tickets.current, tickets.previous.as_ref())),
    );
    problems
}

/// Settings of clients where nobody is asked.
fn without_effect(config: &Config) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut idle = |written: Option<Problem>, key: &str| {
        let help = "write `client: required` or `client: optional`, or leave it out";
        problems.extend(written.map(|problem| Problem {
            text: format!("nobody is asked for a certificate, so `{key}` has no effect"),
            ..problem.help(help)
        }));
    };
    let asking = || config.certificates.iter().filter(|entry| asks(config, entry));
    if !asking().any(|entry| entry.client_ca.is_none()) {
        idle(config.client_ca.as_ref().map(|ca| ca.problem("")), "client_ca");
    }
    if !asking().any(|entry| entry.client_ca.is_none() && entry.client_crl.is_none()) {
        idle(config.client_crl.as_ref().map(|crl| crl.problem("")), "client_crl");
    }
    if config.client_headers && !asks_clients(config) {
        idle(Some(config.client.problem("")), "client_headers");
    }
    for entry in config.certificates.iter().filter(|entry| !asks(config, entry)) {
        idle(entry.client_ca.as_ref().map(|ca| ca.problem("")), "client_ca");
        idle(entry.client_crl.as_ref().map(|crl| crl.problem("")), "client_crl");
    }
    problems
}

/// Clients that are asked, and nobody says whose certificates are good.
fn without_authority(config: &Config) -> Vec<Problem> {
    let mut problems: Vec<Problem> = Vec::new();
    for entry in config.certificates.iter() {
        let written = Written::of(config, entry);
        if written.mode.value == ClientCertificate::Off || written.ca.is_some() {
            continue;
        }
        let text = "nobody is named who signs the certificates of clients";
        let problem = written.mode.problem(text).help("write `client_ca: clients.pem`");
        let problem = problem.of_absence();
        if !problems.contains(&problem) {
            problems.push(problem);
        }
    }
    problems
}
