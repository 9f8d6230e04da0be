//! What is excused, and why. The table is data; an entry that excuses nothing any more must go.

use crate::finding::Finding;

/// One finding that stays, with its reason.
#[derive(Debug, Clone, Copy)]
pub struct Exception {
    pub rule: &'static str,
    pub file: &'static str,
    /// Part of what the finding says is wrong, such as the function's name.
    pub about: &'static str,
    /// Why this place is better off without the rule.
    pub reason: &'static str,
}

pub const EXCEPTIONS: &[Exception] = &[
    Exception {
        rule: "script",
        file: "crates/tidy/src/script.rs",
        about: "Lua in a Rust string",
        reason: "these are the words that the rule looks for",
    },
    Exception {
        rule: "size",
        file: "src/metrics.rs",
        about: "`new` has",
        reason: "the table of metrics: one entry per family, with its help and labels",
    },
];

impl Exception {
    fn excuses(&self, finding: &Finding) -> bool {
        self.rule == finding.rule && self.file == finding.file && finding.wrong.contains(self.about)
    }
}

/// The findings that no exception covers.
pub fn inexcusable(findings: Vec<Finding>, exceptions: &[Exception]) -> Vec<Finding> {
    let excused = |finding: &Finding| exceptions.iter().any(|entry| entry.excuses(finding));
    findings.into_iter().filter(|finding| !excused(finding)).collect()
}

/// The exceptions that cover no finding, or give no reason.
pub fn stale<'a>(findings: &[Finding], exceptions: &'a [Exception]) -> Vec<&'a Exception> {
    let used = |entry: &Exception| findings.iter().any(|finding| entry.excuses(finding));
    exceptions.iter().filter(|entry| !used(entry) || entry.reason.is_empty()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_covers_one_place_and_goes_stale() {
        let finding = |file: &str| Finding {
            rule: "size",
            file: file.to_owned(),
            line: 1,
            wrong: "`table` has 90 lines".to_owned(),
            right: String::new(),
        };
        let reason = "one row per flag reads better whole";
        let table = [Exception { rule: "size", file: "src/a.rs", about: "`table`", reason }];
        let findings = vec![finding("src/a.rs"), finding("src/b.rs")];
        assert!(stale(&findings, &table).is_empty());
        assert_eq!(stale(&findings[1..], &table).len(), 1);
        assert_eq!(inexcusable(findings, &table).len(), 1);
    }
}
