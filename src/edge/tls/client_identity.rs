//! Reads who a client is from its certificate, and makes the header fields that tell it upstreams.
//!
//! The values are visible ASCII: every other byte, and `%` itself, is written as `%` and two
//! digits, so nothing in a certificate can end a field or begin another. Names are told apart by
//! commas, so a comma inside of one is written so, too.

use crate::exchange::ClientIdentity;
use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_STANDARD;
use http::{HeaderName, HeaderValue};
use percent_encoding::{AsciiSet, CONTROLS, utf8_percent_encode};
use rustls::pki_types::CertificateDer;
use std::fmt::Write;
use std::net::IpAddr;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::objects::{oid_registry, oid2abbrev};
use x509_parser::prelude::FromDer;
use x509_parser::x509::{AttributeTypeAndValue, X509Name};

/// The longest subject that is told, in bytes; the rest is cut.
const SUBJECT_BYTES_MAX: usize = 512;

/// How many names are told; the rest is left out.
const NAMES_MAX: usize = 32;

/// The longest name that is told, in bytes; a longer one is left out, as a part of it would be
/// another name.
const NAME_BYTES_MAX: usize = 255;

/// The largest certificate that upstreams are sent, in bytes.
const CERTIFICATE_BYTES_MAX: usize = 8 * 1024;

const SUBJECT: HeaderName = HeaderName::from_static("x-streamgate-client-subject");
const NAMES: HeaderName = HeaderName::from_static("x-streamgate-client-names");
const FINGERPRINT: HeaderName = HeaderName::from_static("x-streamgate-client-fingerprint");
/// The certificate itself (RFC 9440).
const CERTIFICATE: HeaderName = HeaderName::from_static("client-cert");

const UNSAFE: &AsciiSet = &CONTROLS.add(b'%');
const UNSAFE_IN_NAME: &AsciiSet = &UNSAFE.add(b',').add(b' ');

/// Who has shown this certificate; with header fields for upstreams if they are to be told.
pub(super) fn read(der: &CertificateDer<'_>, has_headers: bool) -> Option<ClientIdentity> {
    let (_, read) = X509Certificate::from_der(der).ok()?;
    let mut subject = rfc4514(read.subject());
    subject.truncate(subject.floor_char_boundary(SUBJECT_BYTES_MAX));
    let others = read.subject_alternative_name().ok().flatten();
    let others = others.map(|names| &names.value.general_names[..]).unwrap_or_default();
    let names = others.iter().filter_map(name).filter(|name| name.len() <= NAME_BYTES_MAX);
    let names: Box<[Box<str>]> = names.take(NAMES_MAX).map(Into::into).collect();
    let fingerprint = hex(digest(&SHA256, der).as_ref());
    let headers = match has_headers {
        true => headers(&subject, &names, &fingerprint, der),
        false => Box::default(),
    };
    Some(ClientIdentity {
        subject: subject.into(),
        names,
        fingerprint: fingerprint.into(),
        headers,
    })
}

fn headers(
    subject: &str,
    names: &[Box<str>],
    fingerprint: &str,
    der: &CertificateDer<'_>,
) -> Box<[(HeaderName, HeaderValue)]> {
    let names: Vec<String> =
        names.iter().map(|name| utf8_percent_encode(name, UNSAFE_IN_NAME).to_string()).collect();
    let certificate = (der.len() <= CERTIFICATE_BYTES_MAX)
        .then(|| (CERTIFICATE, format!(":{}:", BASE64_STANDARD.encode(der))));
    let all = [
        (SUBJECT, utf8_percent_encode(subject, UNSAFE).to_string()),
        (NAMES, names.join(",")),
        (FINGERPRINT, fingerprint.to_owned()),
    ];
    let all = all.into_iter().filter(|(_, value)| !value.is_empty()).chain(certificate);
    let field = |text: String| HeaderValue::try_from(text).expect("it was made visible ASCII");
    all.map(|(name, text)| (name, field(text))).collect()
}

/// A subject as RFC 4514 writes it. What its parts hold can't be taken for a part.
fn rfc4514(name: &X509Name<'_>) -> String {
    let parts: Vec<_> = name.iter_rdn().collect();
    let part = |part: &&x509_parser::x509::RelativeDistinguishedName<'_>| {
        part.iter().map(attribute).collect::<Vec<_>>().join("+")
    };
    parts.iter().rev().map(part).collect::<Vec<_>>().join(",")
}

fn attribute(attribute: &AttributeTypeAndValue<'_>) -> String {
    let kind = attribute.attr_type();
    let abbreviated = oid2abbrev(kind, oid_registry()).ok();
    match (abbreviated, attribute.as_str()) {
        (Some(kind), Ok(value)) => format!("{kind}={}", escape(value)),
        (None, Ok(value)) => format!("{}={}", kind.to_id_string(), escape(value)),
        (_, Err(_)) => {
            format!("{}=#{}", kind.to_id_string(), hex(attribute.attr_value().data))
        }
    }
}

