//! Whatever head a client sends is read or refused; nothing panics, and a head that passed can be
//! read by routes and filters.

#![no_main]

use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Uri, header};
use libfuzzer_sys::fuzz_target;
use streamgate::request::{Request, cookie, head};

fuzz_target!(|bytes: &[u8]| {
    let Some(parts) = parts(bytes) else { return };
    let Ok(announced) = head::check(&parts, head::HeadSizes::default()) else { return };
    assert!(announced == 0 || !parts.headers.contains_key(header::TRANSFER_ENCODING));
    let Ok(mut request) = Request::read(&parts) else { return };
    request.split_path_token();
    assert!(request.path.starts_with('/'), "a path begins with `/`");
    assert_eq!(
        cookie::values(&parts.headers, "session").count(),
        request.cookies("session").count()
    );
});

/// A request line and header fields, one a line, as far as they can be put into a head at all.
fn parts(bytes: &[u8]) -> Option<Parts> {
    let mut lines = bytes.split(|byte| *byte == b'\n');
    let line = lines.next()?;
    let space = line.iter().position(|byte| *byte == b' ')?;
    let target = &line[space + 1..];
    let (mut parts, ()) = http::Request::new(()).into_parts();
    parts.method = Method::from_bytes(&line[..space]).ok()?;
    parts.uri = Uri::try_from(target).ok()?;
    for field in lines {
        let colon = field.iter().position(|byte| *byte == b':')?;
        let name = HeaderName::from_bytes(&field[..colon]).ok()?;
        let value = HeaderValue::from_bytes(field[colon + 1..].trim_ascii()).ok()?;
        parts.headers.append(name, value);
    }
    Some(parts)
}
