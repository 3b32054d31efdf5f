//! The moment before a controller or a gateway sleeps: what comes next often comes within less time than a wake-up takes.
//!
//! The same pace as clients and engines have (`phalanx_shm::sleep::pace`): it gives way after each look, looks longer where
//! that served the last waits, and sleeps at once beside others that compute.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::sync::OnceLock;
use std::time::{Duration, Instant};

use phalanx_shm::CpuBudget;
use phalanx_shm::sleep::{Manners, Next, Pace};
use tokio::io::Interest;
use tokio::net::UnixStream;

/// So many connections are looked at: those that have said something last.
const RECENT: usize = 4;
/// Whatever comes, other tasks of the runtime (signals, output, timers) wait no longer.
const TURN: Duration = Duration::from_millis(1);

fn pace() -> Pace<'static> {
    static MANNERS: OnceLock<Manners> = OnceLock::new();
    Pace::new(MANNERS.get_or_init(|| Manners::of(&CpuBudget::new(1, None, 2))))
}

/// Somebody who may say something.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Party {
    /// On a connection of this machine.
    Here(u64),
    /// On a line to another one.
    Far(u64),
}

/// Which connections are looked at, and the wait that goes on.
#[derive(Default)]
pub(crate) struct Look {
    recent: Vec<Party>,
    pace: Option<Pace<'static>>,
}

impl Look {
    /// Something has come.
    pub(crate) fn came(&mut self) {
        if let Some(pace) = self.pace.take() {
            pace.learn();
        }
    }
}

/// Whoever looks.
pub(crate) trait Looks {
    /// What is known of it.
    fn look(&mut self) -> &mut Look;

    /// Reads what has come on a connection of this machine; false at its end.
    ///
    /// # Errors
    /// What the system says: `WouldBlock` when nothing has come.
    fn read(&mut self, here: u64) -> io::Result<bool>;

    /// Deals with what was read there.
    fn hear(&mut self, here: u64);

    /// Whether it is still one of the connections.
    fn has(&self, here: u64) -> bool;

    /// It has ended.
    fn lose(&mut self, here: u64);

    /// Reads and deals with what has come on a line to another machine; whether that was anything. Its end is seen by who
    /// attends to it.
    fn listen_far(&mut self, far: u64) -> bool;

    /// Whether there is something to do, for which tasks of the runtime wait.
    fn is_busy(&self) -> bool;

    /// Everybody has been looked at: what there is to say to anybody is said at once.
    fn speak(&mut self);
}

/// Looks whether more comes, now that somebody has said something and it has been dealt with.
pub(crate) fn look_on<T: Looks>(owner: &mut T, from: Party) {
    let recent = &mut owner.look().recent;
    if recent.first() != Some(&from) {
        recent.retain(|known| *known != from);
        recent.insert(0, from);
        recent.truncate(RECENT);
    }
    let end = Instant::now() + TURN;
    let mut pace = pace();
    while !owner.is_busy() {
        let mut any = false;
        for place in 0..owner.look().recent.len() {
            let Some(party) = owner.look().recent.get(place).copied() else { break };
            any |= match party {
                Party::Here(id) => {
                    let any = matches!(owner.read(id), Ok(true));
                    if any {
                        owner.hear(id);
                    }
                    any
                }
                Party::Far(id) => owner.listen_far(id),
            };
        }
        owner.speak();
        if any {
            pace.learn();
            pace = self::pace();
        } else if pace.step() == Next::Sleep {
            break;
        }
        if Instant::now() >= end {
            break;
        }
    }
    owner.speak();
    owner.look().pace = Some(pace);
}

/// Reads a connection of this machine until its end, and looks on after each time that something has come.
pub(crate) async fn attend<T: Looks>(owner: Rc<RefCell<T>>, id: u64, stream: Rc<UnixStream>) {
    while stream.readable().await.is_ok() {
        let mut owner = owner.borrow_mut();
        owner.look().came();
        match stream.try_io(Interest::READABLE, || owner.read(id)) {
            Ok(true) => owner.hear(id),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
            Ok(false) | Err(_) => return owner.lose(id),
        }
        look_on(&mut *owner, Party::Here(id));
        if !owner.has(id) {
            return;
        }
    }
    owner.borrow_mut().lose(id);
}
