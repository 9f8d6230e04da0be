//! Watching the file of the configuration. It is looked at once a second, which notices every way
//! of changing it: an editor that writes it, another file renamed over it, a symbolic link that
//! leads elsewhere (as Kubernetes changes a ConfigMap), and on every file system.

use crate::admin::ReloadRequest;
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;
use std::time::Duration;
use tokio::sync::mpsc;

/// How often it is looked whether the file is another one.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a changed file differs in: device, inode, size, and when it was written.
type Stamp = (u64, u64, u64, i64, i64);

/// Wishes for a reload when the file has changed and is still the same at the next look: whoever
/// writes it may not be done. A file that is missing is waited for.
pub(super) async fn follow(file: PathBuf, reloads: mpsc::Sender<ReloadRequest>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let (mut known, mut changed) = (stamp(&file).await, None);
    loop {
        looks.tick().await;
        let now = stamp(&file).await;
        if now.is_none() || now == known {
            changed = None;
        } else if now == changed {
            (known, changed) = (now, None);
            // A full queue holds reloads that were not begun yet.
            let _ = reloads.try_send(ReloadRequest { cause: "the file has changed", answer: None });
        } else {
            changed = now;
        }
    }
}

async fn stamp(file: &PathBuf) -> Option<Stamp> {
    let found = tokio::fs::metadata(file).await.ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}
