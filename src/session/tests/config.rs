//! What operators write, and what they are told.

use super::fixture::*;
use crate::problem::{Level, Problem};
use crate::session::{Config, TokenError, Verifier, WhenStoreFails};
use crate::yaml::{self, Entries, Environment};
use serde_json::json;
use std::path::Path;

/// Each error's line, column and text.
fn problems(yaml: &str, base_dir: &Path) -> Vec<(u32, u32, String)> {
    let all = compile(yaml, base_dir).map(|_| ()).expect_err(yaml);
    let errors = all.into_iter().filter(|problem| problem.level == Level::Error);
    let told = errors.map(|Problem { at, text, help, .. }| {
        let at = at.unwrap_or_default();
        assert!(help.is_some(), "no help: {text}");
        (at.line, at.column, text)
    });
    told.collect()
}

fn check(yaml: &str, at: (u32, u32), expected: &str) {
    let all = problems(yaml, Path::new("/nowhere"));
    assert_eq!(all.len(), 1, "{all:?}");
    assert!(all[0].2.contains(expected), "{yaml}: {all:?}");
    assert_eq!((all[0].0, all[0].1), at, "{yaml}: {all:?}");
    assert!(!all[0].2.contains(SECRET));
}

#[test]
fn the_shortest_configuration_has_defaults() {
    let config = parse("keys: [ { hs256: \"${SECRET}\" } ]");
    assert_eq!(config.cookie.0, "session");
    assert_eq!(config.when_store_fails, WhenStoreFails::Open);
    assert_eq!(config.remember.0, 100_000);
    assert!(config.active_in.is_none());
    let shown = serde_json::to_string(&config).unwrap();
    assert!(shown.contains("***") && !shown.contains(SECRET), "{shown}");
}

#[test]
fn each_mistake_is_told_with_its_place() {
    check("keys: []", (1, 7), "1 to 16 keys");
    check("keys: [ { hs256: short } ]", (1, 18), "5 bytes; HS256 needs 32");
    check("keys: [ { hs384: \"a secret of 32 bytes, no more, no\" } ]", (1, 18), "HS384 needs 48");
    check("keys: [ { hs512: \"a secret of 32 bytes, no more, no\" } ]", (1, 18), "HS512 needs 64");
    let pem =
        "keys:\n  - hs256: |\n      -----BEGIN PUBLIC KEY-----\n      AAAAAAAAAAAAAAAAAAAAAA\n";
    check(pem, (3, 7), "no secret");
    check("keys: [ { pem: { alg: RS256, file: key.pem } } ]", (1, 36), "cannot be read");
    check("keys: [ { jwks: { file: set.json } } ]", (1, 25), "cannot be read");
    check("keys: [ { jwks: { refresh: 10m } } ]", (1, 9), "exactly one place");
    check("keys: [ { jwks: { url: \"http://1.2.3.4/\" } } ]", (1, 24), "plain HTTP");
    check("keys: [ { jwks: { url: \"https://u:p@h/\" } } ]", (1, 24), "password");
    check("keys: [ { jwks: { url: \"https://h/\", refresh: 1s } } ]", (1, 47), "10s to 12h");
    check("keys: [ { jwks: { url: \"https://h/\", algorithms: [HS256] } } ]", (1, 51), "no secret");
    let good = "keys: [ { hs256: \"${SECRET}\" } ]\n";
    check(&format!("{good}issuer: \"\""), (2, 9), "empty");
    check(&format!("{good}cookie: \"a b\""), (2, 9), "cookie");
    check(
        &format!("{good}remember: 1000000\nclaims_to_headers: {{ p: Host }}"),
        (3, 25),
        "meaning",
    );
    check(&format!("{good}reissue: {{}}"), (2, 10), "at most");
    let public = "keys: [ { jwks: { url: \"https://h/\" } } ]\nabsolute: 1h\nreissue: {}";
    check(public, (3, 10), "only verify");
    let bounded = format!("{good}absolute: 1h\n");
    check(&format!("{bounded}active_in: s\nreissue: {{}}"), (4, 10), "first token");
    check(&format!("{bounded}reissue: {{ path: a }}"), (3, 18), "path");
    check(&format!("{bounded}reissue: {{ path: \"/;\" }}"), (3, 18), "path");
    check(&format!("{bounded}reissue: {{ domain: a..b }}"), (3, 20), "domain");
    check(&format!("{bounded}reissue: {{ same_site: none, secure: false }}"), (3, 10), "browsers");
    check(&format!("{good}claims_to_headers: {{ p: X-Streamgate-Account }}"), (2, 25), "meaning");
    for taken in ["X-Client-IP", "X-Forwarded-Proto", "Forwarded", "Client-Cert", "Upgrade", "Via"]
    {
        let yaml = format!("{good}claims_to_headers: {{ p: {taken} }}");
        check(&yaml, (2, 25), "a meaning of its own");
    }
    check(&format!("{good}claims_to_headers: {{ p: X_Plan }}"), (2, 25), "`_`");
    check(&format!("{good}claims_to_headers: {{ p: \"X Plan\" }}"), (2, 25), "cannot be");
    check(&format!("{good}claims_to_headers: {{ a: X-A, b: x-a }}"), (2, 33), "two claims");
}

