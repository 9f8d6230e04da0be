//! Flags and environment, read into [`Settings`]. A problem is one sentence that says what would
//! be right, and never repeats a secret.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::str::FromStr;
use std::sync::Arc;
use std::time::Duration;

use auth::account::Seed;
use auth::session::TokensOnly;
use auth::session::redis::RedisSessions;
use auth::signing::{KeyPair, SigningError};
use auth::{AccountsAt, Lifetime, Secure, SessionStore, Settings, Signing};
use clap::{Args, Parser, Subcommand, ValueEnum};

/// Largest key or secret file, in bytes.
const KEY_BYTES_MAX: u64 = 64 * 1024;

/// Login, refresh and logout for viewers behind a gateway.
///
/// It signs with the secret in SESSION_SECRET (or --session-secret-file), or with a key pair
/// (--signing-key). Secrets are read from the environment and from files, not from flags.
#[derive(Parser)]
#[command(name = "auth", version)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) verb: Option<Verb>,
    /// Where to listen.
    #[arg(long, env = "AUTH_LISTEN", default_value = "127.0.0.1:4001", global = true)]
    pub(crate) listen: SocketAddr,
    /// Where accounts are kept: `memory`, or the path of a SQLite file.
    #[arg(long = "accounts", env = "AUTH_ACCOUNTS_AT", default_value = "memory", global = true)]
    accounts: String,
    /// Accounts that shall exist: name:password[:tier[:max_streams]], separated by spaces.
    #[arg(long = "account", env = "AUTH_ACCOUNTS", hide_env_values = true, global = true)]
    seeds: Vec<String>,
    /// A file with the HS256 secret that the gateway knows too; else SESSION_SECRET is read.
    #[arg(long, env = "SESSION_SECRET_FILE", global = true)]
    session_secret_file: Option<PathBuf>,
    /// A PEM file with a private key, instead of a secret.
    #[arg(long, env = "AUTH_SIGNING_KEY", global = true)]
    signing_key: Option<PathBuf>,
    /// The key's algorithm: ES256, RS256 or EdDSA.
    #[arg(long, env = "AUTH_SIGNING_ALGORITHM", global = true)]
    signing_algorithm: Option<KeyPair>,
    /// Further keys that are accepted and published but do not sign, as ES256:FILE: the last one
    /// and the next one while keys rotate. A former secret is read from SESSION_SECRET_FORMER.
    #[arg(long = "accepted-key", env = "AUTH_ACCEPTED_KEYS", value_delimiter = ',', global = true)]
    accepted_keys: Vec<AcceptedKey>,
    /// The Redis or Valkey that the gateway reads sessions from.
    #[arg(long, env = "REDIS_URL", hide_env_values = true, global = true)]
    redis_url: Option<String>,
    /// Do without a session store: sessions then live only in their tokens, and a logout ends
    /// none of them elsewhere.
    #[arg(long, env = "AUTH_TOKENS_ONLY", global = true)]
    tokens_only: bool,
    /// The `iss` claim.
    #[arg(long, env = "AUTH_ISSUER", default_value = "streamgate-auth", global = true)]
    issuer: String,
    /// The `aud` claim.
    #[arg(long, env = "AUTH_AUDIENCE", default_value = "streamgate", global = true)]
    audience: String,
    /// How long a session lasts after its last refresh, in seconds.
    #[arg(long, env = "AUTH_IDLE_SECONDS", default_value_t = 12 * 3600, global = true)]
    idle_seconds: u64,
    /// How long a session lasts after its login, however often it is refreshed, in seconds.
    #[arg(long, env = "AUTH_ABSOLUTE_SECONDS", default_value_t = 7 * 24 * 3600, global = true)]
    absolute_seconds: u64,
    /// How long the store's key lives after a login or refresh, in seconds, where gateways carry it
    /// on while the session is used: the same as their `idle`. Left out, as long as the token.
    #[arg(long, env = "AUTH_SLIDING_SECONDS", global = true)]
    sliding_seconds: Option<u64>,
    /// When the cookie is marked Secure.
    #[arg(long, env = "AUTH_COOKIE_SECURE", value_enum, default_value = "always", global = true)]
    cookie_secure: SecureWhen,
    /// Origins besides our own from which browsers may log in, as https://www.example.com.
    #[arg(
        long = "allowed-origin",
        env = "AUTH_ALLOWED_ORIGINS",
        value_delimiter = ',',
        global = true
    )]
    allowed_origins: Vec<String>,
    /// How many proxies in front append to X-Forwarded-For; with 0 the field is not read.
    #[arg(long, env = "AUTH_TRUSTED_HOPS", default_value_t = 1, global = true)]
    trusted_hops: usize,
}

#[derive(Subcommand)]
pub(crate) enum Verb {
    /// Serve (the default).
    Run,
    /// Add an account to a file database; the password comes from AUTH_PASSWORD or stdin.
    AddAccount(AddAccount),
    /// Ask the service at --listen whether it is well; exit 0 or 1.
    Healthcheck,
}

#[derive(Args)]
pub(crate) struct AddAccount {
    /// The account's name.
    pub(crate) name: String,
    /// Its tier.
    #[arg(long, default_value = auth::account::TIER_DEFAULT)]
    pub(crate) tier: String,
    /// How many streams may play at once; left out, the gateway's policy decides.
    #[arg(long)]
    pub(crate) max_streams: Option<u32>,
    /// Give an account that exists this password, tier and limit.
    #[arg(long)]
    pub(crate) replace: bool,
    #[arg(skip = std::env::var("AUTH_PASSWORD").ok())]
    pub(crate) password: Option<String>,
}

