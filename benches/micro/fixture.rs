//! The real parts that the benches run: gateways compiled from YAML, keys, tokens, a Redis.

use std::future::Future;
use std::path::PathBuf;
use std::pin::pin;
use std::process::{Child, Command, Stdio};
use std::sync::OnceLock;
use std::task::{Context, Poll, Waker};

use http::request::Parts;
use streamgate::config;
use streamgate::gateway::{Gateway, Shared};
use streamgate::metrics::Metrics;
use streamgate::session::Algorithm;
use streamgate::session::mint::{Claims, Signer};
use streamgate::units::Secret;
use streamgate::yaml::{Environment, Scalar};

pub(crate) const SECRET: &str = "a-secret-for-the-bench-0123456789abcdef0123456789abcdef";
const YEAR_S: u64 = 365 * 24 * 3600;

/// The gateway that `yaml` describes. It stands still: nothing listens, no task runs.
pub(crate) fn gateway(yaml: &str) -> Gateway {
    let file = folder().join("gateway.yaml");
    let loaded = config::read(&file, yaml.to_owned(), &Environment::default());
    let loaded = loaded.unwrap_or_else(|report| panic!("{report}"));
    let compiled = Gateway::compile(&loaded, &Shared::default(), &Metrics::new());
    compiled.unwrap_or_else(|report| panic!("{report}")).0
}

/// A request's head, as a player sends it.
pub(crate) fn head(path: &str, token: Option<&str>) -> Parts {
    let mut request = http::Request::get(path).header("host", "tv.example.com");
    request = request.header("user-agent", "AppleCoreMedia/1.0.0 (iPhone; U; CPU OS 18_0)");
    if let Some(token) = token {
        request = request.header("cookie", format!("theme=dark; session={token}"));
    }
    request.body(()).expect("a valid request").into_parts().0
}

/// A token of one account, good for a year.
pub(crate) fn token(algorithm: Algorithm, account: &str) -> String {
    let signer = match pem(algorithm) {
        None => Signer::secret(algorithm, &Secret::read(SECRET).expect("any text is a secret")),
        Some(name) => {
            let key = std::fs::read(folder().join(format!("{name}.pem"))).expect("just written");
            Signer::pem(algorithm, &key, None)
        }
    };
    let now = streamgate::clock::unix_seconds();
    let claims = Claims {
        sub: account.to_owned(),
        sid: Some(format!("{account}-1")),
        iss: Some("streamgate-auth".to_owned()),
        aud: Some("streamgate".to_owned()),
        iat: now,
        exp: now + YEAR_S,
        ..Claims::default()
    };
    signer.and_then(|signer| signer.sign(&claims)).expect("keys of our own making")
}

/// The name of the key files of an algorithm; none: it uses the secret.
pub(crate) fn pem(algorithm: Algorithm) -> Option<&'static str> {
    match algorithm.name() {
        "RS256" => Some("rsa"),
        "ES256" => Some("p256"),
        "EdDSA" => Some("ed25519"),
        _ => None,
    }
}

/// A folder with fresh key pairs, made once.
pub(crate) fn folder() -> &'static PathBuf {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let folder = std::env::temp_dir().join(format!("micro-{}", std::process::id()));
        std::fs::create_dir_all(&folder).expect("the temporary directory can be written");
        let kinds: [(&str, &[&str]); 3] = [
            ("rsa", &["RSA", "-pkeyopt", "rsa_keygen_bits:2048"]),
            ("p256", &["EC", "-pkeyopt", "ec_paramgen_curve:P-256"]),
            ("ed25519", &["ED25519"]),
        ];
        for (name, kind) in kinds {
            let (private, public) = (format!("{name}.pem"), format!("{name}.pub.pem"));
            openssl(&folder, &[&["genpkey", "-out", &private, "-algorithm"], kind].concat());
            openssl(&folder, &["pkey", "-in", &private, "-pubout", "-out", &public]);
        }
        folder
    })
}

fn openssl(folder: &PathBuf, words: &[&str]) {
    let mut command = Command::new("openssl");
    let done = command.args(words).current_dir(folder).stderr(Stdio::null()).status();
    assert!(done.is_ok_and(|status| status.success()), "`openssl` is needed for keys");
}

/// What a future says that has nothing to wait for.
pub(crate) fn now<T>(future: impl Future<Output = T>) -> T {
    match pin!(future).poll(&mut Context::from_waker(Waker::noop())) {
        Poll::Ready(value) => value,
        Poll::Pending => panic!("this one was to answer from memory"),
    }
}

/// A real Redis of our own, on a socket in the folder.
pub(crate) struct Redis {
    child: Child,
    pub(crate) port: u16,
}

impl Redis {
    pub(crate) fn start() -> Self {
        let free = std::net::TcpListener::bind("127.0.0.1:0").and_then(|free| free.local_addr());
        let port = free.expect("a free port").port();
        let mut command = Command::new("redis-server");
        command.args(["--bind", "127.0.0.1", "--save", "", "--appendonly", "no", "--port"]);
        let child = command.arg(port.to_string()).stdout(Stdio::null()).spawn();
        let child = child.expect("`apt-get install redis-server`");
        let redis = Redis { child, port };
        while std::net::TcpStream::connect(("127.0.0.1", port)).is_err() {
            std::thread::yield_now();
        }
        redis
    }
}

impl Drop for Redis {
    fn drop(&mut self) {
        // It may have ended by itself; then nothing is left to do.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
