//! What an authority says of a certificate (OCSP, RFC 6960), to be shown along with it.
//!
//! Its signature is not checked here: clients do that. What is checked is that it speaks of this
//! certificate, that it says something good, and until when: another one would make clients turn
//! away that were content without.

use crate::clock::is_past;
use aws_lc_rs::digest::{SHA1_FOR_LEGACY_USE_ONLY, SHA256, digest};
use x509_parser::certificate::X509Certificate;
use x509_parser::der_parser::ber::{BerObject, BerObjectContent};
use x509_parser::der_parser::der::parse_der;

/// What is shown along with a certificate, and until when.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Staple {
    pub(super) der: Vec<u8>,
    /// Seconds since 1970; `None`: it does not say.
    until: Option<i64>,
}

/// Why there is nothing to show.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unfit {
    /// It is no answer at all.
    Unread,
    /// It is one that no client should be shown, for this reason.
    Doubtful(&'static str),
}

/// What is said of one certificate.
struct Said<'a> {
    /// A hash of the authority's name.
    authority: &'a [u8],
    serial: &'a [u8],
    /// 0: good. 1: revoked. 2: not known.
    status: u32,
    until: Option<i64>,
}

impl Staple {
    /// Reads an answer that is to speak of this certificate.
    pub(super) fn read(der: &[u8], of: &X509Certificate<'_>) -> Result<Self, Unfit> {
        let (_, whole) = parse_der(der).map_err(|_| Unfit::Unread)?;
        let body = match list(&whole) {
            Some([status, body]) if matches!(status.content, BerObjectContent::Enum(0)) => body,
            Some([status, ..]) if matches!(status.content, BerObjectContent::Enum(_)) => {
                return Err(Unfit::Doubtful("in it the authority refuses to answer"));
            }
            _ => return Err(Unfit::Unread),
        };
        let all = all(body).ok_or(Unfit::Unread)?;
        let Some(said) = all.iter().find(|said| said.is_of(of)) else {
            return Err(Unfit::Doubtful("it speaks of another certificate"));
        };
        match said.status {
            0 if said.until.is_some_and(is_past) => Err(Unfit::Doubtful("it has run out")),
            0 => Ok(Staple { der: der.to_vec(), until: said.until }),
            1 => Err(Unfit::Doubtful("it says that the certificate was revoked")),
            _ => Err(Unfit::Doubtful("in it the authority does not know the certificate")),
        }
    }

    /// Whether it may still be shown.
    pub(super) fn is_fresh(&self) -> bool {
        !self.until.is_some_and(is_past)
    }
}

impl Said<'_> {
    fn is_of(&self, certificate: &X509Certificate<'_>) -> bool {
        let name = certificate.issuer().as_raw();
        let is_hash_of_name = |hash| digest(hash, name).as_ref() == self.authority;
        self.serial == certificate.raw_serial()
            && [&SHA1_FOR_LEGACY_USE_ONLY, &SHA256].into_iter().any(is_hash_of_name)
    }
}

/// All that is said in the body of an answer.
fn all<'a>(body: &BerObject<'a>) -> Option<Vec<Said<'a>>> {
    let typed = inside(body)?;
    let [_, octets] = list(&typed)? else { return None };
    let (_, basic) = parse_der(octets.as_slice().ok()?).ok()?;
    // In front of what is said stand a version, a name and a time, and none of these is a list.
    let said = list(list(&basic)?.first()?)?.iter().find_map(list)?;
    said.iter().map(one).collect()
}

fn one<'a>(said: &BerObject<'a>) -> Option<Said<'a>> {
    let [of, status, _since, rest @ ..] = list(said)? else { return None };
    let [_hash, authority, _key, serial] = list(of)? else { return None };
    let tag = |object: &BerObject<'_>| object.header.tag().0;
    let until = rest.iter().find(|object| object.header.is_contextspecific() && tag(object) == 0);
    let until = match until.map(inside) {
        None => None,
        Some(until) => match until?.content {
            BerObjectContent::GeneralizedTime(time) => {
                Some(time.to_datetime().ok()?.unix_timestamp())
            }
            _ => return None,
        },
    };
    let (authority, serial) = (authority.as_slice().ok()?, serial.as_slice().ok()?);
    Some(Said { authority, serial, status: tag(status), until })
}

/// What an explicit tag holds.
fn inside<'a>(object: &BerObject<'a>) -> Option<BerObject<'a>> {
    Some(parse_der(object.as_slice().ok()?).ok()?.1)
}

fn list<'o, 'a>(object: &'o BerObject<'a>) -> Option<&'o [BerObject<'a>]> {
    object.as_sequence().ok().map(Vec::as_slice)
}
