//! Who asks what the job is doing, and what is answered: other processes of this user at the job's [`Door`], and the user by
//! SIGQUIT. The job goes on meanwhile.

use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};

use phalanx_shm::SlotState;
use phalanx_waits::{Snapshot, Wait, headline, reason, stuck};
use rustix::event::epoll;
use rustix::io::Errno;
use serde::Serialize;

use super::far::{Sights, stage_of};
use super::waits::RankNames;
use super::{Job, Rank, Source, data, watch};
use crate::jobs::{ABOUT, Door, GREETING, LOOK, TOP};
use crate::look::{self, About, Look, RankSeen, Stage, Stuck};

/// Who may ask at the same time. One more takes the place of the first, who may have fallen asleep.
const CALLERS: usize = 16;
/// Bytes of a question.
const QUESTION: usize = 64;
/// Times that notes are looked at for a deadlock that holds.
const LOOKS: usize = 3;

/// How long ranks go on counting what they send when nobody asks for it any more.
const INTEREST: Duration = Duration::from_secs(10);

/// Who has connected.
struct Caller {
    socket: OwnedFd,
    /// Tells it from others that had its place.
    number: usize,
    question: Vec<u8>,
    answer: Vec<u8>,
    written: usize,
}

/// The door, and who is there.
#[derive(Default)]
pub(super) struct Looked {
    door: Option<Door>,
    callers: Vec<Caller>,
    count: usize,
    program: String,
    /// Until when ranks count what they send.
    observed_until: Option<Instant>,
}

impl Looked {
    /// What listens at this door; nothing, where it could not be opened: the job runs without it.
    pub(super) fn new(door: Option<Door>) -> Looked {
        Looked { door, ..Looked::default() }
    }
}

impl Job {
    /// Begins to answer who asks.
    pub(super) fn open_door(&mut self) {
        if let Some(door) = &self.looked.door
            && watch(&self.epoll, door, Source::Door).is_err()
        {
            self.looked.door = None;
        }
    }

    /// Says what the job is called.
    pub(super) fn call_it(&mut self, program: String) {
        if self.looked.program.is_empty() {
            self.looked.program = program;
        }
    }

    /// Lets in who has connected.
    pub(super) fn answer_door(&mut self) {
        let Some(door) = &self.looked.door else { return };
        while let Some(socket) = door.accept() {
            let number = self.looked.count;
            self.looked.count += 1;
            if watch(&self.epoll, &socket, Source::Caller(number)).is_err() {
                continue;
            }
            if self.looked.callers.len() == CALLERS {
                self.looked.callers.remove(0);
            }
            let (question, answer) = (Vec::new(), Vec::new());
            self.looked.callers.push(Caller { socket, number, question, answer, written: 0 });
        }
    }

    /// Hears and answers one of them.
    pub(super) fn serve_caller(&mut self, number: usize) {
        let Some(at) = self.looked.callers.iter().position(|caller| caller.number == number) else { return };
        if self.looked.callers[at].answer.is_empty() {
            let mut room = [0; QUESTION];
            let caller = &mut self.looked.callers[at];
            match rustix::io::read(&caller.socket, &mut room[..]) {
                Ok(0) => return self.forget_caller(at),
                Ok(count) => caller.question.extend_from_slice(&room[..count]),
                Err(Errno::AGAIN | Errno::INTR) => return,
                Err(_) => return self.forget_caller(at),
            }
            let Some(end) = caller.question.iter().position(|byte| *byte == b'\n') else {
                if caller.question.len() > QUESTION {
                    self.forget_caller(at);
                }
                return;
            };
            let question = String::from_utf8_lossy(&caller.question[..end]).into_owned();
            let answer = match question.as_str() {
                ABOUT => encoded(&self.about(&self.snapshot())),
                // It is answered when the machines of the ranks have looked.
                LOOK | TOP if self.far.is_some() => return self.look_for_caller(number),
                LOOK => encoded(&self.look(&Sights::new())),
                TOP => {
                    self.observe(true);
                    encoded(&self.look(&Sights::new()))
                }
                _ => GREETING.as_bytes().to_vec(),
            };
            self.looked.callers[at].answer = answer;
        }
        self.write_answer(at);
    }

