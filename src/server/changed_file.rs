//! Watching the files of the configuration. They are looked at once a second, which notices every
//! way of changing them: an editor that writes one, another file renamed over it, a symbolic link
//! that leads elsewhere (as Kubernetes changes a ConfigMap), one more in a directory that is
//! included, and on every file system.

use crate::admin::ReloadRequest;
use crate::config::{files_of, included};
use crate::yaml::Environment;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::spawn_blocking;

/// How often it is looked whether the files are others.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// What a changed file differs in: device, inode, size, and when it was written.
type Stamp = (u64, u64, u64, i64, i64);

/// A configuration's file, and what it included when it was last another one.
#[derive(Clone, Debug)]
struct Watched {
    file: PathBuf,
    stamp: Option<Stamp>,
    included: Vec<PathBuf>,
}

/// All files with their stamps.
type Look = Vec<(PathBuf, Option<Stamp>)>;

/// The files of a configuration as they were at some moment.
#[derive(Clone, Debug)]
pub(super) struct Seen {
    watched: Watched,
    look: Option<Look>,
}

impl Seen {
    /// The files as they are now.
    pub(super) fn now(file: PathBuf) -> Self {
        let mut watched = Watched { file, stamp: None, included: Vec::new() };
        let look = watched.look();
        Seen { watched, look }
    }
}

/// Wishes for a reload when a file has changed and all are still the same at the next look: whoever
/// writes them may not be done. A configuration that is missing is waited for.
pub(super) async fn follow(seen: Seen, reloads: mpsc::Sender<ReloadRequest>) {
    let mut looks = tokio::time::interval(LOOK_EVERY);
    let Seen { mut watched, look: mut known } = seen;
    let mut changed = None;
    loop {
        looks.tick().await;
        let now = look(&mut watched).await;
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

/// Looks at all files. A disk that hangs holds up nothing else.
async fn look(watched: &mut Watched) -> Option<Look> {
    let mut looking = watched.clone();
    let looked = spawn_blocking(move || {
        let look = looking.look();
        (looking, look)
    });
    // An error means that the gateway is gone.
    let (after, look) = looked.await.ok()?;
    *watched = after;
    look
}

impl Watched {
    fn look(&mut self) -> Option<Look> {
        let now = stamp(&self.file)?;
        if self.stamp != Some(now) {
            self.included = included(&self.file, &Environment::of_process());
            self.stamp = Some(now);
        }
        let further = files_of(&self.included).into_iter();
        let further = further.map(|file| {
            let stamp = stamp(&file);
            (file, stamp)
        });
        Some([(self.file.clone(), Some(now))].into_iter().chain(further).collect())
    }
}

fn stamp(file: &Path) -> Option<Stamp> {
    let found = fs::metadata(file).ok()?;
    Some((found.dev(), found.ino(), found.len(), found.mtime(), found.mtime_nsec()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn what_changes_while_a_gateway_starts_is_noticed() {
        let name = format!("streamgate-changed-{}.yaml", std::process::id());
        let file = std::env::temp_dir().join(name);
        fs::write(&file, "routes: []\n").unwrap();
        let seen = Seen::now(file.clone());
        // It is read, and is another one before anybody follows it.
        fs::write(&file, "routes: []\nlisteners: []\n").unwrap();
        let (reloads, mut asked) = mpsc::channel(1);
        let following = tokio::spawn(follow(seen, reloads));
        let within = LOOK_EVERY * 10;
        let wish = tokio::time::timeout(within, asked.recv()).await.expect("a wish").unwrap();
        assert_eq!(wish.cause, "the file has changed");
        // It is the same from now on.
        assert!(tokio::time::timeout(within, asked.recv()).await.is_err());
        following.abort();
        fs::remove_file(file).unwrap();
    }
}
