//! The file of a socket of Unix: made, found stale, and taken away again.
//!
//! The kernel leaves the file behind when a process dies, and refuses the next one that would
//! listen there. So a file that nobody listens at is replaced. Of two processes that start at one
//! moment, one must not replace what the other has just made: each holds a lock of the directory
//! from the look at the file until it listens.
//!
//! Nobody can connect before the file has its mode: it gets that before the socket listens.

use rustix::io::Errno;
use socket2::{Domain, SockAddr, Socket, Type};
use std::fs::{self, File, Permissions};
use std::io;
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

/// A socket's file. If it is ours, it goes away with this, unless another has taken its place.
#[derive(Debug)]
pub(super) struct SocketFile {
    path: PathBuf,
    /// By what it is known again: its device and its inode. `None`: there was none.
    identity: Option<(u64, u64)>,
    /// Whether a gateway has made it, and not its service manager.
    is_made_here: bool,
    /// Whether this process takes it away when it is done.
    is_ours: AtomicBool,
}

/// Why there is no such socket.
#[derive(Debug)]
pub(super) struct Refused {
    pub(super) error: io::Error,
    /// What is in the way, or would help.
    pub(super) help: Option<&'static str>,
}

impl From<io::Error> for Refused {
    fn from(error: io::Error) -> Self {
        Refused { error, help: None }
    }
}

impl SocketFile {
    /// Binds a socket at `path` and lets those connect whom `mode` allows it. A file that nobody
    /// listens at is replaced.
    pub(super) fn bind(
        path: &Path,
        mode: u32,
        backlog: i32,
    ) -> Result<(UnixListener, SocketFile), Refused> {
        let directory = path.parent().unwrap_or(Path::new("/"));
        // Whoever may not read the directory can't lock it, and has it alone in all likelihood.
        let directory = File::open(directory).ok();
        let _alone = directory.as_ref().map(File::lock);
        make_way(path)?;
        let socket = Socket::new(Domain::UNIX, Type::STREAM, None)?;
        socket.bind(&SockAddr::unix(path)?)?;
        let file = SocketFile {
            path: path.to_owned(),
            identity: identity(path),
            is_made_here: true,
            is_ours: AtomicBool::new(true),
        };
        file.allow(mode)?;
        socket.set_nonblocking(true)?;
        socket.listen(backlog)?;
        Ok((socket.into(), file))
    }

    /// The file of a socket that another process has bound, and takes away itself: a gateway, or
    /// its service manager.
    pub(super) fn of_another(path: &Path, is_made_here: bool) -> Self {
        let (path, identity) = (path.to_owned(), identity(path));
        SocketFile { path, identity, is_made_here, is_ours: AtomicBool::new(false) }
    }

    /// Whether a gateway has made it, and not its service manager.
    pub(super) fn is_made_here(&self) -> bool {
        self.is_made_here
    }

    /// Where it is.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Says who may connect, unless that is the service manager's matter.
    pub(super) fn allow(&self, mode: u32) -> io::Result<()> {
        match self.is_made_here {
            true => fs::set_permissions(&self.path, Permissions::from_mode(mode)),
            false => Ok(()),
        }
    }

    /// From now on this process takes it away when it is done.
    pub(super) fn take_over(&self) {
        self.is_ours.store(self.is_made_here, Ordering::Relaxed);
    }

