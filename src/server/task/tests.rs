use super::*;
use crate::metrics::Metrics;
use crate::observe::AccessLog;
use serde_json::Value;
use std::io;
use std::sync::Mutex;
use streamgate_lease::memory::MemoryStore;
use streamgate_lease::{Claim, Holder, LeaseId, Leases, Pepper, Timing};
use tracing::Level;

/// A writer into memory.
#[derive(Clone, Default)]
struct Lines(Arc<Mutex<Vec<u8>>>);

impl io::Write for Lines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().expect("no panic before").write(bytes)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[tokio::test]
async fn a_stream_that_starts_and_ends_has_two_lines_where_debug_is_logged() {
    let observe = Observe::new(Metrics::new(), AccessLog::default());
    assert!(!observe.takes_streams(), "nobody reads them otherwise");
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG);
    let _guard = tracing::subscriber::set_default(log.with_writer(move || writer.clone()).finish());
    assert!(observe.takes_streams());

    let (leases, renewer) = Leases::new(Arc::new(MemoryStore::new()), Timing::default());
    let events = leases.events();
    let pepper = Pepper::new("0123456789abcdef0123456789abcdef").expect("long enough");
    let claim = Claim::new(Holder::of(&pepper, "alice"), LeaseId::of("s1", None), 1);
    leases.hold(&claim).await.expect("memory answers");
    leases.release(&claim.holder, &claim.id).await.expect("memory answers");
    drop((leases, renewer));
    report_streams(events, "viewers".into(), observe).await;

    let text = String::from_utf8(lines.0.lock().expect("no panic before").clone()).expect("text");
    let fields = text.lines().map(|line| {
        let line: Value = serde_json::from_str(line).expect("JSON");
        let field = |name: &str| line["fields"][name].as_str().unwrap_or_default().to_owned();
        assert_eq!((field("policy"), field("lease")), ("viewers".into(), claim.id.to_string()));
        (field("message"), field("how") + &field("why"))
    });
    let expected = [("a stream started", "admitted"), ("a stream ended", "released")];
    let expected = expected.map(|(message, word)| (message.to_owned(), word.to_owned()));
    assert_eq!(fields.collect::<Vec<_>>(), expected);
}

#[tokio::test]
async fn what_a_store_said_is_one_line_with_its_word_and_at_debug_all_of_it() {
    let observe = Observe::new(Metrics::new(), AccessLog::default());
    let lines = Lines::default();
    let writer = lines.clone();
    let log = tracing_subscriber::fmt().json().with_max_level(Level::DEBUG);
    let _guard = tracing::subscriber::set_default(log.with_writer(move || writer.clone()).finish());
    let (word, sentence) = ("READONLY".to_owned(), "READONLY You can't write".to_owned());
    let reason = streamgate_lease::UnavailableReason::Server { word, sentence };
    let failure = StoreError::Unavailable(reason);
    observe.emit(&Event::StoreChanged { store: "shared", failure: Some(&failure) });

    let text = String::from_utf8(lines.0.lock().expect("no panic before").clone()).expect("text");
    let lines: Vec<Value> = text.lines().map(|line| serde_json::from_str(line).unwrap()).collect();
    let [warning, detail] = lines.as_slice() else { panic!("{text}") };
    assert_eq!(
        (&warning["level"], &warning["fields"]["why"]),
        (&"WARN".into(), &"READONLY".into())
    );
    assert_eq!(detail["level"], "DEBUG");
    assert_eq!(detail["fields"]["said"], "READONLY You can't write");
}
