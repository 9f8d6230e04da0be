//! The Redis keys of a holder, and their hash slot.

use super::cluster::slot;
use crate::holder::Holder;

/// A holder's two keys, leases and records, and the two of its other name if it has one.
pub(super) fn keys(holder: &Holder) -> Vec<String> {
    let stems = names(holder).map(|name| format!("sg:{{{:04x}}}:{name}", name.bucket()));
    stems.flat_map(|stem| [format!("{stem}:l"), format!("{stem}:m")]).collect()
}

/// The hash slot of all of them.
pub(super) fn hash_slot(holder: &Holder) -> u16 {
    slot::of(&format!("{:04x}", holder.bucket()))
}

/// A holder by its current name and, while its pepper is being changed, by its other one.
pub(super) fn names(holder: &Holder) -> impl Iterator<Item = Holder> {
    [*holder].into_iter().chain(holder.other())
}
