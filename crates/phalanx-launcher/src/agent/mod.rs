//! `phalanx agent`: the ranks of a job on one machine, for a launcher elsewhere.
//!
//! Standard input and output are the channel to the launcher ([`phalanx_wire::agent`]). As in the launcher, one thread and
//! one `epoll` do everything, ranks die with the agent, what they leave becomes its child, and a guard process ends all when
//! the agent is killed, or stopped. All ends, too, when the channel closes and when the launcher is silent.

mod pmi;
mod ranks;

use std::collections::HashMap;
use std::ffi::OsString;
use std::os::fd::{AsFd, OwnedFd};
use std::time::{Duration, Instant};

use phalanx_wire::agent::{Bytes, Order, Report, SEEN, Sight, WINDOW};
use phalanx_wire::frame::{Reader, Writer};
use phalanx_wire::pulse::Pulse;
use rustix::buffer::spare_capacity;
use rustix::event::Timespec;
use rustix::event::epoll;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use crate::error::LaunchError;
use crate::hosts::look;
use crate::job::Desk;
use crate::leftovers::Leftovers;
use crate::output;
use crate::pmi::Service;
use crate::process::{self, Guard};
use crate::signals::{self, Signals};
use ranks::Rank;

/// What ranks have left behind may end by itself for so long.
const LINGER: Duration = Duration::from_millis(500);
/// Between two rounds of killing: each finds what the last one left to us.
const ROUND: Duration = Duration::from_millis(50);
/// How long the last words may take to be written.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the loop watches.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Source {
    Orders,
    Room,
    Signals,
    Desk,
    Output(usize),
    Pmi(usize),
    Input(usize),
}

impl Source {
    fn data(self) -> epoll::EventData {
        let (kind, index) = match self {
            Self::Orders => (0, 0),
            Self::Room => (1, 0),
            Self::Signals => (2, 0),
            Self::Desk => (3, 0),
            Self::Output(id) => (4, id),
            Self::Pmi(index) => (5, index),
            Self::Input(index) => (6, index),
        };
        epoll::EventData::new_u64((kind << 56) | index as u64)
    }

    fn of(data: epoll::EventData) -> Option<Self> {
        let token = data.u64();
        let index = (token & ((1 << 56) - 1)) as usize;
        Some(match token >> 56 {
            0 => Self::Orders,
            1 => Self::Room,
            2 => Self::Signals,
            3 => Self::Desk,
            4 => Self::Output(index),
            5 => Self::Pmi(index),
            6 => Self::Input(index),
            _ => return None,
        })
    }
}

/// How far the end has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Course {
    /// Ranks may be started.
    Open,
    /// The launcher wants no more; what ranks have left is killed at this time.
    Closing(Instant),
    /// Nobody hears us any more: everything is killed, again at this time.
    Abandoned(Instant),
}

struct Agent {
    epoll: OwnedFd,
    signals: Signals,
    orders: OwnedFd,
    reports: OwnedFd,
    reader: Reader,
    writer: Writer,
    /// The descriptor for reports is watched for room.
    waits_for_room: bool,
    pulse: Pulse,
    /// What this machine is called, once that is known.
    host: String,
    mark: String,
    guard: Option<Guard>,
    desk: Desk,
    service: Service,
    ranks: Vec<Rank>,
    by_id: HashMap<u32, usize>,
    by_pid: HashMap<Pid, usize>,
    /// Bytes of output that were sent and not taken.
    outstanding: u64,
    /// Output is not read.
    held: bool,
    course: Course,
    leftovers: Leftovers,
    scratch: Vec<u8>,
}

/// Runs an agent to its end.
///
/// # Errors
/// When it was started by hand, and when the system refuses what it needs.
pub(crate) fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    if !args.is_empty() || rustix::termios::isatty(rustix::stdio::stdin()) {
        return Err(LaunchError::Usage {
            command: "agent",
            problem: "started by 'phalanx run' on each machine of a job; not by hand".to_owned(),
        });
    }
    let mut agent = Agent::new()?;
    Ok(agent.run())
}

