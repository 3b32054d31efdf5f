//! A log of one process, for whoever reads it when that process has ended: records of whole granules, in a segment of its own.
//!
//! | granule | content |
//! |---|---|
//! | 0, 1 | a mark, who writes here (0: nobody yet), how many granules are taken, what has been lost; the clock |
//! | then | records: the lowest byte of each granule says what it is, 0 nothing (yet) |
//!
//! A thread takes a [part](Part) of many granules at once, by an atomic change of the count, and puts its records there one behind
//! the other: an atomic change for each record waits until all that the CPU has stored before has arrived in its cache, a message
//! that it has just copied, too. So threads need no lock, and the order of records is that of time only within a part.
//! The word with the lowest byte of a record's first granule is written last: a process may be killed at any instant, what it was
//! writing looks like nothing, and everything before is there. Pages are reserved in pieces before they are written: where
//! memory is short, records are lost instead of the process.
//!
//! Times are those of the CPU's counter where the kernel's own clock is that counter, which it is only when it runs alike on all CPUs;
//! else of the monotonic clock. Who makes the log says which, and translates them.

use std::cell::Cell;
use std::os::fd::{BorrowedFd, OwnedFd};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};

use crate::ShmError;
use crate::segment::Segment;

/// Words of 64 bits in a granule.
pub const GRANULE: usize = 4;

const BYTES: u64 = GRANULE as u64 * 8;
const MARK: u64 = u64::from_le_bytes(*b"phx-log1");
/// Bytes that are reserved at once.
const PIECE: u64 = 256 << 10;
/// Granules of a thread's first part and of its largest: a thread that makes few calls leaves little empty.
const PARTS: (u32, u32) = (8, 64);
/// The fewest bytes of a log.
const LEAST: usize = 64 << 10;

const OWNER: usize = 1;
const TAKEN: usize = 2;
const LOST: usize = 3;
const CLOCK: usize = 4;

/// Granules of the head.
const HEAD: u64 = 2;

/// What the times of a log are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Clock {
    /// Nanoseconds of the monotonic clock.
    Monotonic,
    /// Ticks of the CPU's counter.
    Counter,
}

impl Clock {
    /// The best one here.
    #[must_use]
    pub fn of_this_machine() -> Clock {
        let source = std::fs::read("/sys/devices/system/clocksource/clocksource0/current_clocksource");
        let is_counter = cfg!(target_arch = "x86_64") && source.is_ok_and(|name| name.trim_ascii() == b"tsc");
        if is_counter { Clock::Counter } else { Clock::Monotonic }
    }

    /// The time.
    #[inline]
    #[must_use]
    pub fn now(self) -> u64 {
        #[cfg(target_arch = "x86_64")]
        if self == Clock::Counter {
            // SAFETY: every CPU of this kind has the counter, and the kernel lets programs read it where it uses it itself.
            return unsafe { core::arch::x86_64::_rdtsc() };
        }
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
    }
}

/// Granules that a thread has taken and has no records in yet.
#[derive(Clone, Copy, Debug)]
pub struct Part {
    next: u32,
    end: u32,
    size: u32,
}

impl Part {
    /// None yet.
    pub const NONE: Part = Part { next: 0, end: 0, size: 0 };
}

/// A log.
#[derive(Debug)]
pub struct Log {
    segment: Segment,
    /// Bytes up to which this process has reserved pages.
    reserved: AtomicU64,
    is_reserving: AtomicBool,
    clock: Clock,
}

impl Log {
    /// An empty log of at least this many bytes, which takes memory only for what is written.
    ///
    /// # Errors
    ///
    /// When the system refuses the segment.
    pub fn create(bytes: usize, clock: Clock) -> Result<Log, ShmError> {
        let segment = Segment::create(bytes.max(LEAST).next_multiple_of(PIECE as usize))?;
        segment.commit(0, HEAD * BYTES, "the head of a log")?;
        let log = Log::over(segment, clock);
        log.word(CLOCK).store(u64::from(clock == Clock::Counter), Ordering::Relaxed);
        log.word(0).store(MARK, Ordering::Relaxed);
        Ok(log)
    }

    /// The log behind an inherited descriptor, to be written by this process. `None` when it is another's, or no log.
    #[must_use]
    pub fn attach(descriptor: OwnedFd) -> Option<Log> {
        let segment = Segment::attach(descriptor).ok().filter(|segment| segment.len() >= LEAST)?;
        let mut log = Log::over(segment, Clock::Monotonic);
        if log.word(CLOCK).load(Ordering::Relaxed) == 1 {
            log.clock = Clock::Counter;
        }
        let own = u64::from(std::process::id());
        let is_free = || log.word(OWNER).compare_exchange(0, own, Ordering::Relaxed, Ordering::Relaxed).is_ok();
        (log.word(0).load(Ordering::Relaxed) == MARK && is_free()).then(|| {
            log.segment.keep_from_dumps();
            log
        })
    }

