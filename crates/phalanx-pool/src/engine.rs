//! The ledger on a board: what the supervisor's threads do, each with the engine locked.

use phalanx_shm::ShmError;
use phalanx_shm::board::{Board, Current, Publisher, Results, Task, now};

use crate::job::{End, JobId, Outcome};
use crate::ledger::Ledger;
use crate::protocol::Kind;

/// See the [module](self).
#[derive(Debug)]
pub struct Engine {
    ledger: Ledger,
    publisher: Publisher,
    results: Vec<Results>,
    payload: Vec<u8>,
}

impl Engine {
    /// An engine on a new board.
    pub fn new(board: Board) -> Engine {
        let workers = board.shape().workers;
        Engine {
            ledger: Ledger::new(workers),
            results: (0..workers).map(|slot| Results::new(board.clone(), slot)).collect(),
            publisher: Publisher::new(board),
            payload: Vec::new(),
        }
    }

    /// The ledger. What changes it so that something can be handed out is followed by [`Engine::publish`].
    pub fn ledger(&mut self) -> &mut Ledger {
        &mut self.ledger
    }

    /// The board.
    pub fn board(&self) -> &Board {
        self.publisher.board()
    }

    /// Whether a worker has sent something that was not collected.
    #[inline]
    pub fn has_results(&self) -> bool {
        self.results.iter().any(|results| !results.is_empty())
    }

    /// Takes in what workers have sent, and hands out what they can do next. Whether there was anything.
    ///
    /// # Errors
    ///
    /// When a process wrote over the board.
    #[inline]
    pub fn poll(&mut self) -> Result<bool, ShmError> {
        let mut any = false;
        for slot in 0..self.results.len() {
            if !self.results[slot].is_empty() {
                any = true;
                self.collect(slot)?;
            }
        }
        if any || self.ledger.has_waiting() {
            self.publish();
        }
        Ok(any)
    }

    fn collect(&mut self, slot: usize) -> Result<(), ShmError> {
        let (ledger, time) = (&mut self.ledger, now());
        self.results[slot].drain(|record| {
            if let Some(kind) = Kind::of(record.kind) {
                ledger.record(slot as u32, kind, record.dispatch, record.ordinal, record.nanos, record.bytes, time);
            }
        })?;
        Ok(())
    }

    /// Hands out waiting items, as far as the board has room and the workers' pace allows.
    #[inline]
    pub fn publish(&mut self) {
        self.publisher.note(|dispatch, slot| self.ledger.note_claim(dispatch, slot));
        if !self.ledger.has_waiting() {
            return;
        }
        let (most, time) = (self.publisher.max_bytes(), now());
        loop {
            self.payload.clear();
            let waiting = self.publisher.waiting();
            let Some(handout) = self.ledger.hand_out(waiting, most, &mut self.payload, time) else { break };
            let published = self.publisher.publish(&Task {
                dispatch: handout.dispatch,
                function: handout.function,
                flags: handout.flags,
                count: handout.count,
                function_bytes: &handout.function_bytes,
                items: &self.payload,
            });
            if !published {
                self.ledger.take_back(handout.dispatch);
                break;
            }
        }
        self.publisher.announce();
    }

    /// Makes a slot ready for a new worker.
    pub fn prepare_slot(&mut self, slot: u32) {
        if let Some(results) = self.results.get_mut(slot as usize) {
            results.reset();
            self.board().reset_slot(slot);
        }
    }

    /// The worker of a slot, this process, is dead. Nothing happens if that was said before.
    ///
    /// # Errors
    ///
    /// When a process wrote over the board.
    pub fn worker_ended(&mut self, slot: u32, pid: u32, end: End) -> Result<(), ShmError> {
        // By now the slot may have another worker, which is not to blame.
        if self.ledger.stats().nth(slot as usize).is_none_or(|worker| worker.pid != pid) {
            return Ok(());
        }
        let current = self.board().current(slot);
        if (slot as usize) < self.results.len() {
            self.collect(slot as usize)?;
        }
        let ledger = &mut self.ledger;
        self.publisher.note(|dispatch, slot| ledger.note_claim(dispatch, slot));
        self.publisher.bury(slot, |dispatch| ledger.note_claim(dispatch, slot));
        ledger.worker_ended(slot, current, end);
        if ledger.broken().is_some() {
            self.publisher.withdraw(|_| true, |_| {});
        }
        self.publish();
        Ok(())
    }

    /// The slots whose worker is over its time, and the processes, which are to be ended; their items have been dealt with.
    /// A worker that has just gone on ends by itself, after the item that it is in now.
    pub fn overdue(&mut self) -> Vec<(u32, u32)> {
        if !self.ledger.has_limits() {
            return Vec::new();
        }
        let time = now();
        let mut late = Vec::new();
        for slot in 0..self.results.len() as u32 {
            if let Some(current) = self.board().current(slot)
                && let Some(overdue) = self.ledger.check_time(slot, current, time)
            {
                self.board().stop(slot);
                // It looks whether it is stopped before it begins an item, so that what is seen here was seldom begun
                // after the look above.
                let same = |at: Current| (at.dispatch, at.ordinal) == (current.dispatch, current.ordinal);
                if self.board().current(slot).is_some_and(same) {
                    late.push((slot, overdue.pid));
                }
            }
        }
        late
    }

    /// Cancels what has not begun of a job. Whether anything was cancelled.
    pub fn cancel(&mut self, job: JobId) -> bool {
        let publisher = &mut self.publisher;
        publisher.note(|dispatch, slot| self.ledger.note_claim(dispatch, slot));
        self.ledger.cancel(job, |dispatch| {
            let mut gone = false;
            publisher.withdraw(|number| number == dispatch, |_| gone = true);
            gone
        })
    }

    /// Whether a worker has begun with a job that is not done.
    pub fn is_running(&mut self, job: JobId) -> bool {
        self.publisher.note(|dispatch, slot| self.ledger.note_claim(dispatch, slot));
        self.ledger.is_running(job)
    }

    /// Ends everything: what is not done becomes `outcome`.
    pub fn end_all(&mut self, outcome: &Outcome) {
        self.publisher.withdraw(|_| true, |_| {});
        self.ledger.end_all(outcome);
    }
}
