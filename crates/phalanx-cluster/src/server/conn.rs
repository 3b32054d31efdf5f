//! One connection: frames in both directions, and who holds the blocks of what has been sent.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::io::{self, IoSlice, IoSliceMut};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::rc::{Rc, Weak};

use phalanx_wire::cluster::{Parcel, Payload};
use phalanx_wire::frame::{Reader, WireError, Writer};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use tokio::io::Interest;
use tokio::net::UnixStream;
use tokio::task::spawn_local;

use super::objects::Held;

/// Who may not read has so much waiting for him at most; then text for him is dropped,
const MUCH: usize = 64 << 20;
/// and from here on he is hung up on.
const TOO_MUCH: usize = 1 << 30;

/// What the other end is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// It has not said so.
    New,
    /// It has inherited its end of the connection, and is to be this engine.
    Child(u32),
    /// A client, or a command.
    Client,
    /// This engine.
    Engine(u32),
}

/// Where what is said goes.
#[derive(Debug, Clone)]
pub(crate) enum End {
    /// A process of this machine.
    Here(Rc<UnixStream>),
    /// A channel of a gateway.
    Far {
        /// The gateway.
        gateway: u64,
        /// The channel.
        channel: u32,
    },
}

/// One connection.
pub(crate) struct Conn {
    pub(crate) end: End,
    pub(crate) kind: Kind,
    /// The process at the other end, if its number means something here.
    pub(crate) pid: u32,
    pub(crate) reader: Reader,
    writer: Writer,
    /// Parcels with blocks that have been taken here, and how many of those the other end knows of.
    pub(crate) taken: u64,
    pub(crate) told: u64,
    /// What was sent with blocks, until the other end has taken it, and how many such parcels it has taken.
    unread: VecDeque<Vec<Held>>,
    let_go: u64,
    /// Something waits to be written.
    pub(crate) dirty: bool,
    /// Somebody waits until it can be.
    pub(crate) waits: bool,
    /// Descriptors that came with the first word.
    descriptors: Vec<OwnedFd>,
}

impl Conn {
    pub(crate) fn new(end: End, kind: Kind, pid: u32, version: &str) -> Self {
        Self {
            end,
            kind,
            pid,
            reader: Reader::new(),
            writer: Writer::new(version),
            taken: 0,
            told: 0,
            unread: VecDeque::new(),
            let_go: 0,
            dirty: false,
            waits: false,
            descriptors: Vec::new(),
        }
    }

    /// The socket, of one that has one.
    pub(crate) fn socket(&self) -> rustix::io::Result<&UnixStream> {
        match &self.end {
            End::Here(stream) => Ok(stream),
            End::Far { .. } => Err(Errno::NOTSOCK),
        }
    }

    /// Adds a message.
    ///
    /// # Errors
    /// When it is longer than any may be, and when too much waits already.
    pub(crate) fn push<M: serde::Serialize>(
        &mut self,
        body: M,
        payloads: Vec<Payload>,
        held: Vec<Held>,
    ) -> Result<(), WireError> {
        self.told = self.taken;
        let parcel = Parcel { taken: self.taken, body, payloads };
        let has_blocks = parcel.has_blocks();
        let waiting = self.writer.unsent().len();
        if waiting > TOO_MUCH {
            return Err(WireError::TooLong(waiting));
        }
        self.writer.push(&parcel)?;
        if has_blocks && !held.is_empty() {
            self.unread.push_back(held);
        }
        self.dirty = true;
        Ok(())
    }

    /// Whether so much waits that what is not needed is better not added.
    pub(crate) fn is_full(&self) -> bool {
        self.writer.unsent().len() > MUCH
    }

    /// The other end has taken so many parcels with blocks.
    pub(crate) fn let_go(&mut self, taken: u64) {
        while self.let_go < taken && self.unread.pop_front().is_some() {
            self.let_go += 1;
        }
    }

    /// Reads what has come; `false` at the end of it.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> io::Result<bool> {
        loop {
            let received = if self.kind == Kind::New {
                self.receive_first(room)
            } else {
                self.socket()
                    .and_then(|socket| rustix::net::recv(socket.as_fd(), &mut *room, RecvFlags::DONTWAIT))
                    .map(|(_, count)| count)
            };
            match received {
                Ok(0) => return Ok(false),
                Ok(count) => {
                    self.reader.take(&room[..count]);
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Receives with descriptors beside the bytes.
    fn receive_first(&mut self, room: &mut [u8]) -> rustix::io::Result<usize> {
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(room)];
        let count = rustix::net::recvmsg(self.socket()?.as_fd(), &mut parts, &mut control, flags)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                // More than an engine sends are closed again.
                self.descriptors.extend(descriptors);
                self.descriptors.truncate(2);
            }
        }
        Ok(count)
    }

    /// The pipes that an engine writes to which we have not started, if it has sent them.
    pub(crate) fn take_streams(&mut self) -> Option<(OwnedFd, OwnedFd)> {
        let mut descriptors = std::mem::take(&mut self.descriptors).into_iter();
        let (stdout, stderr) = (descriptors.next()?, descriptors.next()?);
        for descriptor in [&stdout, &stderr] {
            let flags = rustix::fs::fcntl_getfl(descriptor).ok()?;
            rustix::fs::fcntl_setfl(descriptor, flags | rustix::fs::OFlags::NONBLOCK).ok()?;
        }
        Some((stdout, stderr))
    }

    /// Writes what can be written; whether that is all.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        while !self.writer.unsent().is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(self.socket()?.as_fd(), self.writer.unsent(), flags) {
                Ok(count) => self.writer.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => return Err(error.into()),
            }
        }
        self.dirty = false;
        Ok(true)
    }

    /// Writes what can be written now, and the rest once it can be: `find` finds the connection again. One that is gone is seen by
    /// who reads it.
    pub(crate) fn write_out<T: 'static>(
        &mut self,
        owner: &Weak<RefCell<T>>,
        find: impl Fn(&mut T) -> Option<&mut Conn> + 'static,
    ) {
        let End::Here(stream) = &self.end else { return };
        let stream = stream.clone();
        if self.waits || !matches!(self.flush(), Ok(false)) {
            return;
        }
        self.waits = true;
        let owner = owner.clone();
        spawn_local(async move {
            loop {
                let ready = stream.writable().await;
                let Some(owner) = owner.upgrade() else { return };
                let mut owner = owner.borrow_mut();
                let Some(conn) = find(&mut owner) else { return };
                let done = ready.and_then(|()| {
                    stream.try_io(Interest::WRITABLE, || match conn.flush() {
                        Ok(false) => Err(io::ErrorKind::WouldBlock.into()),
                        other => other,
                    })
                });
                if !done.is_err_and(|error| error.kind() == io::ErrorKind::WouldBlock) {
                    conn.waits = false;
                    return;
                }
            }
        });
    }

    /// Writes what waits, which nothing has been written of before, with a descriptor beside it.
    ///
    /// # Errors
    /// What the system says: a new connection has room for so little.
    pub(crate) fn flush_with(&mut self, descriptor: BorrowedFd<'_>) -> io::Result<()> {
        let fds = [descriptor];
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        control.push(SendAncillaryMessage::ScmRights(&fds));
        let parts = [IoSlice::new(self.writer.unsent())];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let count = rustix::net::sendmsg(self.socket()?.as_fd(), &parts, &mut control, flags)?;
        self.writer.sent(count);
        Ok(())
    }
}
