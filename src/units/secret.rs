//! Secrets: they print as `***` everywhere, and what is no secret is refused.
//!
//! A text such as `$SESSION_SECRET` or `{{ .Values.secret }}` is what some other tool should have
//! replaced. It is long enough for a key, and everybody who has seen the file knows it: whoever
//! does could sign. The mistake is told where the file is read, whatever the secret is for.

use super::fingerprint::print_secret;
use crate::yaml::Scalar;
use std::fmt;

/// A text that must not be seen: it prints as `***` everywhere.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// The text itself, for code that computes with it.
    pub fn reveal(&self) -> &str {
        &self.0
    }
}

impl Scalar for Secret {
    const KIND: &'static str = "a secret";
    const EXAMPLE: &'static str = "secret";
    const EXPECTED: &'static str = "a secret, best named by a variable: `${SESSION_SECRET:?why}`";

    fn read(text: &str) -> Result<Self, String> {
        match unfilled(text) {
            Some(why) => Err(why.to_owned()),
            None => Ok(Secret(text.to_owned())),
        }
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        print_secret(&self.0, f)
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// Why a text is not the secret that was meant, but what should have been replaced by it.
pub fn unfilled(text: &str) -> Option<&'static str> {
    let text = text.trim();
    if is_variable(text) {
        return Some(
            "this secret is the name of a variable and not its value: `$NAME`, `$(NAME)` and \
             `%NAME%` are not filled in here, only `${NAME}` is",
        );
    }
    let is_between = |open, close| text.find(open).is_some_and(|at| text[at..].contains(close));
    let is_hash_braced = text.starts_with("#{") && text.ends_with('}');
    if is_between("{{", "}}") || is_between("<%", "%>") || is_hash_braced {
        return Some(
            "this secret is a template that nobody has filled in: `{{ … }}` is text here; have \
             the tool that knows templates write the file, or name a variable: `${NAME}`",
        );
    }
    if is_reference(text) {
        return Some(
            "this secret is a reference to where it is kept, which nothing here follows: have the \
             tool that does fill a variable, and name that: `${NAME}`",
        );
    }
    if is_monotonous(text) {
        return Some(
            "this secret is one or two characters again and again; make one: \
             `openssl rand -hex 32`",
        );
    }
    if is_placeholder(text) {
        return Some(
            "this secret is a placeholder that everybody knows; make one: `openssl rand -hex 32`",
        );
    }
    None
}

/// `$NAME`, `$(NAME)`, `%NAME%`, or a `${…}` that was kept from being filled in. A secret may begin
/// with `$` by chance: what follows it must look like a name.
fn is_variable(text: &str) -> bool {
    let is_name_byte = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_';
    let is_name = |name: &str| {
        name.bytes().all(is_name_byte)
            && name.bytes().next().is_some_and(|first| !first.is_ascii_digit())
    };
    // As `$SECRET-for-tokens`: so many capitals in a row are no chance.
    const CAPITALS_MIN: usize = 3;
    let capitals = |name: &str| name.bytes().take_while(u8::is_ascii_uppercase).count();
    match text.strip_prefix('$') {
        Some(rest) => {
            rest.starts_with(['(', '{']) || is_name(rest) || CAPITALS_MIN <= capitals(rest)
        }
        None => {
            let inner = text.strip_prefix('%').and_then(|rest| rest.strip_suffix('%'));
            inner.is_some_and(is_name)
        }
    }
}

/// How texts begin that tools replace by the secret that is kept there, in small letters.
const REFERENCES: [&str; 14] = [
    "vault:",
    "ref+",
    "op://",
    "sm://",
    "arn:aws:",
    "projects/",
    "@microsoft.keyvault(",
    "secretref:",
    "valuefrom:",
    "enc[",
    "env:",
    "file:",
    "/run/secrets/",
    "/var/run/secrets/",
];

fn is_reference(text: &str) -> bool {
    let begins = |start: &&str| {
        text.get(..start.len()).is_some_and(|begun| begun.eq_ignore_ascii_case(start))
    };
    REFERENCES.iter().any(begins)
}

/// `xxxxxxxx`, `00000000`, `********`.
fn is_monotonous(text: &str) -> bool {
    const CHARS_MIN: usize = 8;
    let mut chars: Vec<char> = text.chars().collect();
    let is_long = CHARS_MIN <= chars.len();
    chars.sort_unstable();
    chars.dedup();
    is_long && chars.len() <= 2
}

/// What people write where a secret shall come, by the words in it without signs and case.
const PLACEHOLDERS: [&str; 13] = [
    "changeme",
    "changethis",
    "replaceme",
    "replacethis",
    "placeholder",
    "yoursecret",
    "yourkeyhere",
    "insertsecret",
    "todosecret",
    "todoput",
    "insertyour",
    "redacted",
    "examplesecret",
];

fn is_placeholder(text: &str) -> bool {
    let is_bracketed = (text.starts_with('<') && text.ends_with('>'))
        || (4 < text.len() && text.starts_with("__") && text.ends_with("__"));
    let letters: String =
        text.chars().filter(char::is_ascii_alphabetic).map(|c| c.to_ascii_lowercase()).collect();
    is_bracketed || PLACEHOLDERS.iter().any(|word| letters.contains(word))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn secrets_never_print() {
        let secret = Secret::read("abc").expect("any text is a secret");
        assert_eq!(format!("{secret} {secret:?}"), "*** ***");
        assert_eq!(serde_json::to_string(&secret).expect("a text"), "\"***\"");
    }

    #[test]
    fn what_should_have_been_replaced_is_no_secret() {
        for (text, why) in [
            ("$STREAMGATE_SESSION_SIGNING_SECRET_KEY", "variable"),
            ("$session_secret_of_the_gateway_2026", "variable"),
            ("$SECRET-for-the-tokens-of-sessions", "variable"),
            ("$(SESSION_SECRET_OF_THE_CLUSTER_123)", "variable"),
            ("${SESSION_SECRET_THAT_WAS_ESCAPED_X}", "variable"),
            ("%SESSION_SECRET_OF_THE_WINDOWS_BOX%", "variable"),
            ("{{ .Values.streamgate.session.secret }}", "template"),
            ("prefix-{{ secret_of_the_vault_2026 }}", "template"),
            ("<%= ENV['SESSION_SECRET_OF_THE_APP'] %>", "template"),
            ("changemechangemechangemechangemechange", "placeholder"),
            ("Please-Change_Me-before-production-1", "placeholder"),
            ("REPLACE-THIS-WITH-A-REAL-SECRET-0123", "placeholder"),
            ("<put the session's secret in here ok>", "placeholder"),
            ("__SESSION_SECRET_OF_THE_DEPLOYMENT__", "placeholder"),
            (" your-secret-of-at-least-32-bytes-here", "placeholder"),
            ("insert-your-own-secret-here-0123456789", "placeholder"),
            ("[REDACTED]-[REDACTED]-[REDACTED]-[REDA]", "placeholder"),
            ("TODO: put the secret of the session here", "placeholder"),
            ("#{secret_from_the_deployment_variables}", "template"),
            ("ENC[AES256_GCM,data:abcdefgh,iv:x,tag:y]", "reference"),
            ("vault:secret/data/streamgate#signing_key", "reference"),
            ("ref+awsssm://streamgate/session-secret/1", "reference"),
            ("@Microsoft.KeyVault(SecretUri=https://x)", "reference"),
            ("op://vault/streamgate/session/secret/key", "reference"),
            ("arn:aws:secretsmanager:eu-west-1:1:secret", "reference"),
            ("/run/secrets/session-secret-of-streamgate", "reference"),
            ("env:SESSION_SECRET_OF_THE_DEPLOYMENT_123", "reference"),
            ("xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "again"),
            ("0000000000000000000000000000000000000000", "again"),
            ("abababababababababababababababababababab", "again"),
        ] {
            let told = Secret::read(text).expect_err(text);
            assert!(told.contains(why), "{text}: {told}");
            assert!(!told.contains(text.trim()), "{told}");
        }
        for text in [
            "0123456789abcdef0123456789abcdef-session",
            "a secret of thirty-two bytes or more",
            "$2b$12$KIXQJ8rT1vqz7dY0oZrJ6eN9f3mZp",
            "$k;93)dm%Kd{jf}8$LQ<zz>__pp%%dkRTz",
            "a{b}c$NAME%d",
            "environment:of-the-vault-of-thirty-two",
            "aab",
            "MTIzNDU2Nzg5MDEyMzQ1Njc4OTAxMjM0NTY3ODk=",
            "x",
            "",
        ] {
            assert!(Secret::read(text).is_ok(), "{text}");
        }
    }
}
