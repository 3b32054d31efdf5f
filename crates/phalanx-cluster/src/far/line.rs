//! A link over an encrypted stream, and the two tasks of the runtime that wait for it.
//!
//! What is said is written at once, by who says it; the tasks read what comes while nobody looks, and write what a socket had no
//! room for, and blocks of memory, piece by piece.

use std::cell::RefCell;
use std::io;
use std::rc::Rc;
use std::time::{Duration, Instant};

use phalanx_wire::far::Routed;
use phalanx_wire::pulse::{EVERY, Pulse};
use tokio::io::Interest;
use tokio::sync::Notify;
use tokio::task::spawn_local;

use super::link::{Link, LinkError};
use super::stream::{ROOM, Stream};
use crate::look::{Looks, Party, look_on};

/// An end says so often that it is there in the time that counts as one heartbeat: of a cable that is cut for two of those, the
/// other end is to hear again before three are over.
const BEATS: u32 = 2;

/// Whoever has lines.
pub(crate) trait Owner: Looks + Sized + 'static {
    /// What arrives on them.
    type Message: Routed;

    /// The line of this number, as long as it is of use.
    fn line(&mut self, id: u64) -> Option<&mut Line<Self::Message>>;

    /// Something has come on a line, or nothing can any more.
    fn came(&mut self, id: u64, taken: Result<(), LinkError>);

    /// The other end of a line is told that this one is there.
    fn is_here(&mut self, id: u64);

    /// Nothing has come on a line for so long that its other end counts as lost.
    fn silent(&mut self, id: u64, since: Duration);

    /// A line has ended: why, in words, or nothing where everybody knows.
    fn broke(&mut self, id: u64, why: &str);
}

/// What there is to write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Unsent {
    /// Nothing.
    Nothing,
    /// More, now.
    More,
    /// More, once the socket has room.
    Blocked,
    /// Nothing, and never again.
    Over,
}

/// A link and its stream.
pub(crate) struct Line<M> {
    pub(crate) link: Link<M>,
    stream: Stream,
    pulse: Pulse,
    wake: Rc<Notify>,
    closing: bool,
}

impl<M: Routed> Line<M> {
    /// A line over which nothing has gone but a handshake.
    pub(crate) fn new(link: Link<M>, stream: Stream) -> Self {
        let pulse = Pulse::new(Instant::now(), EVERY);
        Self { link, stream, pulse, wake: Rc::default(), closing: false }
    }

    /// Has the task that writes look: something is to be written, or the line is of no use any more.
    pub(crate) fn stir(&self) {
        self.wake.notify_one();
    }

    /// It is hung up on once everything has been written.
    pub(crate) fn close_soon(&mut self) {
        self.closing = true;
        self.stir();
    }

    /// It is hung up on.
    pub(crate) fn close(&mut self) {
        self.stream.close();
    }

    /// Whether it will be hung up on.
    pub(crate) fn is_closing(&self) -> bool {
        self.closing
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.link.is_flushed() && self.stream.is_flushed()
    }

    /// Writes what waits, up to some [`ROOM`] of it.
    ///
    /// # Errors
    /// In words: what was to be sent cannot be read. That of the stream is seen by who reads it.
    pub(crate) fn write(&mut self) -> Result<Unsent, LinkError> {
        match self.stream.flush() {
            Ok(true) => {}
            Ok(false) => return Ok(Unsent::Blocked),
            Err(_) => return Ok(Unsent::Over),
        }
        self.link.fill()?;
        let bytes = self.link.unsent();
        if bytes.is_empty() {
            return Ok(if self.closing { Unsent::Over } else { Unsent::Nothing });
        }
        let count = bytes.len().min(ROOM);
        let sent = self.stream.send(&bytes[..count]).and_then(|()| self.stream.flush());
        self.link.sent(count);
        Ok(match sent {
            Err(_) => Unsent::Over,
            Ok(false) => Unsent::Blocked,
            Ok(true) if self.closing || !self.link.is_flushed() => Unsent::More,
            Ok(true) => Unsent::Nothing,
        })
    }

    /// Takes what has come, if something has; `false` when nothing will come any more.
    ///
    /// # Errors
    /// What the system and the cryptography say, `WouldBlock` where nothing has come.
    fn receive(&mut self) -> io::Result<(bool, Result<(), LinkError>)> {
        let mut taken = Ok(());
        let more = self.stream.receive(|bytes| take(&mut self.link, bytes, &mut taken))?;
        self.pulse.heard();
        Ok((more, taken))
    }
}

