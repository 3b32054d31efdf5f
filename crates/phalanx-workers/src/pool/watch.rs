//! The thread that watches the worker processes: hears of their ends at once, measures their memory, stops them.

use std::os::fd::OwnedFd;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use phalanx_pool::End;
use phalanx_shm::OomKills;
use rustix::event::{EventfdFlags, PollFd, PollFlags, Timespec, eventfd, poll};
use rustix::process::Signal;

use super::process::{Look, Process};
use super::shared::{Notice, Shared};

/// Between two looks at workers whose memory is limited, or that are ending.
const LOOKS: Duration = Duration::from_millis(20);
/// What the thread is asked.
enum Order {
    Watch(Process),
    Stop { slot: u32, pid: u32 },
    Reaped { slot: u32, pid: u32, end: End },
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
        self.order(Order::Watch(Process::of(slot, pid, self.limit)?));
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

/// The thread's life.
pub(super) fn run(shared: &Arc<Shared>) {
    let watch = &shared.watch;
    let Some(bell) = watch.lock().bell.clone() else { return };
    let mut processes: Vec<Process> = Vec::new();
    let mut kills = OomKills::watch();
    // After the pool's end, until the processes are gone: what they held is freed then.
    while !shared.shutdown.load(Ordering::Relaxed) || !processes.is_empty() || !watch.end() {
        wait(&bell, &processes);
        for order in watch.take_orders(&bell) {
            match order {
                Order::Watch(process) => {
                    if process.has_ended() {
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
                        if !process.has_ended() {
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
fn wait(bell: &OwnedFd, processes: &[Process]) {
    let mut fds = vec![PollFd::new(bell, PollFlags::IN)];
    fds.extend(processes.iter().filter_map(Process::fd).map(|fd| PollFd::new(fd, PollFlags::IN)));
    let time = processes.iter().any(Process::needs_looks).then_some(LOOKS);
    let time = time.map(|time| Timespec { tv_sec: 0, tv_nsec: i64::from(time.subsec_nanos()) });
    // Interrupted or not: the caller looks at everything.
    let _ = poll(&mut fds, time.as_ref());
}

/// Looks at one process; whether it is still to be watched.
fn look(shared: &Arc<Shared>, process: &mut Process, kills: &mut OomKills) -> bool {
    let (slot, pid) = (process.slot, process.pid);
    match process.look() {
        Look::Nothing => return true,
        Look::Gone => shared.notify(Notice::Ended { slot, pid }),
        Look::Over { end, known } => {
            bury(shared, process, end, kills);
            if !known {
                shared.notify(Notice::Ended { slot, pid });
            }
            return false;
        }
        Look::TooLarge(end) => {
            shared.engine().ledger().stopping(slot, end);
            process.kill();
        }
    }
    true
}

/// Settles what a worker that has ended leaves behind.
fn bury(shared: &Arc<Shared>, process: &Process, end: End, kills: &mut OomKills) {
    let end = match end {
        End::Signaled(signal) if signal == Signal::KILL.as_raw() && !process.was_killed() && kills.explain() => {
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
    // Whoever waits looks again: what the worker had is lost, or handed to others.
    shared.board.doorbell().notify();
    shared.tell(events);
    shared.call_collector(true);
    shared.arena.sweep_process(process.pid);
}