    /// From now on it is the matter of another process.
    pub(super) fn leave(&self) {
        self.is_ours.store(false, Ordering::Relaxed);
    }
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        let is_ours = self.is_ours.load(Ordering::Relaxed);
        if is_ours && self.identity.is_some() && self.identity == identity(&self.path) {
            // Who listens there next replaces what is left.
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn identity(path: &Path) -> Option<(u64, u64)> {
    fs::symlink_metadata(path).ok().map(|file| (file.dev(), file.ino()))
}

/// Takes a file away that a process has left behind.
fn make_way(path: &Path) -> Result<(), Refused> {
    let refused = |help| {
        let error = io::ErrorKind::AddrInUse.into();
        Err(Refused { error, help: Some(help) })
    };
    match fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(error.into()),
        Ok(file) if !file.file_type().is_socket() => {
            return refused("; what is there is no socket, so it is left alone");
        }
        Ok(_) => {}
    }
    let probe = Socket::new(Domain::UNIX, Type::STREAM, None)?;
    probe.set_nonblocking(true)?;
    let found = probe.connect(&SockAddr::unix(path)?).map_err(|error| error.raw_os_error());
    let is = |error: Errno| Err(Some(error.raw_os_error()));
    match found {
        found if found == is(Errno::CONNREFUSED) => Ok(fs::remove_file(path)?),
        found if found == is(Errno::NOENT) => Ok(()),
        // With `AGAIN` nobody more may wait, so somebody listens.
        found if found == Ok(()) || found == is(Errno::AGAIN) => {
            refused("; a process listens there: stop it, or choose another path")
        }
        _ => refused("; it can't be found out whether somebody listens there"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::sync::atomic::AtomicU32;

    /// A directory that is gone with the test.
    struct Directory(PathBuf);

    impl Directory {
        fn new() -> Self {
            static NUMBER: AtomicU32 = AtomicU32::new(0);
            let number = NUMBER.fetch_add(1, Ordering::Relaxed);
            let name = format!("streamgate-socket-{}-{number}", std::process::id());
            let path = std::env::temp_dir().join(name);
            fs::create_dir_all(&path).expect("a directory");
            Directory(path)
        }

        fn socket(&self) -> PathBuf {
            self.0.join("http.sock")
        }
    }

    impl Drop for Directory {
        fn drop(&mut self) {
            // What can't be removed is left to the system.
            let _ = fs::remove_dir_all(&self.0);
        }
    }

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).expect("a file").mode() & 0o7777
    }

    #[test]
    fn the_file_has_its_mode_and_goes_with_the_socket() {
        let directory = Directory::new();
        let path = directory.socket();
        let (socket, file) = SocketFile::bind(&path, 0o600, 8).expect("a socket");
        assert_eq!(mode(&path), 0o600);
        UnixStream::connect(&path).expect("it listens");
        file.allow(0o666).expect("it is ours");
        assert_eq!(mode(&path), 0o666);
        drop((socket, file));
        assert!(!path.exists());
    }

    #[test]
    fn what_a_dead_process_left_is_replaced_and_what_lives_is_not() {
        let directory = Directory::new();
        let path = directory.socket();
        drop(UnixListener::bind(&path).expect("a socket"));
        let (_socket, file) = SocketFile::bind(&path, 0o660, 8).expect("it was stale");
        let help = |path: &Path| {
            let refused = SocketFile::bind(path, 0o660, 8).expect_err("it is taken");
            assert_eq!(refused.error.kind(), io::ErrorKind::AddrInUse);
            refused.help.expect("it says what is there")
        };
        assert!(help(&path).contains("a process listens there"));
        assert!(UnixStream::connect(&path).is_ok(), "it still does");
        drop(file);
        fs::write(&path, "of somebody").expect("written");
        assert!(help(&path).contains("no socket"));
        fs::remove_file(&path).expect("removed");
        let _other = UnixDatagram::bind(&path).expect("a socket of another kind");
        assert!(help(&path).contains("can't be found out"));
    }

    #[test]
    fn a_file_that_is_not_ours_is_left() {
        let directory = Directory::new();
        let path = directory.socket();
        let (_first, file) = SocketFile::bind(&path, 0o660, 8).expect("a socket");
        fs::remove_file(&path).expect("removed");
        let (_second, other) = SocketFile::bind(&path, 0o660, 8).expect("a socket");
        drop(file);
        assert!(path.exists(), "another has taken its place");
        other.leave();
        let heir = SocketFile::of_another(&path, true);
        drop(other);
        let managed = SocketFile::of_another(&path, false);
        managed.allow(0o600).expect("nothing was done");
        assert_eq!(mode(&path), 0o660, "it is the service manager's matter");
        managed.take_over();
        drop(managed);
        assert!(path.exists());
        heir.take_over();
        drop(heir);
        assert!(!path.exists());
    }

    #[test]
    fn of_all_who_start_at_one_moment_one_listens() {
        let directory = Directory::new();
        let path = directory.socket();
        for _ in 0..20 {
            drop(UnixListener::bind(&path).expect("a socket that is left behind"));
            let bound = std::thread::scope(|scope| {
                let all: Vec<_> =
                    (0..8).map(|_| scope.spawn(|| SocketFile::bind(&path, 0o660, 8))).collect();
                let all = all.into_iter().map(|one| one.join().expect("no panic"));
                all.filter_map(Result::ok).collect::<Vec<_>>()
            });
            assert_eq!(bound.len(), 1);
            UnixStream::connect(&path).expect("it is the one that listens");
        }
    }
}
