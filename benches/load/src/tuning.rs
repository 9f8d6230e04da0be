//! Pingora's settings against each other: what each choice is worth, by itself.

use std::io;

use crate::contest::{self, Contender, Effort, Load};
use crate::environment::Environment;
use crate::settings::{FAMILIES, Family};
use crate::{http1, report};

/// Runs the families named in `only`, or all; and of the bodies `paths`, or all.
pub fn run(
    environment: &Environment,
    effort: Effort,
    only: &[String],
    paths: &[String],
) -> io::Result<()> {
    let wanted =
        |name: &str, list: &[String]| list.is_empty() || list.iter().any(|one| one == name);
    for family in FAMILIES.iter().filter(|family| wanted(family.name, only)) {
        for path in family.paths.iter().filter(|path| wanted(path, paths)) {
            compare(environment, effort, family, path)?;
        }
    }
    Ok(())
}

fn compare(
    environment: &Environment,
    effort: Effort,
    family: &Family,
    path: &str,
) -> io::Result<()> {
    let variants = family.variants;
    let start =
        |one: &crate::settings::Variant| environment.floor(one.program, one.flags, family.threads);
    let processes = variants.iter().map(start).collect::<io::Result<Vec<_>>>()?;
    let enter = |(process, variant): (_, &crate::settings::Variant)| {
        let process: &crate::bench::Process = process;
        let requests = vec![http1::get(process.address, path, family.headers)];
        Contender { name: variant.name.to_owned(), process, client: None, streams: None, requests }
    };
    let contenders: Vec<_> = processes.iter().zip(variants).map(enter).collect();
    let load = Load {
        name: format!("{}, {path}", family.name),
        connections: 64,
        reconnect: family.reconnect,
        rate: None,
    };
    let ours = environment.process_ids(&processes.iter().collect::<Vec<_>>());
    let scores = contest::run(&load, &contenders, &ours, None, effort)?;
    report::costs(&load, &scores);
    if path.ends_with("64b") && !family.reconnect && family.threads == 1 {
        memory(family, environment)?;
    }
    Ok(())
}

/// Waiting connections, with processes of their own: the load leaves traces in the allocator.
fn memory(family: &Family, environment: &Environment) -> io::Result<()> {
    let mut weighed = Vec::new();
    for variant in family.variants {
        let process = environment.floor(variant.program, variant.flags, 1)?;
        weighed.push((variant.name, crate::idle::weigh(&process, 2000, "/64b", None)?));
    }
    report::idle("2,000 waiting connections", &weighed);
    Ok(())
}