#[derive(Clone, Copy, ValueEnum)]
enum SecureWhen {
    Always,
    Auto,
    Never,
}

/// A key beside the one that signs.
#[derive(Clone)]
struct AcceptedKey {
    pair: KeyPair,
    path: PathBuf,
}

impl FromStr for AcceptedKey {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let (pair, path) = text.split_once(':').ok_or("it is written ALGORITHM:FILE")?;
        let pair = pair.parse().map_err(|problem: SigningError| problem.to_string())?;
        Ok(Self { pair, path: path.into() })
    }
}

impl Arguments {
    /// Where accounts are kept.
    pub(crate) fn accounts_at(&self) -> AccountsAt {
        match self.accounts.as_str() {
            "memory" => AccountsAt::Memory,
            path => AccountsAt::File(path.into()),
        }
    }

    /// Call within a Tokio runtime: the session store's connection belongs to it.
    pub(crate) fn settings(self) -> Result<Settings, String> {
        program::on_one_side("--account", self.seeds.len())?;
        program::on_one_side("--accepted-key", self.accepted_keys.len())?;
        program::on_one_side("--allowed-origin", self.allowed_origins.len())?;
        let mut settings = Settings::new(self.signing()?, self.sessions()?);
        settings.accounts = self.accounts_at();
        let seeds = self.seeds.iter().flat_map(|texts| texts.split_whitespace());
        for (index, text) in seeds.enumerate() {
            let seed: Seed = text
                .parse()
                .map_err(|problem| format!("account {} of --account: {problem}", index + 1))?;
            settings.seeds.push(seed);
        }
        if self.idle_seconds == 0 || self.absolute_seconds == 0 {
            return Err("a session lasts one second or more".to_owned());
        }
        if self.sliding_seconds == Some(0) {
            return Err("a session that slides lasts one second or more".to_owned());
        }
        if self.sliding_seconds.is_some() && self.tokens_only {
            return Err(
                "--sliding-seconds needs a store in which gateways carry sessions on: set \
                 REDIS_URL"
                    .to_owned(),
            );
        }
        settings.lifetime = Lifetime {
            idle: Duration::from_secs(self.idle_seconds),
            absolute: Duration::from_secs(self.absolute_seconds),
            sliding: self.sliding_seconds.map(Duration::from_secs),
        };
        settings.issuer = self.issuer;
        settings.audience = self.audience;
        settings.cookie_secure = match self.cookie_secure {
            SecureWhen::Always => Secure::Always,
            SecureWhen::Auto => Secure::Auto,
            SecureWhen::Never => Secure::Never,
        };
        settings.allowed_origins = self.allowed_origins;
        settings.trusted_hops = self.trusted_hops;
        Ok(settings)
    }

    /// The key that signs, and those that are accepted beside it.
    fn signing(&self) -> Result<Signing, String> {
        let text = |problem: SigningError| problem.to_string();
        let mut signing = self.signing_key()?;
        if let Ok(former) = std::env::var("SESSION_SECRET_FORMER") {
            let former = Signing::hs256(former.as_bytes()).map_err(text)?;
            signing = signing.accepting(former).map_err(text)?;
        }
        for AcceptedKey { pair, path } in &self.accepted_keys {
            let accepted = Signing::pem(*pair, &small_file(path)?).map_err(text)?;
            signing = signing.accepting(accepted).map_err(text)?;
        }
        Ok(signing)
    }

    fn signing_key(&self) -> Result<Signing, String> {
        let secret = std::env::var("SESSION_SECRET").ok();
        let text = |problem: SigningError| problem.to_string();
        match (&self.signing_key, &self.session_secret_file, secret) {
            (Some(path), None, None) => {
                let pair = self.signing_algorithm.ok_or("--signing-key needs its algorithm")?;
                Signing::pem(pair, &small_file(path)?).map_err(text)
            }
            (None, Some(path), None) => {
                Signing::hs256(small_file(path)?.trim_ascii_end()).map_err(text)
            }
            (None, None, Some(secret)) => Signing::hs256(secret.as_bytes()).map_err(text),
            (None, None, None) => Err("nothing to sign with: set SESSION_SECRET to 32 bytes or \
                 more, or name a --session-secret-file or a --signing-key"
                .to_owned()),
            _ => Err("more than one thing to sign with: give one of SESSION_SECRET, \
                 --session-secret-file and --signing-key"
                .to_owned()),
        }
    }

    fn sessions(&self) -> Result<Arc<dyn SessionStore>, String> {
        match &self.redis_url {
            Some(_) if self.tokens_only => Err("--tokens-only does without what --redis-url \
                 names: leave one of them out"
                .to_owned()),
            Some(url) => {
                let opened = RedisSessions::new(url);
                Ok(Arc::new(opened.map_err(|problem| {
                    format!(
                        "REDIS_URL is written redis://[user:password@]host:port[/db]: {problem}"
                    )
                })?))
            }
            None if self.tokens_only => {
                eprintln!("auth: sessions live only in their tokens: a logout ends none elsewhere");
                Ok(Arc::new(TokensOnly))
            }
            None => Err("nowhere to write sessions: set REDIS_URL to the store that the gateway \
                 reads, or say --tokens-only"
                .to_owned()),
        }
    }
}

fn small_file(path: &PathBuf) -> Result<Vec<u8>, String> {
    let named = |problem: std::io::Error| format!("{}: {problem}", path.display());
    if std::fs::metadata(path).map_err(named)?.len() > KEY_BYTES_MAX {
        return Err(format!("{}: no key is larger than {KEY_BYTES_MAX} bytes", path.display()));
    }
    std::fs::read(path).map_err(named)
}