    fn over(segment: Segment, clock: Clock) -> Log {
        Log { segment, reserved: AtomicU64::new(0), is_reserving: AtomicBool::new(false), clock }
    }

    /// The descriptor of the segment.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.segment.fd()
    }

    /// What its times are.
    #[inline]
    pub fn clock(&self) -> Clock {
        self.clock
    }

    fn words(&self) -> &[AtomicU64] {
        // SAFETY: the segment is this long, page-aligned, and mapped as long as it exists; nothing in it is ever accessed but by
        // atomics.
        unsafe { std::slice::from_raw_parts(self.segment.base().cast::<AtomicU64>(), self.segment.len() / 8) }
    }

    #[inline]
    fn word(&self, at: usize) -> &AtomicU64 {
        &self.words()[at]
    }

    /// Takes `granules` for a record of the thread whose part this is, in order. `None` when there is no room.
    #[inline]
    pub fn take(&self, part: &Cell<Part>, granules: u32) -> Option<u32> {
        let Part { next, end, size } = part.get();
        if granules > end - next {
            return self.take_part(part, granules);
        }
        part.set(Part { next: next + granules, end, size });
        Some(next)
    }

    /// As [`Log::take`], out of a new part.
    #[cold]
    fn take_part(&self, part: &Cell<Part>, granules: u32) -> Option<u32> {
        let size = (part.get().size * 2).clamp(PARTS.0, PARTS.1);
        let (at, end) = self.claim(granules, size.max(granules))?;
        part.set(Part { next: at + granules, end, size });
        Some(at)
    }

    /// Takes `granules` for a record that is of no part. `None` when there is no room.
    #[cold]
    pub fn take_apart(&self, granules: u32) -> Option<u32> {
        Some(self.claim(granules, granules)?.0)
    }

    /// Takes so many granules or, close to the end, at least the fewest: from where to where.
    fn claim(&self, fewest: u32, most: u32) -> Option<(u32, u32)> {
        let room = self.segment.len() as u64 / BYTES - HEAD;
        let more = |taken: u64| {
            let left = room.checked_sub(taken)?;
            (left >= u64::from(fewest)).then(|| taken + left.min(most.into()))
        };
        let taken = self.word(TAKEN);
        let from = taken.fetch_update(Ordering::Relaxed, Ordering::Relaxed, more).ok()?;
        let (from, end) = (from + HEAD, more(from)? + HEAD);
        if end * BYTES > self.reserved.load(Ordering::Acquire) && !self.reserve(end * BYTES) {
            return None;
        }
        Some((u32::try_from(from).ok()?, u32::try_from(end).ok()?))
    }

    /// Counts something for which there was no room.
    #[cold]
    pub fn lose(&self) {
        self.word(LOST).fetch_add(1, Ordering::Relaxed);
    }

    /// Reserves pages up to there and some more.
    #[cold]
    fn reserve(&self, end: u64) -> bool {
        let len = self.segment.len() as u64;
        if end > len {
            return false;
        }
        // Others who need the same pages wait: it is as long as it takes the kernel to clear them.
        while self.is_reserving.swap(true, Ordering::Acquire) {
            std::thread::yield_now();
        }
        let from = self.reserved.load(Ordering::Relaxed);
        let to = (end + PIECE).min(len).next_multiple_of(4096).min(len);
        let is_there = end <= from || self.segment.commit(from, to - from, "a log").is_ok();
        if is_there && end > from {
            // A page fault costs more than what goes into the page.
            self.segment.populate(from, to - from);
            self.reserved.store(to, Ordering::Release);
        }
        self.is_reserving.store(false, Ordering::Release);
        is_there
    }

    /// The words of the record that begins at granule `at`; none of one that lies outside.
    #[inline]
    fn of_record(&self, at: u32) -> &[AtomicU64] {
        self.words().get(at as usize * GRANULE..).unwrap_or_default()
    }

    /// Writes a record into granules that were taken for it.
    #[inline]
    pub fn write<const N: usize>(&self, at: u32, record: [u64; N]) {
        let Some(words) = self.of_record(at).first_chunk::<N>() else { return };
        // By number: the compiler makes no loop of it.
        for word in 1..N {
            words[word].store(record[word], Ordering::Relaxed);
        }
        // Release: for a reader that does not wait for the end.
        words[0].store(record[0], Ordering::Release);
    }

    /// As [`Log::write`], for a record of any length.
    pub fn write_all(&self, at: u32, record: &[u64]) {
        let Some(words) = self.of_record(at).get(..record.len()) else { return };
        for (word, value) in words.iter().zip(record).skip(1) {
            word.store(*value, Ordering::Relaxed);
        }
        if let (Some(word), Some(value)) = (words.first(), record.first()) {
            word.store(*value, Ordering::Release);
        }
    }

    /// Changes a word of a record.
    #[inline]
    pub fn set(&self, at: u32, word: usize, value: u64) {
        if let Some(word) = self.of_record(at).get(word) {
            word.store(value, Ordering::Relaxed);
        }
    }

    /// As [`Log::set`], for two words that follow each other.
    #[inline]
    pub fn set_both(&self, at: u32, word: usize, values: [u64; 2]) {
        let words = self.of_record(at).get(word..).and_then(<[AtomicU64]>::first_chunk::<2>);
        let Some([first, second]) = words else { return };
        first.store(values[0], Ordering::Relaxed);
        second.store(values[1], Ordering::Relaxed);
    }

    /// A word of a record of this process.
    #[inline]
    pub fn get(&self, at: u32, word: usize) -> u64 {
        self.of_record(at).get(word).map_or(0, |word| word.load(Ordering::Relaxed))
    }

    /// What has been [lost](Log::lose).
    pub fn lost(&self) -> u64 {
        self.read(HEAD as usize * GRANULE).get(LOST).copied().unwrap_or(0)
    }

    /// Everything that has been written, with the head. Who wrote may have said anything, and given pages back: so it is read
    /// and not looked at in the mapping, where a page that is not there and cannot be had ends the one who looks.
    pub fn all(&self) -> Vec<u64> {
        let taken = self.read(HEAD as usize * GRANULE).get(TAKEN).copied().unwrap_or(0);
        let words = taken.saturating_add(HEAD).saturating_mul(GRANULE as u64);
        // Behind as many bytes as there are pages, nothing was written that counts: pages are reserved from the front on.
        let pages = rustix::fs::fstat(self.fd()).map_or(0, |state| u64::try_from(state.st_blocks).unwrap_or(0));
        let most = pages.saturating_mul(512 / 8).min(self.segment.len() as u64 / 8);
        self.read(usize::try_from(words.min(most)).unwrap_or(0))
    }

    /// The first words, as far as they can be read.
    fn read(&self, words: usize) -> Vec<u64> {
        let mut found = Vec::with_capacity(words);
        let mut piece = vec![0; (words * 8).min(PIECE as usize)];
        while found.len() < words {
            let wanted = ((words - found.len()) * 8).min(piece.len());
            match rustix::io::pread(self.fd(), &mut piece[..wanted], found.len() as u64 * 8) {
                Ok(read) if read >= 8 => {
                    found.extend(piece[..read].as_chunks::<8>().0.iter().map(|word| u64::from_ne_bytes(*word)));
                }
                Err(rustix::io::Errno::INTR) => {}
                _ => break,
            }
        }
        found
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(bytes: usize) -> (Log, Log) {
        let ours = Log::create(bytes, Clock::of_this_machine()).expect("a log");
        let theirs = Log::attach(ours.fd().try_clone_to_owned().expect("a descriptor")).expect("the writer's");
        (ours, theirs)
    }

    #[test]
    fn what_is_written_is_read() {
        let (reader, writer) = pair(0);
        let part = Cell::new(Part::NONE);
        let at = writer.take(&part, 1).expect("room");
        writer.write(at, [7, 1, 2, 3]);
        let two = writer.take(&part, 2).expect("room");
        writer.write(two, [9, 1, 2, 3, 4, 5, 6, 7]);
        writer.set(at, 2, 20);
        assert_eq!((at, two, writer.get(two, 7)), (2, 3, 7));
        assert_eq!(reader.all()[OWNER], u64::from(std::process::id()));
        assert_eq!(reader.all()[HEAD as usize * GRANULE..][..12], [7, 1, 20, 3, 9, 1, 2, 3, 4, 5, 6, 7]);
        assert!(reader.all()[HEAD as usize * GRANULE + 12..].iter().all(|word| *word == 0));
    }

    #[test]
    fn a_record_that_was_not_finished_is_nothing() {
        let (reader, writer) = pair(0);
        let part = Cell::new(Part::NONE);
        writer.take(&part, 1).expect("room");
        let at = writer.take(&part, 1).expect("room");
        writer.write(at, [7, 1, 2, 3]);
        assert_eq!(reader.all()[HEAD as usize * GRANULE..][..8], [0, 0, 0, 0, 7, 1, 2, 3]);
    }

    #[test]
    fn what_has_no_room_is_lost_and_counted() {
        let (reader, writer) = pair(PIECE as usize);
        let room = PIECE as usize / (GRANULE * 8) - HEAD as usize;
        let part = Cell::new(Part::NONE);
        assert_eq!((0..).take_while(|_| writer.take(&part, 1).is_some()).count(), room);
        assert!((0..9).all(|_| writer.take(&part, 2).is_none() && writer.take_apart(1).is_none()));
        writer.lose();
        assert_eq!((reader.lost(), reader.all().len()), (1, (room + HEAD as usize) * GRANULE));
    }

    #[test]
    fn a_record_lies_in_one_piece_and_a_part_grows() {
        let (_reader, writer) = pair(0);
        let part = Cell::new(Part::NONE);
        let mut taken = Vec::new();
        for granules in (0..300).map(|number| 1 + number % 3) {
            let at = writer.take(&part, granules).expect("room");
            taken.extend(at..at + granules);
            // Another thread's, or a text.
            taken.extend(writer.take_apart(1));
        }
        let (count, end) = (taken.len(), taken.iter().max().copied().unwrap_or(0));
        taken.sort_unstable();
        taken.dedup();
        // Each granule once, and two of a part at most left empty, when a record of three no longer fitted.
        assert_eq!((taken.len(), part.get().size), (count, PARTS.1));
        assert!(end as usize - count < 2 * 300 / 16 + PARTS.1 as usize, "{end} {count}");
    }

    #[test]
    fn what_is_outside_is_not_written() {
        let (reader, writer) = pair(0);
        let end = u32::try_from(PIECE).expect("a number") / 32;
        writer.write(end - 1, [7, 1, 2, 3, 4, 5, 6, 7]);
        writer.write_all(u32::MAX, &[7, 1, 2, 3]);
        writer.set(end, 0, 7);
        assert_eq!((writer.get(end - 1, 0), writer.get(end, 0)), (0, 0));
        assert_eq!(reader.all().len(), HEAD as usize * GRANULE);
    }

    #[test]
    fn reading_takes_no_page_that_is_not_there() {
        let (reader, writer) = pair(32 << 20);
        writer.write(writer.take_apart(1).expect("room"), [7, 1, 2, 3]);
        let pages = || rustix::fs::fstat(reader.fd()).expect("its state").st_blocks;
        let before = pages();
        // What a program writes over its log may be anything.
        writer.word(TAKEN).store(u64::MAX, Ordering::Relaxed);
        let all = reader.all();
        assert_eq!(pages(), before);
        assert!(all.len() as u64 <= before as u64 * 64, "{}", all.len());
        assert_eq!(all[HEAD as usize * GRANULE..][..5], [7, 1, 2, 3, 0]);
        // Nor is the head, when its page has been given back.
        let punch = rustix::fs::FallocateFlags::PUNCH_HOLE | rustix::fs::FallocateFlags::KEEP_SIZE;
        rustix::fs::fallocate(reader.fd(), punch, 0, 32 << 20).expect("a hole");
        assert_eq!((reader.lost(), reader.all().len(), pages()), (0, 0, 0));
    }

    #[test]
    fn threads_take_different_granules() {
        let (reader, writer) = pair(1 << 20);
        std::thread::scope(|scope| {
            for thread in 1..=4 {
                let writer = &writer;
                scope.spawn(move || {
                    let part = Cell::new(Part::NONE);
                    for number in 0..2000 {
                        writer.write(writer.take(&part, 1).expect("room"), [thread, number, 0, 0]);
                    }
                });
            }
        });
        let all = reader.all();
        for thread in 1..=4 {
            let own: Vec<u64> =
                all.chunks(GRANULE).skip(HEAD as usize).filter(|g| g[0] == thread).map(|g| g[1]).collect();
            assert_eq!(own, (0..2000).collect::<Vec<_>>());
        }
    }

    #[test]
    fn the_writer_has_the_clock_that_the_maker_said() {
        for clock in [Clock::Monotonic, Clock::of_this_machine()] {
            let log = Log::create(0, clock).expect("a log");
            let writer = Log::attach(log.fd().try_clone_to_owned().expect("a descriptor")).expect("the writer's");
            assert_eq!(writer.clock(), clock);
            let (before, after) = (clock.now(), clock.now());
            assert!(before <= after);
        }
    }

    #[test]
    fn a_log_has_one_writer_and_only_a_log_is_one() {
        let (reader, _writer) = pair(0);
        assert!(Log::attach(reader.fd().try_clone_to_owned().expect("a descriptor")).is_none());
        let other = Segment::create(LEAST).expect("a segment");
        assert!(Log::attach(other.fd().try_clone_to_owned().expect("a descriptor")).is_none());
        let file = std::fs::File::open("/dev/null").expect("there");
        assert!(Log::attach(file.into()).is_none());
    }
}
