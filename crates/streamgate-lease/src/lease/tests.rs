//! What the words promise: ids are strict and unambiguous, labels are bounded.

use super::*;

#[test]
fn an_id_reads_back_what_it_prints() {
    for n in 0..100 {
        let id = LeaseId::of(&n.to_string(), None);
        assert_eq!(id.to_string().len(), 22);
        assert_eq!(id.to_string().parse(), Ok(id));
        assert_eq!(LeaseId::from_bytes(*id.bytes()), id);
    }
}

#[test]
fn an_id_is_never_ambiguous() {
    let pairs = [("ab", Some("c")), ("a", Some("bc")), ("abc", None), ("abc", Some(""))];
    for (n, a) in pairs.iter().enumerate() {
        for b in &pairs[n + 1..] {
            assert_ne!(LeaseId::of(a.0, a.1), LeaseId::of(b.0, b.1), "{a:?} {b:?}");
        }
    }
}

#[test]
fn an_id_is_parsed_strictly() {
    let good = LeaseId::from_bytes([0; 16]).to_string();
    assert_eq!(good, "AAAAAAAAAAAAAAAAAAAAAA");
    let bad = [
        "",
        "AAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAAA",
        "AAAAAAAAAAAAAAAAAAAAAB",
        "AAAAAAAAAAAAAAAAAAAA==",
        "AAAAAAAAAAA+AAAAAAAAAA",
        "AAAAAAAAAAA AAAAAAAAAA",
        "ääääääääääA",
    ];
    for text in bad {
        assert!(text.parse::<LeaseId>().is_err(), "{text:?}");
    }
}

#[test]
fn labels_are_cut_between_characters() {
    let long = "ü".repeat(200);
    let about = About::new(Some(&long), Some(&long));
    assert_eq!(about.device().map(|text| text.chars().count()), Some(64));
    assert_eq!(about.title().map(|text| text.chars().count()), Some(128));
    assert!(About::new(None, None).is_empty());
}
