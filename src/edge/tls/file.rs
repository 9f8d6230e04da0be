//! The files that `tls` of a listener names, as they are at one moment.

use super::config::{CertificateConfig, Config};
use crate::acme::Acme;
use crate::fetch;
use crate::problem::Problem;
use crate::units::FilePath;
use crate::yaml::At;
use aws_lc_rs::digest::{Context, SHA256};
use rustls::pki_types::pem::PemObject;
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// The largest file that is read, in bytes: a bundle of authorities fits.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One file: its bytes, or why there are none.
pub(super) struct File {
    read: Result<Vec<u8>, String>,
    /// Everybody on this machine may read it.
    pub(super) is_for_everybody: bool,
}

/// All files of one listener, each read once, by the path that is written.
pub(super) struct Files(BTreeMap<PathBuf, File>);

/// Tells one state of the files from another.
pub(super) type State = Vec<u8>;

impl File {
    fn open(base_dir: &Path, path: &Path) -> Self {
        let path = base_dir.join(path);
        let read = fetch::file(&path, FILE_BYTES_MAX).map_err(|error| error.to_string());
        File { read, is_for_everybody: fetch::is_for_everybody(&path) }
    }

    /// What is in it, or why that can't be told.
    pub(super) fn bytes(&self, written: &At<FilePath>) -> Result<&[u8], Problem> {
        self.read.as_deref().map_err(|why| {
            let text = format!("`{}` can't be read: {why}", written.value);
            written.problem(text).help("paths are relative to the configuration file")
        })
    }

    /// All items of one kind in it, one or more. `what` they are called, and `label` is what a PEM
    /// file calls them.
    pub(super) fn items<T: PemObject>(
        &self,
        written: &At<FilePath>,
        what: &str,
        label: &str,
    ) -> Result<Vec<T>, Problem> {
        let read = T::pem_slice_iter(self.bytes(written)?).collect::<Result<Vec<_>, _>>();
        let items = read.map_err(|error| {
            let text = format!("`{}` is no good PEM: {error}", written.value);
            written.problem(text).help("copy it again, whole")
        })?;
        if items.is_empty() {
            let text = format!("there is no {what} in `{}`", written.value);
            let help = format!("write a file in the PEM format, with `-----BEGIN {label}-----`");
            return Err(written.problem(text).help(help));
        }
        Ok(items)
    }

    fn enter(&self, hash: &mut Context) {
        let (is_read, bytes) = match &self.read {
            Ok(bytes) => (1, bytes.as_slice()),
            Err(why) => (0, why.as_bytes()),
        };
        hash.update(&[is_read]);
        hash.update(&bytes.len().to_be_bytes());
        hash.update(bytes);
    }

    /// Tells what is in the file from what else may be in it.
    pub(super) fn state(&self) -> State {
        let mut hash = Context::new(&SHA256);
        self.enter(&mut hash);
        hash.finish().as_ref().to_vec()
    }
}

impl Files {
    /// Reads them all.
    pub(super) fn open(config: &Config, base_dir: &Path, acme: Option<&Acme>) -> Self {
        let of_entry = |entry: &CertificateConfig| {
            let optional = [&entry.ocsp, &entry.client_ca, &entry.client_crl];
            let optional = optional.map(|path| path.as_ref().map(|path| path.0.clone()));
            let own = [entry.cert.0.clone(), entry.key.0.clone()];
            own.into_iter().chain(optional.into_iter().flatten())
        };
        let of_listener = [&config.client_ca, &config.client_crl];
        let of_listener = of_listener.into_iter().flatten().map(|path| path.0.clone());
        let all = config.certificates.iter().flat_map(|entry| of_entry(entry)).chain(of_listener);
        let mut files = BTreeMap::new();
        for path in all {
            files.entry(path).or_insert_with_key(|path| File::open(base_dir, path));
        }
        if let Some(acme) = acme {
            files.insert(acme.file(), File { read: Ok(acme.pem()), is_for_everybody: false });
        }
        Files(files)
    }

    /// The file at a path of the configuration.
    pub(super) fn of(&self, path: &At<FilePath>) -> &File {
        self.0.get(&path.0).expect("all paths of the configuration were opened")
    }

    pub(super) fn state(&self) -> State {
        let mut hash = Context::new(&SHA256);
        for file in self.0.values() {
            file.enter(&mut hash);
        }
        hash.finish().as_ref().to_vec()
    }
}
