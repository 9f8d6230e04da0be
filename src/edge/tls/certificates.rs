//! All certificates of one listener, and which of them a client is shown.
//!
//! The name that a client asks for (SNI) is looked for as it is, then with `*` in the place of its
//! first label, so a wildcard stands for one label (RFC 9525 §6.3). Who asks for no name, or for
//! one that no certificate is for, is shown the first. Where there are several for one name, the
//! client's list of signature schemes decides, in the client's order.

use super::certificate::Certificate;
use foldhash::HashMap;
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::fmt;
use std::sync::Arc;

/// The certificates of one listener. They never change: others take their place.
pub(super) struct Certificates {
    pub(super) all: Vec<Certificate>,
    /// By name, wildcards by what follows their `*`.
    exact: HashMap<Box<str>, Vec<usize>>,
    wildcard: HashMap<Box<str>, Vec<usize>>,
    /// The first, and those for the same names with keys of other kinds.
    default: Vec<usize>,
}

impl fmt::Debug for Certificates {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.all.iter().map(|one| &one.names)).finish()
    }
}

impl Certificates {
    /// These certificates, at least one.
    pub(super) fn new(all: Vec<Certificate>) -> Self {
        let (mut exact, mut wildcard) = (HashMap::default(), HashMap::default());
        for (index, certificate) in all.iter().enumerate() {
            for name in &certificate.names {
                let (names, name): (&mut HashMap<Box<str>, Vec<usize>>, _) =
                    match name.strip_prefix('*') {
                        Some(rest) => (&mut wildcard, rest),
                        None => (&mut exact, &**name),
                    };
                names.entry(name.into()).or_default().push(index);
            }
        }
        let same = |one: &&Certificate| one.names == all[0].names;
        let default = all.iter().enumerate().filter(|(_, one)| same(one));
        let default = default.map(|(index, _)| index).collect();
        Certificates { all, exact, wildcard, default }
    }

    /// Those for a host of this name, the best first.
    fn of(&self, name: Option<&str>) -> [&[usize]; 2] {
        let Some(name) = name else { return [&self.default, &[]] };
        let rest = name.find('.').map_or("", |at| &name[at..]);
        match [of_name(&self.exact, name), of_name(&self.wildcard, rest)] {
            [[], []] => [&self.default, &[]],
            both => both,
        }
    }

    /// The place of the terms of a host of this name.
    pub(super) fn terms(&self, name: Option<&str>) -> usize {
        let first = self.of(name).into_iter().flatten().next();
        self.all[*first.expect("there is one for everybody")].terms
    }

    /// Two certificates for one name under different terms: it could not be told which hold.
    pub(super) fn ambiguous(&self) -> Option<(usize, usize)> {
        let lists = self.exact.values().chain(self.wildcard.values()).chain([&self.default]);
        let pairs = lists.filter_map(|list| {
            let first = *list.first()?;
            let differs = |at: &&usize| self.all[**at].terms != self.all[first].terms;
            Some((first, *list.iter().find(differs)?))
        });
        pairs.min()
    }

    /// The numbers of certificates that no client is ever shown, as earlier ones are for the same
    /// names with the same kind of key.
    pub(super) fn idle(&self) -> Vec<usize> {
        let lists = || self.exact.values().chain(self.wildcard.values()).chain([&self.default]);
        let is_first = |index: usize, list: &Vec<usize>| {
            let kind = &self.all[index].kind;
            list.iter().find(|other| self.all[**other].kind == *kind) == Some(&index)
        };
        let is_idle = |index: &usize| !lists().any(|list| is_first(*index, list));
        (0..self.all.len()).filter(is_idle).collect()
    }

    /// When each ends, in seconds since 1970, by name; the earliest where several have one name.
    pub(super) fn ends(&self) -> Vec<(String, i64)> {
        let mut ends: Vec<(String, i64)> = Vec::new();
        for certificate in &self.all {
            match ends.iter_mut().find(|(name, _)| **name == *certificate.name) {
                Some((_, end)) => *end = certificate.not_after.min(*end),
                None => ends.push((certificate.name.to_string(), certificate.not_after)),
            }
        }
        ends
    }
}

fn of_name<'a>(names: &'a HashMap<Box<str>, Vec<usize>>, name: &str) -> &'a [usize] {
    names.get(name).map_or(&[], Vec::as_slice)
}

impl ResolvesServerCert for Certificates {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // One for this very name goes before one for all of its domain, whatever its key.
        let chosen = self.of(hello.server_name()).into_iter().find_map(|candidates| {
            hello.signature_schemes().iter().find_map(|scheme| {
                let mut candidates = candidates.iter().map(|index| &self.all[*index]);
                candidates.find(|certificate| certificate.fits(*scheme))
            })
        })?;
        Some(Arc::clone(chosen.shown()))
    }
}