impl Agent {
    fn new() -> Result<Self, LaunchError> {
        let refused = |doing: &'static str| move |error: std::io::Error| LaunchError::system(doing, error);
        let copy = |fd| rustix::io::fcntl_dupfd_cloexec(fd, 3).map_err(|e| LaunchError::system("its channel", e));
        let (orders, reports) = (copy(rustix::stdio::stdin())?, copy(rustix::stdio::stdout())?);
        process::nonblocking(&orders).and_then(|()| process::nonblocking(&reports)).map_err(refused("its channel"))?;
        let signals = Signals::new().map_err(refused("watching for signals"))?;
        process::adopt_orphans().map_err(refused("adopting orphaned processes"))?;
        let epoll = epoll::create(epoll::CreateFlags::CLOEXEC).map_err(|e| LaunchError::system("epoll", e))?;
        let desk = Desk::new().map_err(refused("the sockets that ranks tell of exceptions by"))?;
        let agent = Self {
            epoll,
            signals,
            orders,
            reports,
            reader: Reader::new(),
            writer: Writer::new(env!("CARGO_PKG_VERSION")),
            waits_for_room: false,
            pulse: Pulse::new(Instant::now(), phalanx_wire::pulse::EVERY),
            host: String::new(),
            mark: String::new(),
            guard: None,
            desk,
            service: Service::of_one_machine(0),
            ranks: Vec::new(),
            by_id: HashMap::new(),
            by_pid: HashMap::new(),
            outstanding: 0,
            held: false,
            course: Course::Open,
            leftovers: Leftovers::default(),
            scratch: vec![0; 64 * 1024],
        };
        let watching = |e| LaunchError::system("watching its channel", e);
        agent.watch(&agent.orders, Source::Orders).map_err(watching)?;
        agent.watch(&agent.signals, Source::Signals).map_err(watching)?;
        agent.watch(&agent.desk, Source::Desk).map_err(watching)?;
        Ok(agent)
    }

    fn watch(&self, descriptor: impl AsFd, source: Source) -> rustix::io::Result<()> {
        epoll::add(&self.epoll, descriptor, source.data(), epoll::EventFlags::IN)
    }

    fn run(&mut self) -> u8 {
        self.flush();
        let mut events: Vec<epoll::Event> = Vec::with_capacity(64);
        loop {
            let left = self.next_deadline().saturating_duration_since(Instant::now());
            let timeout = Timespec { tv_sec: left.as_secs().cast_signed(), tv_nsec: i64::from(left.subsec_nanos()) };
            events.clear();
            match epoll::wait(&self.epoll, spare_capacity(&mut events), Some(&timeout)) {
                Ok(_) | Err(Errno::INTR) => {}
                Err(error) => {
                    output::say(&format!("phalanx agent: waiting for events: {error}"));
                    self.abandon();
                }
            }
            let mut children_ended = false;
            for event in &events {
                match Source::of(event.data) {
                    Some(Source::Orders) => self.hear(),
                    Some(Source::Room) => self.flush(),
                    Some(Source::Signals) => children_ended |= self.take_signals(),
                    Some(Source::Desk) => self.read_desk(),
                    Some(Source::Output(id)) => self.read_output(id),
                    Some(Source::Pmi(index)) => self.read_pmi(index),
                    Some(Source::Input(index)) => self.feed(index),
                    None => {}
                }
            }
            if children_ended {
                self.reap();
            }
            self.check_timers();
            if let Some(status) = self.status() {
                return status;
            }
            self.balance();
        }
    }

    /// Sends a message, or keeps it until there is room.
    fn report(&mut self, report: &Report) {
        if matches!(self.course, Course::Abandoned(_)) {
            return;
        }
        if let Err(error) = self.writer.push(report) {
            let words = format!("phalanx agent: {error}");
            output::say(&words);
            return self.abandon();
        }
        self.flush();
    }

