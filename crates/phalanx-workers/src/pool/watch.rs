//! The thread that watches the worker processes: hears of their ends at once, measures their memory, stops them.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use phalanx_pool::End;
use phalanx_shm::OomKills;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::io::Errno;
use rustix::process::{Pid, PidfdFlags, Signal, WaitId, WaitIdOptions, pidfd_open, pidfd_send_signal, waitid};

use super::memory::Memory;
use super::shared::{Notice, Shared};

/// From SIGTERM to SIGKILL.
const GRACE: Duration = Duration::from_millis(500);
/// Between two looks at the memory of workers.
const MEMORY: Duration = Duration::from_millis(20);
/// How long the exit status of a process that is not this one's child is waited for.
const STATUS: Duration = Duration::from_secs(1);

/// What the thread is asked.
enum Order {
    Watch(Process),
    Stop { slot: u32, pid: u32 },
    Reaped { slot: u32, pid: u32, end: End },
}

/// A worker.
struct Process {
    slot: u32,
    pid: u32,
    /// `None` once it has ended.
    fd: Option<OwnedFd>,
    /// When it was told to end.
    stopped: Option<Instant>,
    killed: bool,
    /// When it ended, while nobody knows how.
    ended: Option<Instant>,
    /// Where there is a limit.
    memory: Option<Memory>,
}

/// How others reach the thread.
pub(super) struct Watch {
    orders: Mutex<Orders>,
    /// Bytes that a worker may use.
    limit: Option<u64>,
}

/// What the thread is to do. When the thread has ended, there is no bell any more and orders are ignored: a pool that has
/// ended keeps no descriptors, even while the program still holds it or its results.
struct Orders {
    list: Vec<Order>,
    bell: Option<Arc<OwnedFd>>,
}

impl Watch {
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn new(limit: Option<u64>) -> std::io::Result<Watch> {
        let bell = eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?;
        Ok(Watch { orders: Mutex::new(Orders { list: Vec::new(), bell: Some(Arc::new(bell)) }), limit })
    }

    fn lock(&self) -> MutexGuard<'_, Orders> {
        self.orders.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn order(&self, order: Order) {
        let mut orders = self.lock();
        if orders.bell.is_some() {
            orders.list.push(order);
        }
        orders.ring();
    }

    /// Makes the thread look around.
    pub(super) fn ring(&self) {
        self.lock().ring();
    }

    /// Watches a new worker. A process that is gone already ends at once.
    ///
    /// # Errors
    /// When there are no descriptors left.
    pub(super) fn watch(&self, slot: u32, pid: u32) -> std::io::Result<()> {
        let id = i32::try_from(pid).ok().and_then(Pid::from_raw);
        let fd = match id.map(|id| pidfd_open(id, PidfdFlags::empty())) {
            Some(Ok(fd)) => Some(fd),
            None | Some(Err(Errno::SRCH)) => None,
            Some(Err(error)) => return Err(error.into()),
        };
        let ended = fd.is_none().then(Instant::now);
        // At once, before it has memory of its own.
        let memory = self.limit.map(|limit| Memory::of(pid, limit));
        self.order(Order::Watch(Process { slot, pid, fd, stopped: None, killed: false, ended, memory }));
        Ok(())
    }

    /// Ends a worker: SIGTERM, and after a while SIGKILL.
    pub(super) fn stop(&self, slot: u32, pid: u32) {
        self.order(Order::Stop { slot, pid });
    }

    /// Says how a worker ended, for those of which this process is not the parent.
    pub(super) fn reaped(&self, slot: u32, pid: u32, end: End) {
        self.order(Order::Reaped { slot, pid, end });
    }

    fn take_orders(&self, bell: &OwnedFd) -> Vec<Order> {
        let mut count = [0; 8];
        // Empty means that somebody else rang for nothing.
        let _ = rustix::io::read(bell, &mut count);
        std::mem::take(&mut self.lock().list)
    }

    /// The thread ends, unless there are orders.
    fn end(&self) -> bool {
        let mut orders = self.lock();
        let over = orders.list.is_empty();
        if over {
            orders.bell = None;
        }
        over
    }
}

impl Orders {
    fn ring(&self) {
        if let Some(bell) = &self.bell {
            // Full means rung already.
            let _ = rustix::io::write(bell, &1u64.to_ne_bytes());
        }
    }
}

/// What a process says about its end: `None` when it is not (or no longer) this process's child.
fn end_of(fd: &OwnedFd) -> Option<End> {
    use std::os::fd::AsFd;
    let options = WaitIdOptions::EXITED | WaitIdOptions::NOWAIT | WaitIdOptions::NOHANG;
    // The exit status is left for Python's Process.
    let status = waitid(WaitId::PidFd(fd.as_fd()), options).ok()??;
    if let Some(signal) = status.terminating_signal() {
        return Some(End::Signaled(signal));
    }
    status.exit_status().map(End::Exited)
}

