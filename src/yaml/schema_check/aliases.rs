//! Keys of other gateways, and what they are called here, or why there is no such thing.

/// A word, the key that must be possible there, and the advice.
const ALIASES: &[(&str, &str, &str)] = &[
    ("backend", "upstream", "it is called `upstream` here"),
    ("backends", "upstreams", "they are called `upstreams` here"),
    ("clusters", "upstreams", "they are called `upstreams` here"),
    ("cluster", "upstream", "it is called `upstream` here"),
    ("proxy_pass", "upstream", "it is called `upstream` here"),
    ("services", "upstreams", "servers are called `upstreams` here"),
    ("servers", "endpoints", "they are called `endpoints` here"),
    ("targets", "endpoints", "they are called `endpoints` here"),
    ("nodes", "endpoints", "they are called `endpoints` here"),
    ("middlewares", "filters", "they are called `filters` here"),
    ("plugins", "filters", "they are called `filters` here"),
    ("prefix", "path", "write the path with the rest: `path: \"/live/{*rest}\"`"),
    ("location", "match", "it is called `match` here"),
    ("headers", "header", "it is called `header` here"),
    ("timeout", "timeouts", "it is called `timeouts` here"),
    ("listen", "address", "it is called `address` here"),
    ("port", "address", "write it with the address: `address: \"127.0.0.1:8080\"`"),
    ("secret", "hs256", "name the algorithm: `hs256: …`"),
    ("rs256", "pem", "a public key is in a file: `pem: { alg: RS256, file: … }`"),
    ("es256", "pem", "a public key is in a file: `pem: { alg: ES256, file: … }`"),
    ("eddsa", "pem", "a public key is in a file: `pem: { alg: EdDSA, file: … }`"),
    ("max", "default", "write `limit: { default: 3 }`"),
    ("server", "listeners", "addresses are under `listeners`, servers behind under `upstreams`"),
    ("log", "access_log", "it is called `access_log` here"),
    ("logging", "access_log", "it is called `access_log` here"),
    ("redis", "stores", "write `stores: { shared: { url: \"redis://…\" } }`"),
    ("database", "stores", "they are called `stores` here"),
    ("jwt", "sessions", "who issues tokens, and how they are proven, is under `sessions`"),
    ("jwt", "session", "it is called `session` here"),
    ("auth", "sessions", "who issues tokens, and how they are proven, is under `sessions`"),
    ("auth", "session", "it is called `session` here"),
    ("limits", "concurrency", "limits of streams are under `concurrency`"),
    ("server_name", "host", "it is called `host` here"),
    ("domain", "host", "it is called `host` here"),
    ("request_headers", "request", "it is called `request` here"),
    ("response_headers", "response", "it is called `response` here"),
    ("answer", "response", "it is called `response` here"),
    ("append", "add", "it is called `add` here"),
    ("delete", "remove", "it is called `remove` here"),
    ("hide", "remove", "it is called `remove` here"),
    ("suffix", "extension", "it is called `extension` here"),
    ("extensions", "extension", "it is called `extension` here"),
    ("path_end", "extension", "it is called `extension` here"),
    ("ips", "addresses", "they are called `addresses` here"),
    ("ranges", "addresses", "they are called `addresses` here"),
    ("cidrs", "addresses", "they are called `addresses` here"),
    ("cidr", "addresses", "they are called `addresses` here"),
    ("body", "text", "it is called `text` here, or `json`"),
    ("code", "status", "it is called `status` here"),
    ("url", "to", "it is called `to` here"),
    ("location", "to", "it is called `to` here"),
    ("strip_prefix", "strip", "it is called `strip` here"),
    ("allow_origins", "origins", "they are called `origins` here"),
    ("allow_origin", "origins", "they are called `origins` here"),
    ("allowed_origins", "origins", "they are called `origins` here"),
    ("origin", "origins", "they are called `origins` here"),
    ("allow_methods", "methods", "they are called `methods` here"),
    ("allowed_methods", "methods", "they are called `methods` here"),
    ("allow_credentials", "credentials", "they are called `credentials` here"),
    ("headers", "allow_headers", "they are called `allow_headers` here"),
    ("allowed_headers", "allow_headers", "they are called `allow_headers` here"),
    ("exposed_headers", "expose_headers", "they are called `expose_headers` here"),
    ("expose", "expose_headers", "they are called `expose_headers` here"),
    ("timing_allow_origins", "timing", "write `timing: true`"),
    ("preset", "presets", "they are called `presets` here"),
    ("import", "include", "it is called `include` here"),
    ("imports", "include", "it is called `include` here"),
    ("retry", "retries", RETRIES),
    ("attempts", "retries", RETRIES),
    ("num_retries", "retries", RETRIES),
    ("outlier_detection", "eject", EJECT),
    ("max_fails", "eject", EJECT),
    ("passive", "eject", EJECT),
    ("lb_policy", "balance", BALANCE),
    ("lb", "balance", BALANCE),
    ("load_balancer", "balance", BALANCE),
    ("load_balancing", "balance", BALANCE),
    ("loadbalancer", "balance", BALANCE),
    ("strategy", "balance", BALANCE),
    ("algorithm", "balance", BALANCE),
    ("connect_timeout", "timeouts", "it is written `timeouts: { connect: 2s }`"),
    ("proxy_connect_timeout", "timeouts", "it is written `timeouts: { connect: 2s }`"),
    ("idle_timeout", "timeouts", "it is written `timeouts: { idle: 60s }`"),
    ("keepalive_timeout", "timeouts", "it is written `timeouts: { idle: 60s }`"),
    ("max_connections", "in_flight", "requests under way are bounded: `in_flight: 1024`"),
    ("max_requests", "in_flight", "requests under way are bounded: `in_flight: 1024`"),
    (
        "max_pending_requests",
        "in_flight",
        "no request waits here: `in_flight` bounds those under way",
    ),
    (
        "maxconn",
        "in_flight",
        "requests of a server are bounded: `in_flight: { per_endpoint: 256 }`",
    ),
    ("adaptive_concurrency", "in_flight", "write `in_flight: { max: 1024, adaptive: {} }`"),
    ("circuit_breaker", "breaker", BREAKER),
    ("circuit_breakers", "breaker", BREAKER),
    ("circuitBreaker", "breaker", BREAKER),
    ("health_check", "health", "it is called `health` here: `health: { path: /healthz }`"),
];

