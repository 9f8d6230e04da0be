//! Runs every house rule over the whole repository, one test per rule.

use std::path::Path;
use std::sync::LazyLock;

use tidy::exception::{EXCEPTIONS, inexcusable, stale};
use tidy::finding::Finding;
use tidy::tree::Tree;
use tidy::{
    border, circle, floor, glossary, island, name, paper, proof, roster, script, size, word,
};

static TREE: LazyLock<Tree> = LazyLock::new(|| {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    Tree::open(&root).expect("the repository can be read")
});

type Rule = fn(&Tree) -> Vec<Finding>;

/// Makes one test per rule, and the list of all of them.
macro_rules! rules {
    ($($title:ident => $rule:path,)+) => {
        const RULES: &[Rule] = &[$($rule),+];
        $(
            #[test]
            fn $title() {
                let findings = inexcusable($rule(&TREE), EXCEPTIONS);
                let report: Vec<_> = findings.iter().map(|it| format!("\n{it}")).collect();
                assert!(findings.is_empty(), "{} found:{}", findings.len(), report.concat());
            }
        )+
    };
}

rules! {
    borders_hold => border::borders,
    denials_are_documented => roster::denials,
    every_file_has_a_head => name::heads,
    every_module_is_declared => island::orphans,
    files_are_in_no_circle => circle::files,
    files_are_named_by_a_noun => name::files,
    files_fit => size::files,
    filters_are_complete => roster::filters,
    functions_fit_on_a_screen => size::functions,
    glossary_lists_no_idle_word => glossary::known,
    glossary_rows_are_in_the_code => glossary::rows,
    imports_point_down => floor::imports,
    islands_know_no_strangers => island::strangers,
    items_are_named_by_what_they_are => name::items,
    lines_fit => size::lines,
    lints_are_silenced_with_a_reason => word::silence,
    links_lead_somewhere => paper::links,
    lua_is_no_string => script::strings,
    metrics_are_documented => roster::metrics,
    no_unfinished_work_is_marked => word::marks,
    no_words_that_must_not_be => word::code,
    pages_have_one_title => paper::titles,
    public_types_are_named_by_known_words => glossary::types,
    scripts_have_a_head => script::heads,
    scripts_have_one_caller => script::callers,
    tests_do_not_sleep => proof::sleeps,
    tests_take_the_port_they_get => proof::ports,
}

#[test]
fn exceptions_still_apply() {
    let findings: Vec<_> = RULES.iter().flat_map(|rule| rule(&TREE)).collect();
    let stale = stale(&findings, EXCEPTIONS);
    assert!(stale.is_empty(), "remove from crates/tidy/src/exception.rs: {stale:#?}");
}

/// An empty walk would make every rule pass.
#[test]
fn the_walk_sees_the_house() {
    for path in ["Cargo.toml", "src/lib.rs", "crates/tidy/src/mask.rs", "scripts/test"] {
        assert!(TREE.file(path).is_some(), "{path} was not read");
    }
}
