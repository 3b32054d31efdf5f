//! Agreements of processes that may be killed at any instant: the ledger of a group.
//!
//! # Layout
//!
//! ```text
//! head         one line        who has revoked; one number for each of the last ROUNDS rounds
//! failed       a word each     members that have failed, in the order in which they were noted
//! member 0     two lines       rounds finished; gone; its fate and what it has acknowledged, in each of the last ROUNDS
//! member 1     ...
//! ```
//!
//! # Protocol
//!
//! *Rounds* are numbered from 1, the same for all members. In each of them every member has a *fate*, one word that is
//! settled once, by compare-and-swap: the member itself gives a value, or somebody who has found it dead misses it. When
//! the fates of all members are settled, the outcome of the round is a function of these words, the same for whoever
//! reads them. So there is nothing that a process could hold while it is killed, and who is taken for dead by mistake
//! finds that its value came too late.
//!
//! 1. *Enter*: a member may use the words of round `r` when all who live have finished round `r - ROUNDS`.
//! 2. *Give*: store how many failures have been acknowledged, then settle the own fate.
//! 3. Wait for the fates of all. Who has failed is noted in the list of failed members, then missed.
//! 4. *Finish*: after the last look at the words of the round.
//!
//! The list only grows, and no member is in it twice: an entry is made in the first free place, after a look at all
//! before it. So "the first three" are the same members for everybody, and one number tells which failures a member has
//! acknowledged.
//!
//! Nothing is ever reset: a word that was not written in a round has a lower round in it.

use crate::sync::{AtomicU64, Ordering, fence};

/// Rounds that a member may be ahead of another.
pub const ROUNDS: u32 = if cfg!(loom) { 1 } else { 4 };

/// Words in a line.
const LINE: usize = 8;

/// Words of the head.
mod head {
    /// 0, or the member that has revoked the group, and 1.
    pub(super) const REVOKED: usize = 0;
    /// By round: `round << 32 | number`.
    pub(super) const NUMBER: usize = 1;
}

/// Words of a member.
mod member {
    /// The last round that it has finished, as all before.
    pub(super) const DONE: usize = 0;
    /// Not 0: it does not come back.
    pub(super) const GONE: usize = 1;
    /// By round: `round << 33 | MISSED | value`.
    pub(super) const FATE: usize = 2;
    /// By round: failures that it had acknowledged.
    pub(super) const ACKED: usize = FATE + super::ROUNDS as usize;
    /// Words: two lines.
    pub(super) const ALL: usize = 2 * super::LINE;
}

const ROUND_AT: u32 = 33;
const MISSED: u64 = 1 << 32;

/// What has become of a member in a round.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Not known yet.
    Open,
    /// It has given a value.
    Given {
        /// The value.
        value: u32,
        /// How many failed members it had acknowledged: the first ones of the list.
        acked: u32,
    },
    /// It had failed before it gave one.
    Missed,
}

/// The ledger of a group, in memory that its members share.
#[derive(Clone, Copy, Debug)]
pub struct Ledger<'a> {
    words: &'a [AtomicU64],
    members: usize,
}

impl<'a> Ledger<'a> {
    /// Words that the ledger of so many members takes.
    pub const fn words(members: usize) -> usize {
        Ledger::first(members) + members * member::ALL
    }

    /// Where the words of member 0 begin.
    const fn first(members: usize) -> usize {
        LINE + members.next_multiple_of(LINE)
    }

    /// The ledger in memory that was zero before its first use; `None` when it is too short.
    pub fn over(words: &'a [AtomicU64], members: usize) -> Option<Ledger<'a>> {
        let words = words.get(..Ledger::words(members))?;
        Some(Ledger { words, members })
    }

    fn of(&self, member: usize, at: usize) -> &'a AtomicU64 {
        &self.words[Ledger::first(self.members) + member * member::ALL + at]
    }

