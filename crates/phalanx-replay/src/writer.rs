//! A rank writes its decisions down as it makes them.

use std::collections::{BTreeMap, HashMap};
use std::fs::{File, OpenOptions};
use std::io::{Error, ErrorKind, Result, Seek, Write};
use std::os::unix::fs::FileExt;
use std::path::Path;

use crate::entry::{Entry, FILES, INDICES, NAME_BYTES, place_word};
use crate::{BLOCK, Call, ENTRY, LONGEST, Outcome, Place};

/// As much of the name of a file as is kept: its end.
const LONGEST_NAME: usize = 8 * NAME_BYTES;

/// Writes the decisions of one process. After an error, nothing more should be written: what there is, is whole.
#[derive(Debug)]
pub struct Writer {
    /// Entries are written into their places by this one,
    file: File,
    /// and blocks to the end by this one.
    end: File,
    slot: u32,
    longest: u64,
    threads: BTreeMap<u32, Stream>,
}

/// What has been written of one thread.
#[derive(Debug, Default)]
struct Stream {
    /// Where the next entry goes; nowhere before the first block.
    next: Option<u64>,
    blocks: u32,
    /// The run of looks that found nothing which is the last entry: where it is, and how many.
    nothings: Option<(u64, u64)>,
    /// Files that have a number.
    files: HashMap<String, usize>,
}

/// A call whose outcome is not known yet: where it is in the file.
#[derive(Debug)]
pub struct Ticket {
    at: u64,
    call: Call,
    place: u32,
}

impl Writer {
    /// Goes on with the file that a launcher has begun, for the process of a slot.
    ///
    /// # Errors
    /// When the file cannot be opened.
    pub fn open(path: &Path, slot: u32) -> Result<Writer> {
        let file = OpenOptions::new().write(true).open(path)?;
        let end = OpenOptions::new().append(true).open(path)?;
        Ok(Writer { file, end, slot, longest: LONGEST, threads: BTreeMap::new() })
    }

    /// Writes a decision down; what has been given a ticket is [settled](Writer::settle) later.
    ///
    /// # Errors
    /// When the file cannot be written, or is as long as it may be.
    pub fn note(&mut self, thread: u32, call: Call, outcome: &Outcome, place: Option<&Place>) -> Result<Ticket> {
        if *outcome == Outcome::Nothing {
            return self.nothing(thread, call);
        }
        let place = match place {
            Some(place) => self.place(thread, place)?,
            None => 0,
        };
        let numbers: &[u32] = if let Outcome::Done(numbers) = outcome { numbers } else { &[] };
        let more = numbers.get(1..).unwrap_or_default();
        let at = self.place_for_entry(thread)?;
        // Whoever reads stops at an entry that is not there: so this one is written when all that belongs to it is.
        for numbers in more.chunks(INDICES) {
            let at = self.place_for_entry(thread)?;
            self.write(at, &Entry::More(numbers.to_vec()))?;
        }
        let count = u32::try_from(more.len()).unwrap_or(u32::MAX);
        self.write(at, &Entry::Call { call, outcome: outcome.clone(), place, more: count })?;
        Ok(Ticket { at, call, place })
    }

    /// Writes down what a call came to at last: a message, or none.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn settle(&mut self, ticket: &Ticket, outcome: Outcome) -> Result<()> {
        let entry = Entry::Call { call: ticket.call, outcome, place: ticket.place, more: 0 };
        self.write(ticket.at, &entry)
    }

    /// The process makes no decision any more.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn end(&mut self) -> Result<()> {
        self.threads.entry(0).or_default();
        let threads: Vec<u32> = self.threads.keys().copied().collect();
        for thread in threads {
            let at = self.place_for_entry(thread)?;
            self.write(at, &Entry::End)?;
        }
        Ok(())
    }

    /// A look that found nothing: loops of them take no room.
    fn nothing(&mut self, thread: u32, call: Call) -> Result<Ticket> {
        let run = self.threads.get(&thread).and_then(|stream| stream.nothings);
        let (at, count) = match run {
            Some((at, count)) => (at, count + 1),
            None => (self.place_for_entry(thread)?, 1),
        };
        self.write(at, &Entry::Nothings(count))?;
        self.threads.entry(thread).or_default().nothings = Some((at, count));
        Ok(Ticket { at, call, place: 0 })
    }

    /// A line as a word; the name of its file is written before it is first used.
    fn place(&mut self, thread: u32, place: &Place) -> Result<u32> {
        let files = &self.threads.entry(thread).or_default().files;
        let (known, number) = (files.get(&*place.file).copied(), files.len());
        let number = match known {
            Some(number) => number,
            None if number >= FILES => return Ok(0),
            None => {
                let name = place.file.as_bytes();
                let name = &name[name.len().saturating_sub(LONGEST_NAME)..];
                // The last piece is the one that is not full.
                let whole = name.len().is_multiple_of(NAME_BYTES);
                for piece in name.chunks(NAME_BYTES).chain(whole.then_some(&[][..])) {
                    let at = self.place_for_entry(thread)?;
                    self.write(at, &Entry::Name(piece.to_vec()))?;
                }
                self.threads.entry(thread).or_default().files.insert(place.file.to_string(), number);
                number
            }
        };
        Ok(place_word(number, place.line))
    }

    fn write(&self, at: u64, entry: &Entry) -> Result<()> {
        self.file.write_all_at(&entry.encode(at), at)
    }

    /// The place behind the last entry of a thread.
    fn place_for_entry(&mut self, thread: u32) -> Result<u64> {
        let stream = self.threads.entry(thread).or_default();
        stream.nothings = None;
        if let Some(at) = stream.next.filter(|at| !at.is_multiple_of(BLOCK as u64)) {
            stream.next = Some(at + ENTRY as u64);
            return Ok(at);
        }
        let at = self.add_block(thread)?;
        let stream = self.threads.entry(thread).or_default();
        stream.blocks += 1;
        stream.next = Some(at + 2 * ENTRY as u64);
        Ok(at + ENTRY as u64)
    }

    /// A block at the end of the file. Where that will be is known afterwards only: others write there as well.
    fn add_block(&mut self, thread: u32) -> Result<u64> {
        if self.end.metadata()?.len() + BLOCK as u64 > self.longest {
            return Err(Error::other(format!("it has {} MiB, and may not have more", self.longest >> 20)));
        }
        // By one write: where others add blocks, parts of one would lie apart.
        let written = loop {
            match self.end.write(&[0; BLOCK]) {
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                written => break written?,
            }
        };
        let at = self.end.stream_position()?.checked_sub(written as u64);
        let Some(at) = at.filter(|at| written == BLOCK && at.is_multiple_of(BLOCK as u64)) else {
            return Err(Error::other("there is no room for more of it"));
        };
        let number = self.threads.get(&thread).map_or(0, |stream| stream.blocks);
        self.write(at, &Entry::Head { slot: self.slot, thread, number })?;
        Ok(at)
    }

    #[cfg(test)]
    pub(crate) fn limit(&mut self, longest: u64) {
        self.longest = longest;
    }
}
