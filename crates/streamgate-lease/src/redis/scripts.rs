//! The Lua scripts that decide about one holder's leases: their texts and their arguments.
//! `answer.rs` reads what they return.

mod answer;

pub(super) use answer::{answer, live};

use super::keys::keys;
use super::notice;
use crate::clock::millis;
use crate::holder::Holder;
use crate::lease::{
    Attempt, Claim, ClaimSource, DisplacePolicy, LeaseId, REPLACE_MAX, Replace, State, Ticket,
};
use crate::timing::Timing;
use ::redis::{Script, ScriptInvocation};

pub(super) const ACQUIRE: &str =
    concat!(include_str!("scripts/gather.lua"), include_str!("scripts/acquire.lua"));
const END: &str = concat!(include_str!("scripts/gather.lua"), include_str!("scripts/end.lua"));
const DECLARE: &str =
    concat!(include_str!("scripts/gather.lua"), include_str!("scripts/declare.lua"));
const GIVE_BACK: &str =
    concat!(include_str!("scripts/gather.lua"), include_str!("scripts/give_back.lua"));
const LIST: &str = concat!(include_str!("scripts/gather.lua"), include_str!("scripts/list.lua"));

/// The scripts with their hashes.
pub(super) struct Scripts {
    acquire: Script,
    end: Script,
    declare: Script,
    give_back: Script,
    list: Script,
}

impl Scripts {
    pub(super) fn new() -> Self {
        Self {
            acquire: Script::new(ACQUIRE),
            end: Script::new(END),
            declare: Script::new(DECLARE),
            give_back: Script::new(GIVE_BACK),
            list: Script::new(LIST),
        }
    }

    pub(super) fn acquire(&self, claim: &Claim, timing: &Timing) -> ScriptInvocation<'_> {
        let mut invocation = prepare(&self.acquire, &claim.holder);
        invocation.arg(acquire_args(claim, timing));
        invocation
    }

    /// For `EVALSHA` of [`ACQUIRE`].
    pub(super) fn acquire_hash(&self) -> &str {
        self.acquire.get_hash()
    }

    pub(super) fn release(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> ScriptInvocation<'_> {
        self.end(holder, id, "R", timing)
    }

    pub(super) fn terminate(
        &self,
        holder: &Holder,
        id: &LeaseId,
        timing: &Timing,
    ) -> ScriptInvocation<'_> {
        self.end(holder, id, "T", timing)
    }

    pub(super) fn declare(
        &self,
        holder: &Holder,
        id: &LeaseId,
        state: State,
    ) -> ScriptInvocation<'_> {
        let mut invocation = prepare(&self.declare, holder);
        invocation.arg(id.to_string()).arg(u8::from(state == State::Paused));
        invocation
    }

    pub(super) fn give_back(
        &self,
        holder: &Holder,
        id: &LeaseId,
        attempt: Attempt,
    ) -> ScriptInvocation<'_> {
        let version = match attempt {
            Attempt::Versioned(version) => version.to_string(),
            Attempt::Unanswered(_) => String::new(),
        };
        let mut invocation = prepare(&self.give_back, holder);
        invocation.arg(id.to_string()).arg(version).arg(attempt.passes());
        invocation
    }

    pub(super) fn list(&self, holder: &Holder) -> ScriptInvocation<'_> {
        prepare(&self.list, holder)
    }

    fn end(
        &self,
        holder: &Holder,
        id: &LeaseId,
        verb: &str,
        timing: &Timing,
    ) -> ScriptInvocation<'_> {
        let mut invocation = prepare(&self.end, holder);
        invocation
            .arg(id.to_string())
            .arg(verb)
            .arg(millis(timing.ttl()))
            .arg(millis(timing.tombstone()))
            .arg(notice::names(holder));
        invocation
    }
}

/// A script with the keys of a holder.
fn prepare<'s>(script: &'s Script, holder: &Holder) -> ScriptInvocation<'s> {
    let mut invocation = script.prepare_invoke();
    for key in keys(holder) {
        invocation.key(key);
    }
    invocation
}

/// `ARGV` of acquire.lua.
pub(super) fn acquire_args(claim: &Claim, timing: &Timing) -> Vec<String> {
    let timing = timing.for_ttl(claim.ttl);
    let (replace, named) = match &claim.replace {
        Replace::Oldest => ("oldest", [].as_slice()),
        Replace::These(ids) if ids.len() <= REPLACE_MAX => ("these", ids.as_slice()),
        Replace::Nobody | Replace::These(_) => ("nobody", [].as_slice()),
    };
    let mut args = vec![
        claim.id.to_string(),
        millis(timing.ttl()).to_string(),
        claim.limit.to_string(),
        millis(timing.tombstone()).to_string(),
        millis(timing.idle_after()).to_string(),
        millis(Timing::TTL_MAX).to_string(),
        u8::from(claim.reusable).to_string(),
        u8::from(claim.explicit_start).to_string(),
        answer::about_text(&claim.about),
        replace.to_owned(),
        notice::names(&claim.holder),
        answer::classes_text(&claim.classes),
        adopt_arg(claim).to_owned(),
        millis(timing.grandfather()).to_string(),
        claim.login.map(|login| login.to_string()).unwrap_or_default(),
        by_arg(claim.by).to_owned(),
        claim.path.map(|path| path.to_string()).unwrap_or_default(),
        displaces_arg(claim.displaces).to_owned(),
        u8::from(claim.starts).to_string(),
        ticket_arg(claim.ticket),
    ];
    args.extend(named.iter().map(LeaseId::to_string));
    args
}

fn ticket_arg(ticket: Option<Ticket>) -> String {
    ticket.map(|ticket| format!("{},{}", ticket.use_by, ticket.ends_at)).unwrap_or_default()
}

fn by_arg(by: ClaimSource) -> &'static str {
    match by {
        ClaimSource::Request => "request",
        ClaimSource::Reservation => "reservation",
        ClaimSource::Node => "node",
    }
}

fn displaces_arg(displaces: DisplacePolicy) -> &'static str {
    match displaces {
        DisplacePolicy::Older => "older",
        DisplacePolicy::Marked => "marked",
        DisplacePolicy::Nobody => "nobody",
    }
}

fn adopt_arg(claim: &Claim) -> &'static str {
    match (claim.adopt, claim.lost) {
        (true, _) => "1",
        (false, true) => "2",
        (false, false) => "0",
    }
}