    fn fate_word(&self, member: usize, round: u32) -> &'a AtomicU64 {
        self.of(member, member::FATE + (round % ROUNDS) as usize)
    }

    /// Says for `member` that the group is of no use any more. The first one counts.
    pub fn revoke(&self, member: usize) {
        // SYNC POINT ledger-revoked: Release, so that what its messages say is seen.
        let _later =
            self.words[head::REVOKED].compare_exchange(0, member as u64 + 1, Ordering::AcqRel, Ordering::Acquire);
    }

    /// Who has revoked the group, if somebody has.
    pub fn revoked(&self) -> Option<usize> {
        // SYNC POINT ledger-revoked: Acquire.
        let word = self.words[head::REVOKED].load(Ordering::Acquire);
        (1..=self.members as u64).contains(&word).then(|| word as usize - 1)
    }

    /// The members that have been noted as failed, in the order of the list.
    pub fn failed(&self) -> impl Iterator<Item = usize> + 'a {
        let members = self.members as u64;
        let list = &self.words[LINE..LINE + self.members];
        // SYNC POINT ledger-failed: Acquire, for the fates that follow from an entry.
        let entries = list.iter().map(|word| word.load(Ordering::Acquire));
        entries.take_while(move |entry| (1..=members).contains(entry)).map(|entry| entry as usize - 1)
    }

    /// Notes that a member has failed; its place in the list.
    pub fn note_failed(&self, member: usize) -> usize {
        let mine = member as u64 + 1;
        for (place, word) in self.words[LINE..LINE + self.members].iter().enumerate() {
            // SYNC POINT ledger-failed: Release.
            let seen = match word.compare_exchange(0, mine, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return place,
                Err(seen) => seen,
            };
            if seen == mine {
                return place;
            }
        }
        // Somebody has written nonsense into the list: nobody has acknowledged this one.
        self.members
    }

    /// Whether a member, which may be dead, is done with what the words of this round held before.
    pub fn has_room(&self, member: usize, round: u32) -> bool {
        // SYNC POINT ledger-done: Acquire, its looks at the words come before what is written there next.
        self.of(member, member::DONE).load(Ordering::Acquire) + u64::from(ROUNDS) >= u64::from(round)
    }

    /// Gives the value of member `me`. False when the others have missed it already, taking it for dead.
    pub fn give(&self, me: usize, round: u32, value: u32, acked: u32) -> bool {
        self.of(me, member::ACKED + (round % ROUNDS) as usize).store(u64::from(acked), Ordering::Relaxed);
        self.settle(me, round, u64::from(value))
    }

    /// Settles the fate of a member that has failed and is noted as such, unless it has given its value before.
    pub fn miss(&self, member: usize, round: u32) {
        self.settle(member, round, MISSED);
    }

    fn settle(&self, member: usize, round: u32, fate: u64) -> bool {
        let word = self.fate_word(member, round);
        let before = word.load(Ordering::Relaxed);
        if before >> ROUND_AT >= u64::from(round) {
            return false;
        }
        let new = u64::from(round) << ROUND_AT | fate;
        // SYNC POINT ledger-fate: Release, for what was acknowledged, and for the list's entry.
        word.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire).is_ok()
    }

    /// What has become of a member in a round that this process has entered and not finished.
    pub fn fate(&self, member: usize, round: u32) -> Fate {
        // SYNC POINT ledger-fate: Acquire.
        let word = self.fate_word(member, round).load(Ordering::Acquire);
        match word >> ROUND_AT == u64::from(round) {
            false => Fate::Open,
            true if word & MISSED != 0 => Fate::Missed,
            true => {
                let acked = self.of(member, member::ACKED + (round % ROUNDS) as usize).load(Ordering::Relaxed);
                Fate::Given { value: word as u32, acked: acked as u32 }
            }
        }
    }

    /// One number for a round, the same for all who ask: the first one that somebody drew.
    pub fn number(&self, round: u32, draw: impl FnOnce() -> u32) -> u32 {
        let word = &self.words[head::NUMBER + (round % ROUNDS) as usize];
        // SYNC POINT ledger-number: Acquire.
        let before = word.load(Ordering::Acquire);
        if before >> 32 == u64::from(round) {
            return before as u32;
        }
        let new = u64::from(round) << 32 | u64::from(draw());
        // SYNC POINT ledger-number: Release.
        match word.compare_exchange(before, new, Ordering::AcqRel, Ordering::Acquire) {
            Ok(_) => new as u32,
            Err(first) => first as u32,
        }
    }

    /// Says that member `me` has looked at the words of this round, and of all before, for the last time.
    pub fn finish(&self, me: usize, round: u32) {
        // SYNC POINT ledger-done: Release.
        self.of(me, member::DONE).store(u64::from(round), Ordering::Release);
    }

    /// Says that member `me` does not come back; whether nobody does, `dead` telling who cannot. Of the last ones to
    /// leave, at least one is told so.
    pub fn leave(&self, me: usize, mut dead: impl FnMut(usize) -> bool) -> bool {
        let gone = |member: usize| self.of(member, member::GONE);
        gone(me).store(1, Ordering::Release);
        // Each writes its word before it reads those of others; the fences are ordered, so the one whose fence is last
        // sees all words.
        fence(Ordering::SeqCst);
        (0..self.members).all(|other| gone(other).load(Ordering::Acquire) != 0 || dead(other))
    }
}

