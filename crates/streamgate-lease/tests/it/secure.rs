//! Servers that want to know who asks, and that prove who they are.

use crate::fleet::Node;
use crate::world::{claim, id};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use streamgate_lease::redis::{Address, Client, Deadlines, Event, RedisStore, Subscription, Tls};
use streamgate_lease::{
    Answer, Claim, Holder, LeaseStore, Pepper, Slot, State, StoreError, Timing,
};
use tokio::time::timeout;

/// What these tests are about is who is believed, not how soon.
const PATIENT: Deadlines = Deadlines {
    command: Duration::from_secs(20),
    connect: Duration::from_secs(20),
    start: Duration::from_secs(20),
};

/// An authority, and what it signed for `localhost`.
struct Certificates(PathBuf);

impl Certificates {
    fn make(name: &str) -> Self {
        let dir = std::env::temp_dir().join(format!("sg-tls-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let own = "-x509 -newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -days 2 -subj /CN=test";
        openssl(&dir, &format!("req {own} -keyout ca.key -out ca.pem"));
        let ask = "-newkey ec -pkeyopt ec_paramgen_curve:P-256 -nodes -subj /CN=localhost";
        openssl(&dir, &format!("req {ask} -keyout own.key -out own.csr"));
        std::fs::write(dir.join("names"), "subjectAltName=DNS:localhost,IP:127.0.0.1").unwrap();
        let by = "-CA ca.pem -CAkey ca.key -CAcreateserial -days 2 -extfile names";
        openssl(&dir, &format!("x509 -req -in own.csr {by} -out own.pem"));
        Self(dir)
    }

    fn read(&self, name: &str) -> Vec<u8> {
        std::fs::read(self.0.join(name)).unwrap()
    }

    fn path(&self, name: &str) -> String {
        self.0.join(name).to_str().unwrap().to_owned()
    }
}

impl Drop for Certificates {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

fn openssl(dir: &Path, words: &str) {
    let made = Command::new("openssl")
        .args(words.split(' '))
        .current_dir(dir)
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    assert!(made.expect("these tests need openssl").success(), "openssl {words}");
}

/// A server that speaks TLS beside plain text, and asks for certificates or not.
async fn server(certificates: &Certificates, asks: &str) -> Node {
    let (own, key) = (certificates.path("own.pem"), certificates.path("own.key"));
    let authority = certificates.path("ca.pem");
    let tls = ["--tls-port", "{other}", "--tls-cert-file", &own, "--tls-key-file", &key];
    let who = ["--tls-ca-cert-file", &authority, "--tls-auth-clients", asks];
    Node::server(&[&tls, who.as_slice()].concat()).await
}

async fn exists(url: &str, tls: &Tls) -> Result<bool, StoreError> {
    let client = Client::with_tls(&Address::parse(url).unwrap(), PATIENT, tls).unwrap();
    client.exists("sg:session:1").await
}

#[tokio::test]
async fn a_server_is_believed_only_with_a_certificate_of_the_authority() {
    let certificates = Certificates::make("believed");
    let server = server(&certificates, "no").await;
    let url = format!("rediss://localhost:{}", server.other_port);
    let ours = Tls { authority: Some(certificates.read("ca.pem")), identity: None };
    assert_eq!(exists(&url, &ours).await, Ok(false));
    let by_number = format!("rediss://127.0.0.1:{}", server.other_port);
    assert_eq!(exists(&by_number, &ours).await, Ok(false));
    // Those that the system trusts did not sign it, nor did another authority of the same name.
    let other = Certificates::make("other");
    let theirs = Tls { authority: Some(other.read("ca.pem")), identity: None };
    for tls in [Tls::default(), theirs] {
        let error = exists(&url, &tls).await.unwrap_err();
        assert!(matches!(error, StoreError::Unavailable(_)), "{error:?}");
    }
    // TLS to a port that speaks none.
    let plain = format!("rediss://localhost:{}", server.port);
    assert!(exists(&plain, &ours).await.is_err());
    let garbage =
        Tls { authority: Some(b"-----BEGIN CERTIFICATE-----\nx".to_vec()), identity: None };
    assert!(Client::with_tls(&Address::parse(&url).unwrap(), PATIENT, &garbage).is_err());
}

#[tokio::test]
async fn a_server_that_asks_who_we_are_is_shown_a_certificate() {
    let certificates = Certificates::make("identity");
    let server = server(&certificates, "yes").await;
    let url = format!("rediss://localhost:{}", server.other_port);
    let authority = Some(certificates.read("ca.pem"));
    let identity = Some((certificates.read("own.pem"), certificates.read("own.key")));
    let named = Tls { authority: authority.clone(), identity };
    assert_eq!(exists(&url, &named).await, Ok(false));
    assert!(exists(&url, &Tls { authority, identity: None }).await.is_err());
}

/// The rights that the documentation asks for, and no more.
fn rights() -> String {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../docs/operations.md");
    let page = std::fs::read_to_string(page).unwrap();
    let begins = page.find("ACL SETUSER gate").expect("the page tells them");
    let rights = &page[begins..];
    rights[..rights.find("```").unwrap()].replace('\\', " ")
}

#[tokio::test]
async fn the_rights_in_the_documentation_are_enough() {
    let server = Node::server(&[]).await;
    server.ask::<()>(&rights()).await;
    server.ask::<()>("ACL SETUSER default off").await;
    let url = |who: &str| format!("redis://{who}@127.0.0.1:{}", server.port);
    let wrong = Client::with_deadlines(&url("gate:wr%40ng"), PATIENT).unwrap();
    let error = wrong.exists("sg:session:1").await.unwrap_err();
    let shown = format!("{wrong:?} {error:?} {error}");
    assert!(!shown.contains("wr%40ng") && !shown.contains("wr@ng"), "{shown}");
    let client = Arc::new(Client::with_deadlines(&url("gate:s3cret"), PATIENT).unwrap());
    assert_eq!(client.exists("sg:session:1").await, Ok(false));
    // A client of its own: a refused command makes its breaker rest.
    let curious = Client::with_deadlines(&url("gate:s3cret"), PATIENT).unwrap();
    assert!(curious.exists("other:key").await.is_err(), "not everything is allowed");
    let mut subscription = Subscription::new(client.clone(), "sg:ended");
    assert_eq!(
        timeout(Duration::from_secs(20), subscription.next()).await.unwrap(),
        Event::Subscribed
    );
    // What the gateway says about sessions, beside leases.
    for question in ["GET sg:revoked:1", "SET sg:revoked:1 7 PX 9", "DEL sg:session:1"] {
        let mut words = question.split(' ');
        let mut command = redis::cmd(words.next().unwrap());
        command.arg(words.collect::<Vec<_>>());
        client.query::<redis::Value>("sg:session:1", &command).await.expect(question);
    }
    for verb in ["PEXPIRE", "PEXPIREAT"] {
        let mut command = redis::cmd(verb);
        command.arg("sg:session:1").arg(u32::MAX).arg("GT");
        client.query::<redis::Value>("sg:session:1", &command).await.expect(verb);
    }
    let store = RedisStore::new(client);
    let (timing, tv) = (Timing::default(), claim("tv", 1));
    assert!(matches!(store.acquire(&tv, &timing).await, Ok(Answer::Held(_))));
    assert!(matches!(store.acquire(&claim("pad", 1), &timing).await, Ok(Answer::Full(_))));
    let all = store.acquire_all(std::slice::from_ref(&tv), &timing).await;
    assert!(matches!(all[..], [Ok(Answer::Held(_))]), "{all:?}");
    let slot = Slot {
        holder: tv.holder,
        id: tv.id,
        silent_for: Duration::ZERO,
        keep_keys: true,
        ttl: None,
    };
    assert!(store.renew(&[slot], &timing).await.remove(0).is_ok());
    assert!(store.declare(&tv.holder, &tv.id, State::Paused).await.unwrap());
    assert_eq!(store.list(&tv.holder).await.unwrap().len(), 1);
    assert!(store.terminate(&tv.holder, &tv.id, &timing).await.unwrap());
    let event = timeout(Duration::from_secs(20), subscription.next()).await.unwrap();
    assert!(matches!(event, Event::Message(_)), "{event:?}");
    store.release(&tv.holder, &id("pad"), &timing).await.unwrap();
    changes_its_pepper(&store, &timing).await;
}

/// One account by two names, in either order: what lies under one is gathered under the other.
async fn changes_its_pepper(store: &RedisStore, timing: &Timing) {
    let pepper = |byte: u8| Pepper::new([byte; 32]).unwrap();
    let one = pepper(1).with_also([2; 32]).unwrap();
    let two = pepper(2).with_also([1; 32]).unwrap();
    for (n, by) in [&one, &two, &one].into_iter().enumerate() {
        let claim = Claim::new(Holder::of(by, "bob"), id(&format!("device {n}")), 3);
        let answer = store.acquire(&claim, timing).await;
        assert!(matches!(answer, Ok(Answer::Held(_))), "{answer:?}");
        assert_eq!(store.list(&claim.holder).await.unwrap().len(), n + 1);
    }
    let alone = Claim::new(Holder::of(&pepper(2), "bob"), id("another"), 3);
    assert!(matches!(store.acquire(&alone, timing).await, Ok(Answer::Held(_))));
    let both = store.list(&Holder::of(&one, "bob")).await.unwrap();
    assert_eq!(both.len(), 4, "merged key by key");
}
