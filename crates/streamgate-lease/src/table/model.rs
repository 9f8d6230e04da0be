//! The table and its cached entries in every interleaving, by loom: `scripts/loom`.
//!
//! Each model has three threads: one touches, one ends the stream in one of several ways, and one
//! touches by the same cached entry after it may have heard of the end.

use super::Table;
use super::cached_entry::CachedEntry;
use crate::event::End;
use crate::holder::{Holder, Pepper};
use crate::lease::{Claim, LeaseId, Replace};
use crate::recorder::{Recorder, Via};
use crate::store::Admitted;
use crate::timing::Timing;
use loom::sync::atomic::{AtomicBool, Ordering::Relaxed};
use loom::thread;
use std::sync::Arc;

/// Changes of turn in the middle of a thread's work. loom's authors: two or three find nearly all.
const PREEMPTIONS_MAX: usize = 3;

type Change = fn(&Table);

/// The ways in which a stream ends on a node, or has to ask the store before it goes on.
const ENDS: [Change; 6] = [
    |table| assert!(table.terminate(&tv().holder, &tv().id)),
    |table| table.release(&tv().holder, &tv().id),
    |table| table.forget(&tv().holder, &tv().id, End::Refused, Via::Request),
    |table| {
        let replaced = vec![tv().id];
        admit(table, Admitted { replaced, ..Admitted::alone(pc().id) });
    },
    |table| {
        let superseded = vec![tv().id];
        admit(table, Admitted { superseded, ..Admitted::alone(pc().id) });
    },
    |table| {
        let marked = vec![tv().id];
        admit(table, Admitted { marked, ..Admitted::alone(pc().id) });
    },
];

fn claim(name: &str) -> Claim {
    let holder = Holder::of(&Pepper::new([7; 32]).unwrap(), "alice");
    Claim { replace: Replace::Oldest, ..Claim::new(holder, LeaseId::of(name, None), 1) }
}

fn tv() -> Claim {
    claim("tv")
}

fn pc() -> Claim {
    claim("pc")
}

fn admit(table: &Table, admitted: Admitted) {
    let claim = Claim { id: admitted.id, ..tv() };
    table.admit(&claim, &admitted, table.asking(), true).unwrap();
}

/// What the threads of a model share: a table with one stream, and a cached entry.
struct World {
    table: Table,
    cached_entry: CachedEntry,
    has_ended: AtomicBool,
}

impl World {
    fn new() -> Arc<Self> {
        let table = Table::new(Timing::default(), 1, 1, Recorder::new(1));
        admit(&table, Admitted::alone(tv().id));
        let cached_entry = CachedEntry::new(tv().holder);
        Arc::new(Self { table, cached_entry, has_ended: AtomicBool::new(false) })
    }

    fn touch(&self) -> bool {
        self.table.touch_cached(&self.cached_entry, &tv().id, &[]).is_some()
    }
}

/// Runs it in every interleaving, on a clock that stands still.
fn check(model: impl Fn() + Send + Sync + 'static) {
    let runtime = tokio::runtime::Builder::new_current_thread();
    let runtime = { runtime }.enable_time().start_paused(true).build().unwrap();
    // All threads of a model run on this one.
    let _clock = runtime.enter();
    let mut builder = loom::model::Builder::new();
    builder.preemption_bound = Some(PREEMPTIONS_MAX);
    builder.check(model);
}

fn nobody_continues_after(end: Change, is_cached: bool) {
    check(move || {
        let world = World::new();
        assert!(!is_cached || world.touch());
        let player = thread::spawn({
            let world = world.clone();
            move || world.touch()
        });
        let ender = thread::spawn({
            let world = world.clone();
            move || {
                end(&world.table);
                world.has_ended.store(true, Relaxed);
            }
        });
        let has_ended = world.has_ended.load(Relaxed);
        assert!(!(world.touch() && has_ended), "it continued after it had ended");
        let _ = player.join().unwrap();
        ender.join().unwrap();
        assert!(!world.touch(), "it continued after it had ended");
        admit(&world.table, Admitted::alone(tv().id));
        assert!(world.touch(), "it was admitted again");
    });
}

/// The entry of a stream is found through the cached entry before it ends.
#[test]
fn nobody_continues_by_a_cached_entry_after_the_end() {
    for end in ENDS {
        nobody_continues_after(end, true);
    }
}

/// The cached entry is set while the stream ends.
#[test]
fn nobody_caches_an_entry_that_has_ended() {
    for end in ENDS {
        nobody_continues_after(end, false);
    }
}
