//! `tls` of a listener in `gateway.yaml`.

use crate::acme::{self, Acme};
use crate::units::{FilePath, Secret, Time};
use crate::yaml::{At, Scalar, scalars};
use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Deserialize, Serialize, Serializer};
use std::borrow::Cow;
use std::fmt;

/// TLS that ends at the gateway. Files are named relative to the configuration, in the PEM format.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "ListenerTls")]
pub struct Config {
    /// One for each name, or several with keys of different kinds. The first is for clients that
    /// ask for no name, or for one that none is for.
    #[serde(default)]
    pub certificates: At<Vec<At<CertificateConfig>>>,
    /// A certificate that the gateway orders by itself. It stands behind those that are named.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub acme: Option<At<acme::Config>>,
    /// The oldest version that is spoken.
    #[serde(default)]
    pub min: Version,
    /// Whether clients show a certificate. An entry of `certificates` may say otherwise of its
    /// names.
    #[serde(default)]
    pub client: At<ClientCertificate>,
    /// Who signs the certificates of clients.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<At<FilePath>>,
    /// Which of them are revoked: a list (CRL) of each authority in a client's chain.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<At<FilePath>>,
    /// Tells upstreams, in header fields, whose certificate the client has shown.
    #[serde(default, skip_serializing_if = "is_false")]
    pub client_headers: bool,
    /// What seals the tickets of clients that come back, for gateways that are to know each
    /// other's. Left out: each process knows its own.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tickets: Option<TicketsConfig>,
    /// How long a handshake may take.
    #[serde(default = "handshake_timeout")]
    pub handshake_timeout: Time,
}

/// What is off unless the file says otherwise is not printed.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde asks with a reference")]
fn is_false(value: &bool) -> bool {
    !*value
}

impl Config {
    /// The same with an entry for the certificate that is ordered: both halves are in one file.
    pub(super) fn with_ordered(&self, acme: Option<&Acme>) -> Config {
        let mut config = self.clone();
        if let (Some(acme), Some(written)) = (acme, &self.acme) {
            let file = At { value: FilePath(acme.file()), place: written.place };
            let entry = CertificateConfig {
                cert: file.clone(),
                key: file,
                is_ordered: true,
                ocsp: None,
                client: None,
                client_ca: None,
                client_crl: None,
            };
            config.certificates.value.push(At { value: entry, place: written.place });
        }
        config
    }

    /// What the keys of its tickets are derived from, where the file says it.
    pub(crate) fn ticket_secrets(&self) -> impl Iterator<Item = &At<Secret>> {
        let both = self.tickets.iter().map(|tickets| (&tickets.current, &tickets.previous));
        both.flat_map(|(current, previous)| std::iter::once(current).chain(previous))
    }
}

/// From which secret the keys of tickets are derived, anew each day.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Tickets")]
pub struct TicketsConfig {
    /// At least 32 bytes, the same at all gateways of a fleet.
    pub current: At<Secret>,
    /// The one before, or the next one: tickets sealed with it are still taken.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub previous: Option<At<Secret>>,
}

/// A certificate and its key.
#[derive(Clone, Debug, Deserialize, Serialize, JsonSchema)]
#[serde(deny_unknown_fields)]
#[schemars(rename = "Certificate")]
pub struct CertificateConfig {
    /// The certificate, and behind it those that lead to one that clients trust.
    pub cert: At<FilePath>,
    /// Its key: PKCS#8, SEC1 or PKCS#1, not encrypted.
    pub key: At<FilePath>,
    /// The gateway orders it by itself.
    #[serde(skip)]
    pub(super) is_ordered: bool,
    /// What its authority says of it (OCSP), in DER: it is shown along with it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ocsp: Option<At<FilePath>>,
    /// Whether clients show a certificate that ask for one of its names. Left out: as the listener
    /// has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client: Option<At<ClientCertificate>>,
    /// Who signs the certificates of these clients. Left out: as the listener has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca: Option<At<FilePath>>,
    /// Which of them are revoked. Left out: as the listener has it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_crl: Option<At<FilePath>>,
}

/// Whether clients show a certificate of their own.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Deserialize, Serialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum ClientCertificate {
    /// They are not asked.
    #[default]
    Off,
    /// They are asked, and may have none; one that `client_ca` did not sign is refused.
    Optional,
    /// Without one that `client_ca` signed there is no connection.
    Required,
}

impl ClientCertificate {
    /// As the file writes it.
    pub(super) const fn name(self) -> &'static str {
        match self {
            ClientCertificate::Off => "off",
            ClientCertificate::Optional => "optional",
            ClientCertificate::Required => "required",
        }
    }
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Version {
    /// RFC 5246.
    #[default]
    V12,
    /// RFC 8446.
    V13,
}

fn handshake_timeout() -> Time {
    Time::secs(10)
}

impl Scalar for Version {
    const KIND: &'static str = "a version of TLS";
    const EXAMPLE: &'static str = "1.2";
    const EXPECTED: &'static str = "`\"1.2\"` or `\"1.3\"`";

    fn read(text: &str) -> Result<Self, String> {
        match text {
            "1.2" => Ok(Version::V12),
            "1.3" => Ok(Version::V13),
            "1.0" | "1.1" | "TLSv1" | "TLSv1.1" => {
                Err("TLS before 1.2 is broken (RFC 8996) and not spoken here".to_owned())
            }
            _ => Err(String::new()),
        }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Version::V12 => "1.2",
            Version::V13 => "1.3",
        })
    }
}

scalars!(Version);

impl Serialize for Version {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(self)
    }
}

impl JsonSchema for Version {
    fn schema_name() -> Cow<'static, str> {
        "TlsVersion".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        json_schema!({
            "type": ["number", "string"],
            "description": Version::EXPECTED,
            "pattern": r"^1\.[23]$|\$\{",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_parse_and_print() {
        for text in ["1.2", "1.3"] {
            assert_eq!(Version::read(text).expect("a version").to_string(), text);
        }
        for (wrong, said) in [("1.1", "RFC 8996"), ("1.4", ""), ("", ""), ("TLSv1.2", "")] {
            let why = Version::read(wrong).expect_err("no version");
            assert!(why.contains(said), "{wrong}: {why}");
        }
    }
}