const RETRIES: &str = "it is called `retries` here: `retries: { tries: 2, budget: 20% }`";

const EJECT: &str = "it is called `eject` here: `eject: { failures: 5, for: 10s }`";

const BREAKER: &str = "it is called `breaker` here: `breaker: { ratio: 50%, for: 5s }`";

const BALANCE: &str = "it is called `balance` here: `least_in_flight`, `round_robin`, \
     `{ hash: { by: account } }` or `{ sticky: { cookie: at } }`";

/// A word that many try, a key beside which it is tried (or nothing), and a sentence. A word that
/// is known where it stands is not looked for here.
const ABSENT: &[(&[&str], &str, &str)] = &[
    (
        &["ssl", "https", "certificate", "certificates", "cert", "acme", "ssl_certificate"],
        "address",
        "TLS at a listener is written `tls: { certificates: [ { cert: …, key: … } ] }`",
    ),
    (
        &["ssl", "https", "verify", "sni"],
        "endpoints",
        "TLS to an upstream is written `tls: { name: …, ca: … }`, and is always verified",
    ),
    (
        &["tls", "ssl", "https", "certificates", "acme"],
        "listeners",
        "TLS belongs to a listener: `tls: { certificates: [ { cert: …, key: … } ] }`",
    ),
    (
        &["cache", "caching", "proxy_cache", "cache_control"],
        "",
        "answers are not cached here: a cache stands in front of the gateway or behind it",
    ),
    (
        &["rate_limit", "ratelimit", "rate_limits", "limit_req", "rate", "throttle"],
        "",
        "write a filter: `- rate_limit: { limit: 50, per: 1s }`; `concurrency` limits streams",
    ),
    (&["limit_conn", "max_connections"], "", "`concurrency` limits streams, not connections"),
    (
        &[
            "rewrite",
            "rewrites",
            "strip_prefix",
            "stripprefix",
            "strip_path",
            "url_rewrite",
            "prefix_rewrite",
            "path_rewrite",
            "replace_path",
            "strip",
        ],
        "upstream",
        "a route rewrites: `rewrite: { strip: /live }`, `prefix: { from: …, to: … }` or `path: …`",
    ),
    (
        &["respond", "response", "return", "direct_response", "static_response", "files", "root"],
        "upstream",
        "a route answers by itself: `respond: { status: 403, text: … }`; files are not served",
    ),
    (
        &[
            "headers",
            "request_headers",
            "response_headers",
            "add_header",
            "add_headers",
            "set_headers",
            "proxy_set_header",
            "remove_headers",
            "header",
        ],
        "",
        "write a filter of the route: `- headers: { response: { set: { name: value } } }`",
    ),
    (
        &["cors"],
        "",
        "write a filter of the route: `- cors: { origins: [ \"https://app.example\" ] }`",
    ),
    (
        &["require", "required", "requires", "roles", "role", "scopes", "claims", "allow_missing"],
        "",
        "a filter `session` asks for a valid session; what its claims allow, the upstream decides",
    ),
    (
        &["auth_request", "forward_auth", "forwardauth", "ext_authz", "authorize"],
        "",
        "nobody is asked about each request: a filter `session` proves the token itself",
    ),
    (
        &["api_key", "apikey", "key_auth", "basic_auth", "basicauth", "signed_url", "secure_link"],
        "",
        "logins are proven by session tokens alone",
    ),
    (
        &["include", "includes", "import", "imports", "extends"],
        "",
        "files are joined by `include` at the first one's root; what repeats within one can be \
         kept under `x-…: &name` and named by `*name`",
    ),
    (
        &["defaults", "default", "templates", "common", "anchors"],
        "listeners",
        "keys of your own begin with `x-`: `x-defaults: &name …`, and `*name` repeats it",
    ),
    (&["gzip", "compress", "compression", "brotli"], "", "answers pass as the upstream sent them"),
    (
        &["retry_on", "retries", "retry", "attempts", "num_retries", "proxy_next_upstream"],
        "",
        "what may be sent again is said of the upstream, `retries: { tries: 2 }`; it is what is \
         safe: no answer has begun, and the method may be repeated",
    ),
    (&["websocket", "websockets", "upgrade"], "", "a route grants WebSockets: `websocket: true`"),
    (
        &["timeouts", "timeout", "read_timeout", "proxy_read_timeout"],
        "upstream",
        "it stands under `timeouts`, of a route or its upstream: `timeouts: { read: 30s }`",
    ),
    (&["priority", "order", "rank"], "match", "the most specific route wins; no order is needed"),
    (
        &["regex", "path_regex", "regexp", "path_prefix", "pathprefix"],
        "path",
        "patterns are not known here: `path: \"/live/{event}/{*rest}\"`",
    ),
    (&["env", "environment", "vars", "variables"], "", "write `${NAME}` where the value stands"),
    (
        &["apiversion", "kind", "metadata", "spec", "version"],
        "listeners",
        "this file has no envelope: it begins with `listeners`, `upstreams` and `routes`",
    ),
    (&["log_level", "loglevel", "debug", "verbose"], "", "`RUST_LOG` says what is logged"),
    (&["allow", "deny", "ip_allow", "whitelist", "blacklist", "access"], "", ADDRESSES),
];

const ADDRESSES: &str =
    "write a filter: `- allow: { addresses: [ \"10.0.0.0/8\" ] }`, or `- deny: …`";

/// Why there is nothing of the name `written` where `known` is possible.
pub(super) fn absent(written: &str, known: &[&str]) -> Option<&'static str> {
    let written = written.to_ascii_lowercase().replace('-', "_");
    let is_it = |(words, beside, _): &&(&[&str], &str, &str)| {
        words.contains(&written.as_str()) && (beside.is_empty() || known.contains(beside))
    };
    ABSENT.iter().find(is_it).map(|(.., sentence)| *sentence)
}

/// Which of `known` a key of another gateway stands for, and the advice.
pub(super) fn meant<'s>(written: &str, known: &[&'s str]) -> Option<(&'s str, &'static str)> {
    let written = written.to_ascii_lowercase();
    let mut all = ALIASES.iter().filter(|(word, ..)| *word == written);
    all.find_map(|(_, key, advice)| {
        Some((known.iter().copied().find(|known| known == key)?, *advice))
    })
}