/// RFC 4514 §2.4.
fn escape(value: &str) -> String {
    let last = value.chars().count().saturating_sub(1);
    let mut escaped = String::with_capacity(value.len());
    for (at, char) in value.chars().enumerate() {
        match char {
            '"' | '+' | ',' | ';' | '<' | '>' | '\\' => escaped.extend(['\\', char]),
            '#' if at == 0 => escaped.push_str("\\#"),
            ' ' if at == 0 || at == last => escaped.push_str("\\ "),
            char if char.is_control() => {
                let mut utf8 = [0; 4];
                for byte in char.encode_utf8(&mut utf8).bytes() {
                    write!(escaped, "\\{byte:02x}").expect("a text takes all that is written");
                }
            }
            char => escaped.push(char),
        }
    }
    escaped
}

fn name(name: &GeneralName<'_>) -> Option<String> {
    match name {
        GeneralName::DNSName(name) => Some(format!("DNS:{name}")),
        GeneralName::URI(uri) => Some(format!("URI:{uri}")),
        GeneralName::RFC822Name(address) => Some(format!("email:{address}")),
        GeneralName::IPAddress(bytes) => {
            let v4 = || <[u8; 4]>::try_from(*bytes).map(IpAddr::from);
            let address = v4().or_else(|_| <[u8; 16]>::try_from(*bytes).map(IpAddr::from));
            address.ok().map(|address| format!("IP:{address}"))
        }
        _ => None,
    }
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::with_capacity(bytes.len() * 2), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a text takes all that is written");
        text
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use rcgen::{CertificateParams, DnType, KeyPair, SanType};

    fn made(parts: &[(DnType, &str)], names: Vec<SanType>) -> ClientIdentity {
        let mut params = CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        for (kind, value) in parts {
            params.distinguished_name.push(kind.clone(), *value);
        }
        params.subject_alt_names = names;
        let key = KeyPair::generate().expect("a key");
        let certificate = params.self_signed(&key).expect("a certificate");
        read(certificate.der(), true).expect("it can be read")
    }

    #[test]
    fn a_subject_is_written_so_that_no_value_passes_for_a_part() {
        let (cn, org) = (DnType::CommonName, DnType::OrganizationName);
        for (parts, expected) in [
            (&[(org.clone(), "Partner"), (cn.clone(), "Anna")][..], "CN=Anna,O=Partner"),
            (&[(cn.clone(), "a, O=Admins")], "CN=a\\, O=Admins"),
            (&[(cn.clone(), "a,CN=b+c")], "CN=a\\,CN=b\\+c"),
            (&[(cn.clone(), " #x ")], "CN=\\ #x\\ "),
            (&[(cn.clone(), "#x")], "CN=\\#x"),
            (&[(cn.clone(), "Zo\u{eb}")], "CN=Zo\u{eb}"),
            (&[(cn.clone(), "a\r\nx: y")], "CN=a\\0d\\0ax: y"),
            (&[], ""),
        ] {
            assert_eq!(&*made(parts, Vec::new()).subject, expected, "{parts:?}");
        }
    }

    #[test]
    fn header_fields_hold_visible_ascii_and_no_name_passes_for_two() {
        let text = |text: &str| text.try_into().expect("ASCII");
        let names = vec![
            SanType::DnsName(text("phone.example")),
            SanType::URI(text("spiffe://a/b,DNS:evil.example")),
            SanType::Rfc822Name(text("a@b.example")),
            SanType::IpAddress([192, 0, 2, 7].into()),
        ];
        let identity = made(&[(DnType::CommonName, "Zo\u{eb} 100%")], names);
        let value = |name: HeaderName| {
            let found = identity.headers.iter().find(|(other, _)| *other == name);
            found.map(|(_, value)| value.to_str().expect("visible ASCII").to_owned())
        };
        assert_eq!(value(SUBJECT).as_deref(), Some("CN=Zo%C3%AB 100%25"));
        let expected = "DNS:phone.example,URI:spiffe://a/b%2CDNS:evil.example,\
                        email:a@b.example,IP:192.0.2.7";
        assert_eq!(value(NAMES).as_deref(), Some(expected));
        assert_eq!(value(FINGERPRINT).as_deref(), Some(&*identity.fingerprint));
        assert_eq!(identity.fingerprint.len(), 64);
        let whole = value(CERTIFICATE).expect("the certificate");
        assert!(whole.starts_with(":MII") && whole.ends_with(':'), "{whole}");
        let nobody = made(&[], Vec::new());
        assert!(nobody.headers.iter().all(|(_, value)| !value.is_empty()), "no empty field");
    }
}