/// The thread's life.
pub(super) fn run(shared: &Arc<Shared>) {
    let watch = &shared.watch;
    let Some(bell) = watch.lock().bell.clone() else { return };
    let mut processes: Vec<Process> = Vec::new();
    let mut kills = OomKills::watch();
    // After the pool's end, until the processes are gone: what they held is freed then.
    while !shared.shutdown.load(Ordering::Relaxed) || !processes.is_empty() || !watch.end() {
        wait(watch, &bell, &processes);
        for order in watch.take_orders(&bell) {
            match order {
                Order::Watch(process) => {
                    if process.fd.is_none() {
                        shared.notify(Notice::Ended { slot: process.slot, pid: process.pid });
                    }
                    processes.push(process);
                }
                Order::Stop { slot, pid } => {
                    if let Some(process) =
                        processes.iter_mut().find(|process| process.slot == slot && process.pid == pid)
                    {
                        process.stop();
                    }
                }
                Order::Reaped { slot, pid, end } => {
                    let known = processes.iter().position(|process| process.slot == slot && process.pid == pid);
                    if let Some(at) = known {
                        let process = processes.swap_remove(at);
                        bury(shared, &process, end, &mut kills);
                        if process.ended.is_none() {
                            shared.notify(Notice::Ended { slot, pid });
                        }
                    }
                }
            }
        }
        processes.retain_mut(|process| look(shared, process, &mut kills));
    }
}

/// Sleeps until a process ends, an order comes, or something is to be looked at.
fn wait(watch: &Watch, bell: &OwnedFd, processes: &[Process]) {
    let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
    fds.extend(processes.iter().filter_map(|process| process.fd.as_ref()).map(|fd| PollFd::new(fd, PollFlags::IN)));
    let watching = watch.limit.is_some() && !processes.is_empty();
    let stopping = processes.iter().any(|process| process.stopped.is_some() && !process.killed);
    let unclear = processes.iter().any(|process| process.ended.is_some());
    let time = if watching || stopping || unclear { Some(MEMORY) } else { None };
    let time = time.map(|time| Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) });
    // Interrupted or not: the caller looks at everything.
    let _ = poll(&mut fds, time.as_ref());
}

/// Looks at one process; whether it is still to be watched.
fn look(shared: &Arc<Shared>, process: &mut Process, kills: &mut OomKills) -> bool {
    let Some(fd) = &process.fd else {
        if process.ended.is_some_and(|since| since.elapsed() < STATUS) {
            return true;
        }
        bury(shared, process, End::Unknown, kills);
        return false;
    };
    let mut polled = [PollFd::new(fd, PollFlags::IN)];
    let ended = poll(&mut polled, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|ready| ready > 0);
    if ended {
        let (slot, pid) = (process.slot, process.pid);
        if let Some(end) = end_of(fd) {
            bury(shared, process, end, kills);
            shared.notify(Notice::Ended { slot, pid });
            return false;
        }
        // Python learns how it ended when it joins it.
        process.fd = None;
        process.ended = Some(Instant::now());
        shared.notify(Notice::Ended { slot, pid });
        return true;
    }
    if process.stopped.is_some_and(|since| since.elapsed() >= GRACE) && !process.killed {
        process.kill();
    }
    if process.stopped.is_none()
        && let Some(memory) = &mut process.memory
        && let Some(used) = memory.over()
    {
        let end = End::OverLimit { used, limit: memory.limit() };
        shared.engine().ledger().stopping(process.slot, end);
        process.stopped = Some(Instant::now());
        process.kill();
    }
    true
}

impl Process {
    fn stop(&mut self) {
        if let Some(fd) = &self.fd
            && self.stopped.is_none()
        {
            // It may be gone by now.
            let _ = pidfd_send_signal(fd, Signal::TERM);
            self.stopped = Some(Instant::now());
        }
    }

    fn kill(&mut self) {
        if let Some(fd) = &self.fd {
            let _ = pidfd_send_signal(fd, Signal::KILL);
            self.killed = true;
        }
    }
}

/// Settles what a worker that has ended leaves behind.
fn bury(shared: &Arc<Shared>, process: &Process, end: End, kills: &mut OomKills) {
    let end = match end {
        End::Signaled(signal) if signal == Signal::KILL.as_raw() && !process.killed && kills.explain() => {
            End::OutOfMemory
        }
        end => end,
    };
    let mut engine = shared.engine();
    if let Err(error) = engine.worker_ended(process.slot, process.pid, end) {
        eprintln!("phalanx: the pool of process {}: {error}", shared.pid);
    }
    shared.end_if_over(&mut engine);
    let events = engine.ledger().has_events();
    drop(engine);
    shared.arena.sweep_process(process.pid);
    // Whoever waits looks again: what the worker had is lost, or handed to others.
    shared.board.doorbell().notify();
    shared.tell(events);
    shared.call_collector(true);
}
