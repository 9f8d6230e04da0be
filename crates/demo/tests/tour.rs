//! The tour works as printed: every line is run by a shell, and says what the text promises.

use serde_json::Value;
use std::process::Command;
use streamgate::yaml::Environment;

fn shell(command: &str) -> String {
    let output = Command::new("sh").args(["-c", command]).output().expect("a shell");
    assert!(output.status.success(), "{command}: {output:?}");
    String::from_utf8(output.stdout).expect("text")
}

#[test]
fn every_line_of_the_tour_does_what_it_says() {
    let environment = Environment::default()
        .with("STREAMGATE_LISTEN", "127.0.0.1:0")
        .with("STREAMGATE_ADMIN", "127.0.0.1:0");
    let demo = demo::start(environment).expect("the demo starts");
    let jars = tempfile::tempdir().expect("a directory");
    let path = jars.path().display().to_string();
    let stops = demo::tour::stops(demo.edge(), demo.gateway.admin, &path);
    let said: Vec<String> = stops.iter().map(|stop| shell(&stop.command)).collect();

    assert_eq!(said[0], "tv 200\nphone 200\ntablet 200\nlaptop 200\n");
    assert_eq!(said[1], "tv 200\nphone 200\ntablet 200\n");
    let refused: Value = serde_json::from_str(&said[2]).expect("a problem document");
    assert_eq!(refused["code"], "concurrency_limit");
    assert_eq!(refused["streams"].as_array().map(Vec::len), Some(3));
    let listed: Value = serde_json::from_str(&said[3]).expect("a list");
    assert_eq!((&listed["limit"], &listed["active"]), (&3.into(), &3.into()));
    assert_eq!(said[4], "204\n");
    assert!(said[5].contains("200") && said[5].contains("active=3"), "{}", said[5]);
    let (tablet, tv) = said[6].split_once('\n').expect("two answers");
    assert_eq!(tablet, "tablet 200");
    let tv: Value = serde_json::from_str(tv).expect("a problem document");
    assert_eq!(tv["code"], "stream_terminated");
    assert!(said[7].contains("streamgate_stream_leases{policy=\"standard\"} 3"), "{}", said[7]);
    demo.stop();
}
