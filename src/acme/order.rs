//! One order, from the account to the certificate.

use super::answers::Answer;
use super::challenges::Promised;
use super::client::Client;
use super::config::{Config, Proof};
use super::fleet;
use super::issued::Issued;
use super::{Acme, AcmeError, FILE_BYTES_MAX};
use crate::fetch::{self, Caller};
use aws_lc_rs::digest::{SHA256, digest};
use instant_acme::{
    Account, AccountCredentials, AuthorizationStatus, ChallengeType, Identifier, NewAccount,
    NewOrder, Order, OrderStatus, RetryPolicy,
};
use rcgen::{CertificateParams, DistinguishedName, KeyPair};
use std::fmt::Write;
use std::time::Duration;

/// How long an authority may take to check a proof, and then to sign.
const CHECKED_WITHIN: Duration = Duration::from_secs(90);

/// What an authority is shown that asks for a proof, as long as this lives.
enum Promise<'a> {
    Handshake(#[expect(dead_code, reason = "it counts by its life")] Promised<'a>),
    Request(#[expect(dead_code, reason = "it counts by its life")] Answer),
}

/// Orders a certificate for all names.
pub(super) async fn place(config: &Config, acme: &Acme) -> Result<Issued, AcmeError> {
    let account = account(config, acme).await?;
    let names = config.host_names();
    let identifiers: Vec<Identifier> = names.iter().cloned().map(Identifier::Dns).collect();
    let mut order = account.new_order(&NewOrder::new(&identifiers)).await?;
    // Dropped at the end, whatever it is.
    let _promised = prove(&mut order, config.proof, acme).await?;
    let patience = RetryPolicy::default().timeout(CHECKED_WITHIN);
    let status = order.poll_ready(&patience).await?;
    if status != OrderStatus::Ready {
        return Err(AcmeError::Unproven(why_unproven(&mut order).await));
    }
    let unusable = |_| AcmeError::Unusable;
    let key = KeyPair::generate().map_err(unusable)?;
    let mut params = CertificateParams::new(names.clone()).map_err(unusable)?;
    params.distinguished_name = DistinguishedName::new();
    let request = params.serialize_request(&key).map_err(unusable)?;
    order.finalize_csr(request.der()).await?;
    let chain = order.poll_certificate(&patience).await?;
    let issued = Issued::new(chain, key.serialize_pem()).ok_or(AcmeError::Unusable)?;
    if issued.is_for(&names) { Ok(issued) } else { Err(AcmeError::Unusable) }
}

/// The account with this authority, made anew if there is none.
async fn account(config: &Config, acme: &Acme) -> Result<Account, AcmeError> {
    let directory = config.directory.0.clone();
    let ca = match &config.ca {
        None => None,
        Some(path) => {
            let path = acme.base_dir.join(&path.0);
            let read = fetch::file(&path, FILE_BYTES_MAX);
            Some(read.map_err(|error| AcmeError::Ca(error.to_string()))?)
        }
    };
    let caller = Caller::open(ca.as_deref()).map_err(|error| AcmeError::Ca(error.to_string()))?;
    let builder = Account::builder_with_http(Box::new(Client(caller)));
    let hash = digest(&SHA256, directory.as_bytes());
    let mut name = String::from("account-");
    for byte in &hash.as_ref()[..8] {
        write!(name, "{byte:02x}").expect("a text takes all that is written");
    }
    let name = name + ".json";
    let kept = acme.account(&name).await?;
    let kept = kept.and_then(|text| serde_json::from_str::<AccountCredentials>(&text).ok());
    if let Some(credentials) = kept {
        return Ok(builder.from_credentials(credentials).await?);
    }
    let contact: Vec<&str> = config.contact.iter().map(|contact| contact.0.as_str()).collect();
    let wanted = NewAccount {
        contact: &contact,
        terms_of_service_agreed: true,
        only_return_existing: false,
    };
    let (account, credentials) = builder.create(&wanted, directory, None).await?;
    let text = serde_json::to_string(&credentials).expect("it is plain data");
    acme.keep_account(&name, &text).await?;
    Ok(account)
}

/// Promises the proofs that are asked for, and says that they can be looked at.
async fn prove<'a>(
    order: &mut Order,
    proof: Proof,
    acme: &'a Acme,
) -> Result<Vec<Promise<'a>>, AcmeError> {
    let (kind, name) = match proof {
        Proof::TlsAlpn => (ChallengeType::TlsAlpn01, "TLS-ALPN-01"),
        Proof::Http => (ChallengeType::Http01, "HTTP-01"),
    };
    let (mut promised, mut told) = (Vec::new(), Vec::new());
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        match authorization.status {
            AuthorizationStatus::Pending => {}
            AuthorizationStatus::Valid => continue,
            status => return Err(AcmeError::Unproven(format!("{status:?}"))),
        }
        let Some(challenge) = authorization.challenge(kind.clone()) else {
            return Err(AcmeError::Authority(format!("it takes no proof by {name}")));
        };
        let (authorization, token) = (challenge.key_authorization(), challenge.token.clone());
        let host = challenge.identifier().to_string();
        let text = authorization.as_str();
        promised.push(match proof {
            Proof::Http => Promise::Request(Answer::give(&token, text)),
            Proof::TlsAlpn => {
                let shown = acme.challenges.promise(&host, authorization.digest().as_ref());
                Promise::Handshake(shown.ok_or(AcmeError::Unusable)?)
            }
        });
        told.push(fleet::Promised { host, token, authorization: text.to_owned() });
    }
    if let Some(fleet) = acme.fleet().filter(|_| !told.is_empty()) {
        fleet.promise(&told).await?;
    }
    let mut authorizations = order.authorizations();
    while let Some(authorization) = authorizations.next().await {
        let mut authorization = authorization?;
        if authorization.status == AuthorizationStatus::Pending
            && let Some(mut challenge) = authorization.challenge(kind.clone())
        {
            challenge.set_ready().await?;
        }
    }
    Ok(promised)
}

/// What the authority says of the proofs that it does not take.
async fn why_unproven(order: &mut Order) -> String {
    let mut said = Vec::new();
    let mut authorizations = order.authorizations();
    while let Some(Ok(mut authorization)) = authorizations.next().await {
        if authorization.refresh().await.is_err() {
            continue;
        }
        let errors = authorization.challenges.iter().filter_map(|it| it.error.as_ref());
        said.extend(errors.map(ToString::to_string));
    }
    if said.is_empty() { "it does not say why".to_owned() } else { said.join("; ") }
}