    /// Tells who has asked, if it is still there, what was seen.
    pub(super) fn answer_caller(&mut self, number: usize, look: &Look) {
        if let Some(at) = self.looked.callers.iter().position(|caller| caller.number == number) {
            self.looked.callers[at].answer = encoded(look);
            self.write_answer(at);
        }
    }

    /// Writes to a caller what it is to hear, as far as there is room.
    fn write_answer(&mut self, at: usize) {
        let number = self.looked.callers[at].number;
        let caller = &mut self.looked.callers[at];
        loop {
            let rest = &caller.answer[caller.written..];
            if rest.is_empty() {
                return self.forget_caller(at);
            }
            match rustix::net::send(&caller.socket, rest, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => caller.written += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                Err(_) => return self.forget_caller(at),
            }
        }
        // It takes the rest when it can.
        let event = data(Source::Caller(number));
        if epoll::modify(&self.epoll, &caller.socket, event, epoll::EventFlags::OUT).is_err() {
            self.forget_caller(at);
        }
    }

    fn forget_caller(&mut self, at: usize) {
        // Closing the descriptor takes it out of epoll.
        self.looked.callers.remove(at);
    }

    /// When nobody looks any more at what ranks send.
    pub(super) fn unobserved_at(&self) -> Option<Instant> {
        self.looked.observed_until
    }

    /// Has ranks count what they send, and tell it; or not any more.
    pub(super) fn observe(&mut self, on: bool) {
        if self.manner.foreign {
            return;
        }
        self.looked.observed_until = if on { Instant::now().checked_add(INTEREST) } else { None };
        for rank in self.ranks.iter().filter(|rank| rank.ended.is_none()) {
            self.universe.observe(rank.slot, on);
        }
    }

    fn snapshot(&self) -> Snapshot {
        match self.manner.foreign {
            true => Snapshot::default(),
            false => Snapshot::take(self.universe.universe()),
        }
    }

    /// What the job is, and how it fares.
    fn about(&self, snapshot: &Snapshot) -> About {
        let is_running = |rank: &&Rank| rank.ended.is_none();
        let waits = |rank: &&Rank| snapshot.threads().iter().any(|thread| thread.slot == rank.slot);
        let running = self.ranks.iter().filter(is_running).count();
        let waiting = self.ranks.iter().filter(is_running).filter(waits).count();
        let number = |count| u32::try_from(count).unwrap_or(u32::MAX);
        About {
            id: self.looked.door.as_ref().map(|door| door.id.clone()).unwrap_or_default(),
            launcher: std::process::id(),
            program: self.looked.program.clone(),
            ranks: number(self.ranks.len()),
            running: number(running),
            waiting: number(waiting),
            age: u64::try_from(self.started.elapsed().as_millis()).unwrap_or(u64::MAX),
            ending: self.course.is_ending(),
            deadlock: !stuck(snapshot.standings()).is_empty(),
            foreign: self.manner.foreign,
        }
    }

