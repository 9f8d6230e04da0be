//! What was measured, as Markdown tables on standard output.

use crate::contest::{Load, Score};
use crate::generator::Outcome;
use crate::idle::Idle;
use crate::slice::{median, quantile};

/// Processor time per request, beside the first contender's.
pub fn costs(load: &Load, scores: &[Score]) {
    let Some(base) = scores.first() else { return };
    println!("\n### {}\n", load.name);
    println!(
        "| contender | CPU us/req | ratio, same round (quarters) | in quiet rounds us (ratio) \
         | req/s | core | waited | store calls/req | not 2xx |"
    );
    println!("|---|---|---|---|---|---|---|---|---|");
    let quiet_base = base.quiet(|slice| slice.cpu_us);
    for score in scores {
        let [low, middle, high] = score.ratio(base, |slice| slice.cpu_us);
        let quiet = score.quiet(|slice| slice.cpu_us);
        println!(
            "| {} | {:.1} | **{middle:.2}** ({low:.2}–{high:.2}) | {quiet:.1} ({:.2}) | {:.0} \
             | {:.0} % | {:.0} % | {:.3} | {} |",
            score.name,
            score.middle(|slice| slice.cpu_us),
            quiet / quiet_base,
            score.middle(|slice| slice.per_second),
            score.middle(|slice| slice.core_used) * 100.0,
            score.middle(|slice| slice.kept_waiting) * 100.0,
            score.middle(|slice| slice.store_calls),
            score.unanswered(),
        );
    }
    let resumed = scores.iter().filter_map(resumed).collect::<Vec<_>>();
    if !resumed.is_empty() {
        println!("\nResumed handshakes: {}.", resumed.join(", "));
    }
    noise(scores);
}

/// Who resumed how many of his handshakes; `None` if none.
fn resumed(score: &Score) -> Option<String> {
    let of = |count: fn(&Outcome) -> u64| -> u64 {
        score.slices.iter().map(|slice| count(&slice.outcome)).sum()
    };
    let (resumed, done) = (of(|outcome| outcome.resumed), of(|outcome| outcome.done));
    let percent = resumed as f64 / done.max(1) as f64 * 100.0;
    (0 < resumed).then(|| format!("{} {percent:.0} %", score.name))
}

/// Latency at a fixed rate, beside the first contender's.
pub fn latencies(load: &Load, scores: &[Score]) {
    println!("\n### {}\n", load.name);
    println!("| contender | p50 us | p99 us | p99 of the best round | CPU us/req | not 2xx |");
    println!("|---|---|---|---|---|---|");
    for score in scores {
        let at = |share: f64| {
            let all = score.slices.iter().map(|slice| &slice.outcome.latencies_ns);
            all.map(|sorted| quantile(sorted, share) as f64 / 1e3).collect::<Vec<_>>()
        };
        let best = at(0.99).into_iter().fold(f64::INFINITY, f64::min);
        println!(
            "| {} | {:.0} | {:.0} | {best:.0} | {:.1} | {} |",
            score.name,
            median(&at(0.5)),
            median(&at(0.99)),
            score.middle(|slice| slice.cpu_us),
            score.unanswered(),
        );
    }
    noise(scores);
}

fn noise(scores: &[Score]) {
    let slices: Vec<_> = scores.iter().flat_map(|score| &score.slices).collect();
    let middle = |figure: fn(&&crate::slice::Slice) -> f64| {
        median(&slices.iter().map(figure).collect::<Vec<_>>())
    };
    println!(
        "\nOther programs used {:.2} cores, the hypervisor took {:.2}.",
        middle(|slice| slice.others),
        middle(|slice| slice.stolen)
    );
}

/// Memory of waiting connections.
pub fn idle(title: &str, weighed: &[(&str, Idle)]) {
    println!("\n### {title}\n");
    println!(
        "| contender | KiB each | MiB before → with | us to open and ask | core while waiting |"
    );
    println!("|---|---|---|---|---|");
    for (name, idle) in weighed {
        println!(
            "| {name} | {:.1} | {:.1} → {:.1} | {:.0} | {:.1} % |",
            idle.each_kib(),
            idle.before_kib as f64 / 1024.0,
            idle.with_kib as f64 / 1024.0,
            idle.opening_us,
            idle.waiting_core * 100.0,
        );
    }
}

/// Where and when this was measured.
pub fn place(real_time: bool) {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let cpu = read("/proc/cpuinfo");
    let model = cpu.lines().find_map(|line| line.strip_prefix("model name")).unwrap_or("?");
    let kernel = read("/proc/sys/kernel/osrelease");
    let class = if real_time { "real-time" } else { "ordinary" };
    println!(
        "{} × {}, Linux {}, {class} priority, load {}",
        crate::bench::cores(),
        model.trim_start_matches([' ', '\t', ':']),
        kernel.trim(),
        read("/proc/loadavg").split(' ').next().unwrap_or("?"),
    );
}
