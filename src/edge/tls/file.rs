//! The files that `tls` of a listener names, as they are at one moment.

use super::config::Config;
use crate::fetch;
use aws_lc_rs::digest::{Context, SHA256};
use std::path::Path;

/// The largest file that is read, in bytes: a bundle of authorities fits.
const FILE_BYTES_MAX: u64 = 1024 * 1024;

/// One file: its bytes, or why there are none.
pub(super) struct File {
    pub(super) read: Result<Vec<u8>, String>,
    /// Everybody on this machine may read it.
    pub(super) is_for_everybody: bool,
}

/// All files of one listener.
pub(super) struct Files {
    /// Certificate and key, in the order of the configuration.
    pub(super) pairs: Vec<(File, File)>,
    pub(super) client_ca: Option<File>,
}

/// Tells one state of the files from another.
pub(super) type State = Vec<u8>;

impl File {
    fn open(base_dir: &Path, path: &Path) -> Self {
        let path = base_dir.join(path);
        let read = fetch::file(&path, FILE_BYTES_MAX).map_err(|error| error.to_string());
        File { read, is_for_everybody: fetch::is_for_everybody(&path) }
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
    pub(super) fn open(config: &Config, base_dir: &Path) -> Self {
        let open = |path: &Path| File::open(base_dir, path);
        let pairs = config.certificates.iter();
        let pairs = pairs.map(|pair| (open(&pair.cert.0), open(&pair.key.0))).collect();
        let client_ca = config.client_ca.as_ref().map(|path| open(&path.0));
        Files { pairs, client_ca }
    }

    pub(super) fn state(&self) -> State {
        let mut hash = Context::new(&SHA256);
        let pairs = self.pairs.iter().flat_map(|(cert, key)| [cert, key]);
        for file in pairs.chain(&self.client_ca) {
            file.enter(&mut hash);
        }
        hash.finish().as_ref().to_vec()
    }
}
