//! What all processes of a communicator must do alike: one does it and tells, or all do it and hear of each other.

use crate::coll::Arg;
use crate::engine::buffer::{RecvBuf, SendBuf};
use crate::error::{Error, ErrorClass, Result, fail};

use super::Comm;

fn class_of(word: u32) -> ErrorClass {
    ErrorClass::ALL.get(word as usize).copied().unwrap_or(ErrorClass::Other)
}

impl Comm {
    /// What `find` gives at `root`, told to all: words, or its error.
    pub(crate) fn told_by(&self, root: i32, find: impl FnOnce() -> Result<Vec<u32>>) -> Result<Vec<u32>> {
        // [class of the error or success, number of words or of bytes of the reason]
        let mut head = [ErrorClass::Success as u32, 0];
        let (mut words, mut reason, mut failure) = (Vec::new(), Vec::new(), None);
        if self.rank() == root {
            match find() {
                Ok(found) => {
                    head[1] = found.len() as u32;
                    words = found;
                }
                Err(error) => {
                    reason = error.message().as_bytes().to_vec();
                    head = [error.class() as u32, reason.len() as u32];
                    failure = Some(error);
                }
            }
        }
        self.bcast(RecvBuf::of(&mut head), root)?;
        let [class, length] = head;
        if class == ErrorClass::Success as u32 {
            words.resize(length as usize, 0);
            self.bcast(RecvBuf::of(&mut words), root)?;
            return Ok(words);
        }
        reason.resize(length as usize, 0);
        self.bcast(RecvBuf::of(&mut reason), root)?;
        Err(failure.unwrap_or_else(|| Error::new(class_of(class), String::from_utf8_lossy(&reason))))
    }

    /// As [`Comm::told_by`], for one number.
    pub(crate) fn told_number(&self, root: i32, find: impl FnOnce() -> Result<u64>) -> Result<u64> {
        let words = self.told_by(root, || find().map(|number| vec![number as u32, (number >> 32) as u32]))?;
        match words[..] {
            [low, high] => Ok(u64::from(low) | u64::from(high) << 32),
            _ => fail!(Intern, "rank {root} told {} words instead of a number", words.len()),
        }
    }

    /// Has `root` do something and tells all how it ended.
    pub(crate) fn done_by(&self, root: i32, act: impl FnOnce() -> Result<()>) -> Result<()> {
        self.told_by(root, || act().map(|()| Vec::new())).map(|_| ())
    }

    /// Tells all processes whether all have succeeded; they fail alike. Collective, on an intracommunicator.
    ///
    /// # Errors
    /// This process's own error, or one of the class of the first other that has failed; those of a collective.
    pub fn settle<T>(&self, operation: &str, outcome: Result<T>) -> Result<T> {
        let mine = [outcome.as_ref().err().map_or(ErrorClass::Success, Error::class) as u32];
        let mut all = vec![0u32; self.group().size()];
        self.allgather(Arg::Buf(SendBuf::of(&mine)), RecvBuf::of(&mut all).into())?;
        let value = outcome?;
        match all.iter().map(|word| class_of(*word)).enumerate().find(|(_, class)| *class != ErrorClass::Success) {
            None => Ok(value),
            Some((rank, class)) => {
                let text = format!("{operation}: rank {rank} failed ({}); its own error says why", class.description());
                Err(Error::new(class, text))
            }
        }
    }

    /// Fails on all processes unless all have succeeded and give the same number.
    pub(crate) fn same<T>(&self, operation: &str, what: &str, own: Result<(u64, T)>) -> Result<T> {
        let mut first = [own.as_ref().map_or(0, |(number, _)| *number)];
        self.bcast(RecvBuf::of(&mut first), 0)?;
        let seen = own.and_then(|(number, result)| {
            // A first process that failed has nothing to compare with; its error is told below.
            if number != first[0] && self.rank() != 0 {
                fail!(
                    NotSame,
                    "the {what} on rank {} is not that on rank 0; it must be the same everywhere",
                    self.rank()
                );
            }
            Ok(result)
        });
        self.settle(operation, seen)
    }
}