/// Gives a link what has come, unless it could not take what came before.
fn take<M: Routed>(link: &mut Link<M>, bytes: &[u8], taken: &mut Result<(), LinkError>) {
    if taken.is_ok() {
        *taken = link.take(bytes);
    }
}

/// Takes what has come on a line, if something has, and has it dealt with; whether that was so.
pub(crate) fn read_now<T: Owner>(owner: &mut T, id: u64) -> io::Result<bool> {
    let Some(line) = owner.line(id) else { return Ok(false) };
    match line.receive() {
        Ok((more, taken)) => {
            owner.came(id, taken);
            if !more {
                owner.broke(id, "its connection has ended");
            }
            Ok(true)
        }
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Err(error),
        Err(error) => {
            owner.broke(id, &format!("its connection has broken: {error}"));
            Ok(true)
        }
    }
}

/// Writes what waits on a line, up to some [`ROOM`] of it.
pub(crate) fn write_now<T: Owner>(owner: &mut T, id: u64) -> Unsent {
    let Some(line) = owner.line(id) else { return Unsent::Over };
    match line.write() {
        Ok(Unsent::Over) => {
            line.close();
            Unsent::Over
        }
        Ok(unsent) => unsent,
        Err(error) => {
            owner.broke(id, &error.to_string());
            Unsent::Over
        }
    }
}

/// Has both ends of a line say that they are there, from one heartbeat to the next.
pub(crate) fn beat<T: Owner>(owner: &Rc<RefCell<T>>, id: u64, every: Duration) {
    let Some(()) = owner.borrow_mut().line(id).map(|line| line.pulse = Pulse::finely(Instant::now(), every, BEATS))
    else {
        return;
    };
    let owner = owner.clone();
    spawn_local(async move {
        loop {
            tokio::time::sleep(every / BEATS).await;
            let mut owner = owner.borrow_mut();
            let Some(line) = owner.line(id) else { return };
            line.pulse.beat(Instant::now());
            if line.pulse.is_lost() {
                let since = line.pulse.patience();
                return owner.silent(id, since);
            }
            if !line.pulse.is_silent() {
                owner.is_here(id);
            }
        }
    });
}

/// Has a line read and written until it is over. What came behind its handshake is dealt with first.
pub(crate) fn attend<T: Owner>(owner: &Rc<RefCell<T>>, id: u64) {
    let Some((socket, wake, early)) = owner.borrow_mut().line(id).map(|line| {
        let early = line.stream.early();
        let mut taken = Ok(());
        if !early.is_empty() {
            take(&mut line.link, &early, &mut taken);
        }
        (line.stream.socket(), line.wake.clone(), (!early.is_empty()).then_some(taken))
    }) else {
        return;
    };
    if let Some(taken) = early {
        owner.borrow_mut().came(id, taken);
    }
    let (reading, readable) = (owner.clone(), socket.clone());
    spawn_local(async move {
        loop {
            let ready = readable.readable().await;
            let mut owner = reading.borrow_mut();
            owner.look().came();
            match ready.and_then(|()| readable.try_io(Interest::READABLE, || read_now(&mut *owner, id))) {
                Ok(true) => look_on(&mut *owner, Party::Far(id)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Ok(false) | Err(_) => return,
            }
            if owner.line(id).is_none() {
                return;
            }
        }
    });
    let writing = owner.clone();
    spawn_local(async move {
        loop {
            let mut blocked = false;
            let tried = socket.try_io(Interest::WRITABLE, || match write_now(&mut *writing.borrow_mut(), id) {
                Unsent::Blocked => Err(io::ErrorKind::WouldBlock.into()),
                unsent => Ok(unsent),
            });
            match tried {
                Ok(Unsent::Nothing) => wake.notified().await,
                Ok(Unsent::More) => tokio::task::yield_now().await,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => blocked = true,
                Ok(_) | Err(_) => break,
            }
            if blocked && socket.writable().await.is_err() {
                break;
            }
        }
        // That it is closing was seen to; what is lost is seen by who reads it.
        let mut owner = writing.borrow_mut();
        if owner.line(id).is_some_and(|line| line.closing) {
            owner.broke(id, "");
        }
    });
}

impl<M> Drop for Line<M> {
    fn drop(&mut self) {
        // The tasks see that it is gone.
        self.wake.notify_one();
        self.stream.end();
    }
}
