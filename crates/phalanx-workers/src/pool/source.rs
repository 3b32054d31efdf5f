//! Where a job's items come from: an iterable, pickled item by item.

use phalanx_pool::job::Keep;
use phalanx_pool::{Engine, JobId};
use pyo3::gc::{PyTraverseError, PyVisit};
use pyo3::prelude::*;
use pyo3::types::PyIterator;

use super::shared::{Pause, Shared};
use crate::codec::{By, Wire, encode};
use crate::text;

/// Items pickled before the first are handed out; later batches are larger.
const FIRST: usize = 8;
const BATCH: usize = 512;

/// An item that is ready to be handed out, or why it is not.
enum Packed {
    Ready(Wire, Vec<Keep>),
    Failed(PyErr),
}

fn pack(item: &Bound<'_, PyAny>) -> Packed {
    match encode(item.py(), item, By::Reference) {
        Ok(encoded) => {
            let mut keeps: Vec<Keep> = Vec::new();
            if !encoded.blocks.is_empty() {
                keeps.push(Box::new(encoded.blocks));
            }
            if !encoded.keep.is_empty() {
                keeps.push(Box::new(encoded.keep));
            }
            Packed::Ready(encoded.wire, keeps)
        }
        Err(error) => Packed::Failed(error),
    }
}

/// What a source has done.
#[derive(Default)]
pub(super) struct Fed {
    /// Items that could not be pickled.
    pub(super) unsent: Vec<(u64, PyErr)>,
    /// The iterator has come to its end.
    pub(super) exhausted: bool,
    /// What it raised.
    pub(super) raised: Option<PyErr>,
    /// What a signal handler raised meanwhile, perhaps while an item was pickled: that one is still to be taken.
    pub(super) interrupted: Option<PyErr>,
}

/// The items of a job that are still to come.
pub(super) struct Source {
    iterator: Py<PyIterator>,
    /// The item that was being pickled when a signal came.
    again: Option<Py<PyAny>>,
    /// Items taken from it.
    pub(super) taken: u64,
}

impl Source {
    pub(super) fn new(iterator: Bound<'_, PyIterator>) -> Source {
        Source { iterator: iterator.unbind(), again: None, taken: 0 }
    }

    /// Shows the garbage collector the iterator.
    pub(super) fn traverse(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.again)?;
        visit.call(&self.iterator)
    }

    /// Adds up to `count` items to the job, in batches, and hands out what can be.
    pub(super) fn feed(&mut self, py: Python<'_>, shared: &Shared, job: JobId, count: u64) -> Fed {
        let mut fed = Fed::default();
        let mut iterator = self.iterator.clone_ref(py).into_bound(py);
        let mut batch = Vec::new();
        let mut size = FIRST;
        let mut left = count;
        let mut pause = Pause::default();
        while left > 0 && !fed.exhausted && fed.interrupted.is_none() {
            while batch.len() < size && left > 0 {
                if let Err(error) = pause.look(py) {
                    fed.interrupted = Some(error);
                    break;
                }
                let next = self.again.take().map(|item| Ok(item.into_bound(py)));
                match next.or_else(|| iterator.next()) {
                    Some(Ok(item)) => match pack(&item) {
                        Packed::Failed(error) if text::is_interrupt(py, &error) => {
                            self.again = Some(item.unbind());
                            fed.interrupted = Some(error);
                            break;
                        }
                        packed => {
                            batch.push(packed);
                            left -= 1;
                        }
                    },
                    Some(Err(error)) => {
                        fed.raised = Some(error);
                        fed.exhausted = true;
                        break;
                    }
                    None => {
                        fed.exhausted = true;
                        break;
                    }
                }
            }
            let total = self.taken + batch.len() as u64;
            let mut engine = shared.engine();
            if engine.ledger().is_closed(job) {
                fed.exhausted = true;
            }
            self.push(&mut engine, job, &mut batch, &mut fed.unsent);
            if fed.exhausted {
                engine.ledger().set_total(job, total);
            }
            engine.publish();
            shared.end_if_over(&mut engine);
            let events = engine.ledger().has_events();
            drop(engine);
            if events {
                shared.ring_events();
            }
            size = (size * 4).min(BATCH);
        }
        fed
    }

    fn push(&mut self, engine: &mut Engine, job: JobId, batch: &mut Vec<Packed>, unsent: &mut Vec<(u64, PyErr)>) {
        for item in batch.drain(..) {
            match item {
                Packed::Ready(wire, keeps) => engine.ledger().push_item(job, &wire, keeps),
                Packed::Failed(error) => {
                    engine.ledger().push_unsent(job);
                    unsent.push((self.taken, error));
                }
            }
            self.taken += 1;
        }
    }
}
