//! All arenas of this process, and what `fork` must do to them.
//!
//! A forked child has the mapping and the values that hold blocks, so it needs holds of its own before its parent can
//! let go of anything. They are made in the parent before the fork, by `pthread_atfork`; the child puts its name to them.

use std::cell::RefCell;
use std::sync::{Mutex, MutexGuard, Once, PoisonError};

use super::Inner;
use super::members::Record;
use crate::ProcessTag;

/// Every arena that this process has mapped.
static KEPT: Mutex<Vec<&'static Inner>> = Mutex::new(Vec::new());

/// What the forking thread holds between the handlers.
struct Forking {
    parent: ProcessTag,
    kept: MutexGuard<'static, Vec<&'static Inner>>,
    records: Vec<(&'static Inner, MutexGuard<'static, Record>, Record)>,
}

thread_local! {
    static FORKING: RefCell<Option<Forking>> = const { RefCell::new(None) };
}

/// Makes an arena part of this process for the rest of its life.
pub(crate) fn keep(inner: Inner) -> &'static Inner {
    static HANDLERS: Once = Once::new();
    HANDLERS.call_once(|| {
        // Its handler first: ours asks who the child is, which is found out anew when the number of forks has changed.
        crate::fork::generation();
        // SAFETY: the three handlers have the right type and live as long as the program. Failure (no memory) would
        // leave children without holds of their own, as if there were no room for their records.
        unsafe { libc::pthread_atfork(Some(before), Some(in_parent), Some(in_child)) };
    });
    let inner: &'static Inner = Box::leak(Box::new(inner));
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).push(inner);
    inner
}

/// Every arena of this process.
pub(crate) fn kept() -> Vec<&'static Inner> {
    KEPT.lock().unwrap_or_else(PoisonError::into_inner).clone()
}

extern "C" fn before() {
    let kept = KEPT.lock().unwrap_or_else(PoisonError::into_inner);
    let records = kept
        .iter()
        .map(|inner| {
            let record = inner.record();
            let childs = record.duplicate(inner);
            (*inner, record, childs)
        })
        .collect();
    let _ = FORKING.try_with(|forking| forking.replace(Some(Forking { parent: ProcessTag::me(), kept, records })));
}

extern "C" fn in_parent() {
    let Ok(Some(forking)) = FORKING.try_with(|forking| forking.take()) else {
        return;
    };
    for (inner, _, childs) in &forking.records {
        childs.forked(inner, forking.parent);
    }
    // The locks open again as the guards go.
}

extern "C" fn in_child() {
    let Ok(Some(mut forking)) = FORKING.try_with(|forking| forking.take()) else {
        return;
    };
    for (inner, record, childs) in &mut forking.records {
        childs.adopt(inner, forking.parent);
        **record = std::mem::take(childs);
    }
    drop(forking.kept);
}