#[cfg(all(test, not(loom)))]
mod tests {
    use super::*;

    fn words(members: usize) -> Vec<AtomicU64> {
        (0..Ledger::words(members)).map(|_| AtomicU64::new(0)).collect()
    }

    #[test]
    fn a_round_is_settled_by_values_and_deaths() {
        let words = words(3);
        let ledger = Ledger::over(&words, 3).expect("room");
        assert!(ledger.has_room(0, 1) && !ledger.has_room(0, ROUNDS + 1));
        assert!(ledger.give(0, 1, 6, 0));
        assert_eq!(ledger.fate(0, 1), Fate::Given { value: 6, acked: 0 });
        assert_eq!(ledger.fate(1, 1), Fate::Open);
        assert!(ledger.give(1, 1, 3, 1));
        assert_eq!(ledger.note_failed(2), 0);
        ledger.miss(2, 1);
        assert_eq!(ledger.fate(2, 1), Fate::Missed);
        // Too late, and a second time.
        assert!(!ledger.give(2, 1, 7, 0) && !ledger.give(0, 1, 9, 0));
        assert_eq!((ledger.fate(2, 1), ledger.fate(0, 1)), (Fate::Missed, Fate::Given { value: 6, acked: 0 }));
        assert_eq!((ledger.number(1, || 40), ledger.number(1, || 50), ledger.number(2, || 60)), (40, 40, 60));
    }

    #[test]
    fn words_serve_again_after_some_rounds() {
        let words = words(2);
        let ledger = Ledger::over(&words, 2).expect("room");
        for round in 1..=3 * ROUNDS {
            for me in 0..2 {
                assert!(ledger.has_room(me, round));
                assert_eq!(ledger.fate(me, round), Fate::Open);
                assert!(ledger.give(me, round, round, 0));
            }
            assert_eq!(ledger.fate(1, round), Fate::Given { value: round, acked: 0 });
            ledger.finish(0, round);
            ledger.finish(1, round);
        }
    }

    #[test]
    fn failed_members_are_listed_once_and_in_order() {
        let words = words(4);
        let ledger = Ledger::over(&words, 4).expect("room");
        assert_eq!([3, 1, 3, 0, 1].map(|member| ledger.note_failed(member)), [0, 1, 0, 2, 1]);
        assert_eq!(ledger.failed().collect::<Vec<_>>(), [3, 1, 0]);
    }

    #[test]
    fn the_last_to_leave_is_told() {
        let words = words(3);
        let ledger = Ledger::over(&words, 3).expect("room");
        assert!(!ledger.leave(0, |_| false));
        assert!(!ledger.leave(2, |_| false));
        assert!(ledger.leave(2, |member| member == 1));
        assert!(ledger.leave(1, |_| false));
        assert_eq!(ledger.revoked(), None);
        ledger.revoke(2);
        ledger.revoke(1);
        assert_eq!(ledger.revoked(), Some(2));
    }

    #[test]
    fn nonsense_in_the_words_is_no_member() {
        let words = words(2);
        words.iter().for_each(|word| word.store(u64::MAX, Ordering::Relaxed));
        let ledger = Ledger::over(&words, 2).expect("room");
        assert_eq!((ledger.revoked(), ledger.failed().count(), ledger.note_failed(1)), (None, 0, 2));
        assert!(!ledger.give(0, 1, 1, 0));
        assert!(Ledger::over(&words[1..], 2).is_none());
    }
}
