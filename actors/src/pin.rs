//! Keeps a thread on one core.

use core_affinity::CoreId;

/// Keeps the calling thread on this core, counted from 0 among those the process may use; `None` leaves it free.
/// More threads than cores share them. True when the thread is where it was wanted.
pub fn pin(core: Option<usize>) -> bool {
    let Some(core) = core else { return true };
    let cores = core_affinity::get_core_ids().unwrap_or_default();
    let wanted: Option<CoreId> = cores.get(core % cores.len().max(1)).copied();
    wanted.is_some_and(core_affinity::set_for_current)
}