    fn flush(&mut self) {
        while !self.writer.unsent().is_empty() {
            match rustix::io::write(&self.reports, self.writer.unsent()) {
                Ok(count) => self.writer.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => break,
                // Nobody reads it any more.
                Err(_) => return self.abandon(),
            }
        }
        let waits = !self.writer.unsent().is_empty();
        if waits != self.waits_for_room {
            let done = match waits {
                true => epoll::add(&self.epoll, &self.reports, Source::Room.data(), epoll::EventFlags::OUT),
                false => epoll::delete(&self.epoll, &self.reports),
            };
            // What epoll does not take never waits: a file, in a test by hand.
            self.waits_for_room = waits && done.is_ok();
        }
    }

    /// Reads what the launcher says.
    fn hear(&mut self) {
        loop {
            match rustix::io::read(&self.orders, &mut self.scratch[..]) {
                Ok(0) => return self.channel_closed(),
                Ok(count) => {
                    self.pulse.heard();
                    self.reader.take(&self.scratch[..count]);
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => return,
                Err(_) => return self.channel_closed(),
            }
            loop {
                match self.reader.read::<Order>() {
                    Ok(Some(order)) => self.obey(order),
                    Ok(None) => break,
                    Err(error) => {
                        output::say(&format!("phalanx agent: the launcher cannot be understood: {error}"));
                        return self.abandon();
                    }
                }
            }
        }
    }

    fn channel_closed(&mut self) {
        // A closed descriptor would be reported for ever.
        let _ = epoll::delete(&self.epoll, &self.orders);
        self.abandon();
    }

    fn obey(&mut self, order: Order) {
        match order {
            Order::Check(check) => {
                let every = Duration::from_millis(u64::from(check.beat.max(10)));
                self.pulse = Pulse::new(Instant::now(), every);
                (self.host, self.mark) = (check.host.clone(), check.mark.clone());
                // The launcher compares while the guard is started.
                self.report(&Report::Found(look::look(&check)));
                if self.guard.is_none() && !self.mark.is_empty() {
                    match Guard::of_agent(&self.mark, &self.host, every) {
                        Ok(guard) => self.guard = Some(guard),
                        Err(error) => {
                            output::say(&format!("phalanx agent: starting the guard process: {error}"));
                            self.abandon();
                        }
                    }
                }
            }
            Order::Start(start) => self.start(&start),
            Order::Input { id, bytes } => self.take_input(id, &bytes.0),
            Order::Met { world, pairs } => self.met(world, pairs),
            Order::Answer { id, line } => self.answer(id, &line),
            Order::Signal(signal) => self.signal_ranks(signal),
            Order::Kill => self.kill_everything(),
            Order::Taken(count) => self.outstanding = self.outstanding.saturating_sub(count),
            Order::Look { number, within } => self.look_around(number, Duration::from_millis(within.into())),
            Order::Beat => {}
            Order::Pause => self.pulse.suspend(),
            Order::End => {
                if self.course == Course::Open {
                    self.course = Course::Closing(Instant::now() + LINGER);
                }
            }
        }
    }

    /// Sends a signal to the group of every rank that runs.
    fn signal_ranks(&mut self, signal: i32) {
        let Some(signal) = Signal::from_named_raw(signal) else { return };
        self.leftovers.before(signal, self.by_pid.keys());
        for pid in self.by_pid.keys() {
            process::signal_group(*pid, signal);
        }
    }

    fn spared(&self) -> Option<Pid> {
        self.guard.as_ref().and_then(|guard| guard.pid)
    }

    fn kill_everything(&mut self) {
        self.signal_ranks(Signal::KILL.as_raw());
        process::kill_descendants(self.spared());
    }

    /// Nobody hears us any more: nothing may be left.
    fn abandon(&mut self) {
        if !matches!(self.course, Course::Abandoned(_)) {
            self.course = Course::Abandoned(Instant::now() + ROUND);
            self.kill_everything();
        }
    }

    fn next_deadline(&self) -> Instant {
        match self.course {
            Course::Open => self.pulse.due(),
            Course::Closing(at) | Course::Abandoned(at) => at.min(self.pulse.due()),
        }
    }

    fn check_timers(&mut self) {
        let now = Instant::now();
        if self.pulse.beat(now) {
            self.report(&Report::Beat);
            self.note_mapped();
            if let Some(guard) = &self.guard {
                guard.beat();
            }
            if self.pulse.is_lost() && !matches!(self.course, Course::Abandoned(_)) {
                output::say(&format!(
                    "phalanx agent: host {} hears no more from the launcher; its ranks are killed",
                    self.host
                ));
                self.abandon();
            }
        }
        match self.course {
            Course::Closing(at) if at <= now => {
                process::kill_descendants(self.spared());
                self.course = Course::Closing(now + ROUND);
            }
            Course::Abandoned(at) if at <= now => {
                self.kill_everything();
                self.course = Course::Abandoned(now + ROUND);
            }
            _ => {}
        }
    }

    /// Whether nothing descends from us any more, but for the guard.
    fn is_alone(&self) -> bool {
        let guard = self.spared();
        self.by_pid.is_empty() && process::own_children().iter().all(|pid| Some(*pid) == guard)
    }

    /// The status to leave with, when it is time.
    fn status(&mut self) -> Option<u8> {
        if self.course == Course::Open || !self.is_alone() {
            return None;
        }
        if matches!(self.course, Course::Closing(_)) && !self.send_the_rest() {
            return None;
        }
        self.leftovers.remove();
        if let Some(mut guard) = self.guard.take() {
            guard.retire();
        }
        if matches!(self.course, Course::Abandoned(_)) {
            return Some(1);
        }
        self.report(&Report::Bye);
        // The launcher reads on until we have gone.
        let until = Instant::now() + FAREWELL;
        while !self.writer.unsent().is_empty() && Instant::now() < until && self.course != Course::Open {
            if matches!(self.course, Course::Abandoned(_)) {
                return Some(1);
            }
            std::thread::sleep(Duration::from_millis(1));
            self.flush();
        }
        Some(0)
    }

    /// Handles signals that arrived; true when children ended.
    fn take_signals(&mut self) -> bool {
        let mut children_ended = false;
        while let Some(signal) = self.signals.next() {
            match signal {
                libc::SIGCHLD => children_ended = true,
                libc::SIGTERM | libc::SIGHUP | libc::SIGINT | libc::SIGQUIT => {
                    let (name, sender) = (signals::short_name(signal), self.signals.sender());
                    self.report(&Report::Says(format!("the agent on {} received {name}{sender}", self.host)));
                    self.abandon();
                }
                _ => {}
            }
        }
        children_ended
    }

    /// Passes on what ranks have told. A socket that asks for the terminal is closed: there is none here.
    fn read_desk(&mut self) {
        for _ in 0..256 {
            let Some((len, _)) = self.desk.next(&mut self.scratch) else { return };
            let told = Bytes(self.scratch[..len].to_vec());
            self.report(&Report::Told(told));
        }
    }

    /// Says what ranks are doing, in as many messages as it takes.
    fn look_around(&mut self, number: u32, within: Duration) {
        let (until, mut ranks, mut size) = (Instant::now() + within, Vec::new(), 0);
        for index in 0..self.ranks.len() {
            let rank = &self.ranks[index];
            let Some(pid) = rank.pid else { continue };
            let (id, stage) = (rank.id, rank.client.stage.into());
            let (mut processes, mut bytes) = (Vec::new(), 0);
            for pid in crate::look::tree(process::number(pid)) {
                let seen = (Instant::now() < until).then(|| crate::look::look_at(pid)).flatten();
                let Some(seen) = seen.and_then(|seen| postcard::to_allocvec(&seen).ok()) else { continue };
                bytes += seen.len();
                if bytes > SEEN {
                    break;
                }
                processes.push(Bytes(seen));
            }
            if size + bytes > SEEN {
                let ranks = std::mem::take(&mut ranks);
                self.report(&Report::Seen { number, ranks, last: false });
                size = 0;
            }
            size += bytes;
            ranks.push(Sight { id, stage, processes });
        }
        self.report(&Report::Seen { number, ranks, last: true });
    }

    /// Stops reading output when too much of it has not been taken, and reads on when there is room.
    fn balance(&mut self) {
        let full = self.outstanding >= WINDOW;
        if full != self.held {
            self.held = full;
            self.hold_output(full);
        }
    }
}
