//! What is matched is what is sent: a normalised path stays as it is when it is normalised again.

#![no_main]

use libfuzzer_sys::fuzz_target;
use streamgate::request::normalise;

fuzz_target!(|path: &str| {
    let Ok(once) = normalise(path) else { return };
    assert!(once.starts_with('/'), "{path:?} became {once:?}");
    assert_eq!(normalise(&once).as_deref(), Ok(&*once), "of {path:?}");
    let has_dots = once.split('/').any(|segment| matches!(segment, "." | ".."));
    assert!(!has_dots, "{path:?} became {once:?}");
});