#[test]
fn all_mistakes_are_told_at_once() {
    let yaml = "issuer: \"\"\nkeys:\n  - hs256: short\n  - pem: { alg: HS256, file: x }\n\
                cookie: \"\"\n";
    let lines: Vec<u32> = problems(yaml, Path::new("/nowhere")).iter().map(|it| it.0).collect();
    assert_eq!(lines, [1, 5, 3, 4]);
}

#[test]
fn key_files_are_looked_into() {
    let folder = Folder::new();
    folder.write("private.pem", &RSA.private_pem);
    folder.write("public.pem", &RSA.public_pem);
    folder.write("two.pem", &format!("{}{}", RSA.public_pem, RSA.public_pem));
    let certificate = RSA.public_pem.replace("PUBLIC KEY", "CERTIFICATE");
    folder.write("certificate.pem", &certificate);
    folder.write("empty.pem", "");
    folder.write("empty.json", "{\"keys\":[]}");
    folder.write("broken.pem", &RSA.public_pem.replace("MIIB", "AAAA"));
    let check = |key: &str, expected: &str| {
        let all = compile(&format!("keys: [ {key} ]"), &folder.0).map(|_| ()).expect_err(key);
        assert!(all[0].text.contains(expected), "{key}: {all:?}");
    };
    check("{ pem: { alg: RS256, file: private.pem } }", "private key");
    check("{ pem: { alg: RS256, file: certificate.pem } }", "certificate");
    check("{ pem: { alg: RS256, file: two.pem } }", "exactly one");
    check("{ pem: { alg: RS256, file: empty.pem } }", "exactly one");
    check("{ pem: { alg: RS256, file: broken.pem } }", "no ");
    check("{ pem: { alg: ES256, file: public.pem } }", "no public key for this algorithm");
    check("{ pem: { alg: HS256, file: public.pem } }", "secret");
    check("{ pem: { alg: RS256, file: public.pem, kid: \"\" } }", "name such a key");
    check("{ jwks: { file: empty.json } }", "no key that can be used");
    // A curve's key with its sibling's algorithm.
    folder.write("p256.pem", &Pair::curve(crate::session::Algorithm::Es256).public_pem);
    check("{ pem: { alg: ES384, file: p256.pem } }", "curve");
}

#[test]
fn what_runs_but_is_hardly_meant_is_a_warning() {
    let folder = Folder::new();
    let set = json!({ "keys": [Pair::edwards().jwk("a"), { "kty": "oct", "k": "AA" }] });
    folder.write("set.json", &set.to_string());
    let verifier = compile("keys: [ { jwks: { file: set.json } } ]", &folder.0).unwrap();
    let warnings = verifier.warnings();
    assert!(warnings.iter().all(|warning| warning.level == Level::Warning));
    let texts: Vec<&str> = warnings.iter().map(|warning| warning.text.as_str()).collect();
    assert_eq!(texts.len(), 3, "{texts:?}");
    assert!(texts[0].contains("issuer") && texts[1].contains("audience"));
    assert!(texts[2].contains("key 2"), "{texts:?}");
}

#[test]
fn claims_are_told_with_their_headers() {
    let yaml =
        "keys: [ { hs256: \"${SECRET}\" } ]\nclaims_to_headers: { plan: X-Plan, sub: X-User }";
    let verifier = compile(yaml, Path::new(".")).unwrap();
    let told = verifier.claims_to_headers().iter();
    let told: Vec<_> = told.map(|(claim, header)| (claim.as_str(), header.as_str())).collect();
    assert_eq!(told, [("plan", "x-plan"), ("sub", "x-user")]);
}

#[test]
fn editors_know_every_key() {
    let schema = serde_json::to_string(&schemars::schema_for!(Config)).unwrap();
    for word in ["hs256", "jwks", "allow_http", "EdDSA", "claims_to_headers", "when_store_fails"] {
        assert!(schema.contains(word), "{word}");
    }
}

#[test]
fn the_page_tells_the_truth() {
    let page = include_str!("../../../docs/filters/session.md");
    let blocks = page.split("```yaml\n# fragment of: sessions\n").skip(1);
    let blocks: Vec<&str> = blocks.map(|rest| rest.split("```").next().unwrap()).collect();
    assert_eq!(blocks.len(), 5);
    let env = ["SESSION_SECRET", "SESSION_SECRET_BEFORE", "ACCOUNT_PEPPER"];
    let env = env.into_iter().fold(Environment::default(), |env, name| env.with(name, SECRET));
    for block in blocks {
        let sessions: Entries<Config> = yaml::parse(block, &env).unwrap();
        for (name, config) in sessions.iter() {
            assert_eq!(name.value, "viewers");
            // Everything but the files that the page only speaks of.
            let told = Verifier::compile("viewers", config, &[], Path::new("/nowhere"));
            let all = told.err().unwrap_or_default();
            assert!(all.iter().all(|problem| problem.text.contains("cannot be read")), "{all:?}");
        }
    }
    for reason in TokenError::REASONS {
        assert!(page.contains(&format!("`{reason}`")), "{reason}");
    }
}