    /// What each rank is doing; those on other machines as it was seen there.
    pub(super) fn look(&self, sights: &Sights) -> Look {
        let mut snapshot = self.snapshot();
        let mut proved = None;
        for _ in 0..LOOKS {
            let slots = stuck(snapshot.standings());
            if slots.is_empty() {
                break;
            }
            if snapshot.holds(self.universe.universe(), &slots) {
                let names = RankNames(&self.ranks);
                let (headline, reason) = (headline(&snapshot, &slots, &names), reason(&snapshot, &slots, &names));
                proved = Some(Stuck { slots, headline, reason });
                break;
            }
            snapshot = self.snapshot();
        }
        if !self.manner.foreign {
            snapshot = snapshot.with_awake(self.universe.universe());
        }
        let about = About { deadlock: proved.is_some(), ..self.about(&snapshot) };
        let waits: Vec<(u32, Wait)> =
            snapshot.threads().iter().map(|thread| (thread.slot, thread.wait.clone())).collect();
        let ranks = self.ranks.iter().enumerate().filter(|(_, rank)| !rank.discarded);
        let mut ranks: Vec<RankSeen> = ranks.map(|(index, rank)| self.seen(index, rank, sights)).collect();
        for (slot, wait) in &waits {
            let of_rank = ranks.iter_mut().filter(|rank| rank.slot == *slot);
            of_rank.filter_map(|rank| rank.process.as_mut()).for_each(|process| process.add_native(wait));
        }
        let time = rustix::time::clock_gettime(rustix::time::ClockId::Monotonic);
        let now = time.tv_sec.unsigned_abs() * 1000 + time.tv_nsec.unsigned_abs() / 1_000_000;
        Look { about, ranks, waits, stuck: proved, now }
    }

    fn seen(&self, index: usize, rank: &Rank, sights: &Sights) -> RankSeen {
        let pid = rank.number;
        let sight = sights.get(&index);
        // It may have ended since then: what was seen at one moment is told together.
        let ended = rank.ended.filter(|_| sight.is_none());
        let stage = match (sight, self.manner.foreign) {
            (Some(sight), _) => sight.stage,
            (None, true) if rank.host.is_some() => Stage::Unknown,
            (None, true) => stage_of(self.connections[rank.connection].client.stage),
            (None, false) => match self.universe.state(rank.slot) {
                SlotState::Empty => Stage::Before,
                SlotState::Starting => Stage::Starting,
                SlotState::Running => Stage::Running,
                SlotState::Finalizing => Stage::Finalizing,
                SlotState::Finalized => Stage::Finalized,
            },
        };
        let (mut process, mut children) = (None, Vec::new());
        if ended.is_none() {
            let mut caller = None;
            if rank.pid.is_some() {
                let tree = look::tree(pid);
                let is_its = |caller: &u32| !self.manner.foreign && tree.contains(caller);
                caller = self.universe.process_of(rank.slot).filter(is_its);
                children = tree.iter().filter_map(|pid| look::look_at(*pid)).collect::<Vec<_>>();
            } else if let Some(sight) = sight {
                children.clone_from(&sight.processes);
            }
            // A shell and the like, and the Python that it runs.
            let is_python = |seen: &look::Process| seen.threads.iter().any(|thread| !thread.frames.is_empty());
            let at = match caller {
                Some(caller) => children.iter().position(|seen| seen.pid == caller),
                None => children.iter().position(is_python),
            };
            let at = at.unwrap_or(0);
            if at < children.len() {
                process = Some(children.remove(at));
                children.drain(..at);
            }
        }
        let world = u32::try_from(rank.world).unwrap_or(u32::MAX);
        let host = self.host_of(rank);
        let (rank, slot, program, ended) = (rank.rank, rank.slot, rank.program.clone(), ended.map(Into::into));
        let done = self.looked.observed_until.and_then(|_| self.universe.done(slot));
        RankSeen { world, rank, slot, pid, program, stage, ended, done, host, process, children }
    }

    /// Says what each rank is doing, on standard error.
    pub(super) fn say_look(&mut self) {
        if self.far.is_some() {
            return self.look_for_user();
        }
        let text = look::report(&self.look(&Sights::new()), false);
        self.say(text.trim_end());
    }
}

fn encoded<T: Serialize>(value: &T) -> Vec<u8> {
    let mut answer = GREETING.as_bytes().to_vec();
    answer.extend(postcard::to_allocvec(value).unwrap_or_default());
    answer
}
