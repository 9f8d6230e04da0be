use super::*;
use std::fs::File;
use std::sync::mpsc;

/// A target with so much room, as a disk has; what was written is in `text`.
#[derive(Clone)]
struct Disk(Arc<Mutex<(Vec<u8>, usize)>>);

impl Disk {
    fn with_room(bytes: usize) -> Self {
        Disk(Arc::new(Mutex::new((Vec::new(), bytes))))
    }

    fn add_room(&self, bytes: usize) {
        self.0.lock().1 += bytes;
    }

    fn text(&self) -> String {
        String::from_utf8(self.0.lock().0.clone()).expect("text")
    }

    fn target(&self) -> Target<impl FnMut(Change) + use<>> {
        let disk = self.clone();
        let open = move || Ok(Opened { out: Box::new(disk.clone()), is_cut: None });
        Target::new(Opened { out: Box::new(self.clone()), is_cut: None }, Box::new(open), |_| ())
    }
}

impl Write for Disk {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let (text, room) = &mut *self.0.lock();
        let fits = bytes.len().min(*room);
        if fits == 0 && !bytes.is_empty() {
            return Err(io::Error::from(ErrorKind::StorageFull));
        }
        text.extend_from_slice(&bytes[..fits]);
        *room -= fits;
        Ok(fits)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test(start_paused = true)]
async fn what_did_not_fit_is_written_when_there_is_room_again() {
    let disk = Disk::with_room(10);
    let mut target = disk.target();
    target.left.extend_from_slice(b"first\nsecond\nthird\n");
    assert_eq!(target.write(false), 0);
    assert_eq!(disk.text(), "first\nseco");
    disk.add_room(100);
    assert_eq!(target.write(false), 0);
    assert_eq!(disk.text(), "first\nseco\nsecond\nthird\n", "a fresh line after the cut one");
}

#[tokio::test(start_paused = true)]
async fn what_fails_for_long_is_lost_and_counted_and_the_next_line_is_tried() {
    let disk = Disk::with_room(2);
    let mut target = disk.target();
    target.left.extend_from_slice(b"first\nsecond\n");
    assert_eq!(target.write(false), 0, "kept");
    tokio::time::advance(KEPT_FOR).await;
    assert_eq!(target.write(false), 2);
    target.left.extend_from_slice(b"third\n");
    assert_eq!(target.write(false), 1, "while it fails, nothing is kept for long");
    disk.add_room(100);
    target.left.extend_from_slice(b"fourth\n");
    assert_eq!(target.write(false), 0);
    assert_eq!(disk.text(), "fi\nfourth\n");
    target.left.extend_from_slice(b"fifth\n");
    assert_eq!(target.write(true), 0);
    assert_eq!(disk.text(), "fi\nfourth\nfifth\n");
}

#[tokio::test(start_paused = true)]
async fn the_last_lines_are_written_or_counted() {
    let disk = Disk::with_room(0);
    let mut target = disk.target();
    target.left.extend_from_slice(b"first\nsecond\n");
    assert_eq!(target.write(true), 2);
}

#[test]
fn a_writer_ends_with_all_that_was_left_to_it() {
    let (lines, disk) = (Lines::default(), Disk::with_room(100));
    let writer = lines.writer();
    let control = writer.control();
    let (reports, reported) = mpsc::channel();
    let target = disk.clone();
    let mut opened = 0;
    let open = move || {
        opened += 1;
        // The second time the directory is gone.
        match opened {
            1 => Ok(Opened { out: Box::new(target.clone()), is_cut: Some(true) }),
            _ => File::open("/nowhere/at/all").map(|_| unreachable!("there is no such file")),
        }
    };
    let nowhere = Opened { out: Box::new(io::sink()), is_cut: None };
    let running = std::thread::spawn(move || {
        writer
            .run(nowhere, Box::new(open), |change| reports.send(change).expect("the test listens"));
    });
    control.reopen();
    let within = Duration::from_secs(10);
    assert!(matches!(reported.recv_timeout(within), Ok(Change::Reopened)));
    control.reopen();
    assert!(matches!(reported.recv_timeout(within), Ok(Change::NotReopened(_))));
    lines.push(b"first\n");
    control.stop();
    running.join().expect("it ends");
    assert_eq!((disk.text().as_str(), lines.dropped()), ("\nfirst\n", 0));
}

#[test]
fn lines_beyond_the_bound_are_dropped_and_counted() {
    let lines = Lines::default();
    let long = vec![b'\n'; BUFFER_BYTES_MAX];
    lines.push(&long);
    lines.push(b"one too many\n");
    assert_eq!(lines.dropped(), 1);
}
