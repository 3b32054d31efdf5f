//! The desk: what ranks tell the launcher that PMI has no words for. One pair of sockets for the whole job, whose other
//! end every rank inherits; a message is one packet, so that those of several ranks do not mix.
//!
//! | message | fields |
//! |---|---|
//! | `raised` | slot, `again` if it only tells of another rank's error or `shown` if it has been shown (else nothing), the exception's class, what it says, file, line, function and source of its place, the traceback |
//! | `speaks` | slot, process number, and the end of a socket over which it asks for the [terminal](super::terminal) |
//!
//! Fields are separated by NUL. A rank that finds no desk, or a full one, shows its exception itself: nothing is lost.

use std::io::IoSliceMut;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};

use phalanx_waits::{Frame, tame};
use rustix::io::Errno;
use rustix::net::{AddressFamily, RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SocketFlags, SocketType};
use rustix::process::Pid;

use super::Job;
use crate::process;

/// Tells a rank the number of its descriptor and its inode, and whether its errors go past us: `9:4711:show`.
pub(crate) const DESK: &str = "PHALANX_DESK";

/// Tells ranks that a debugger is to look at an exception that nobody caught.
pub(super) const PDB: &str = "PHALANX_PDB";

/// Where ranks tell the launcher something.
pub(crate) struct Desk {
    ours: OwnedFd,
    theirs: OwnedFd,
    /// Which socket theirs is: a number may mean another one in a process that a rank has started.
    inode: u64,
}

/// What a rank told.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Message {
    /// Nobody has caught this exception of the process in this slot.
    Raised(u32, Exception),
    /// The process of this number, of the rank in this slot, may ask for the terminal.
    Speaks(u32, Option<Pid>),
}

/// An exception that nobody caught.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Exception {
    /// It only tells of another rank's error.
    pub(super) is_echo: bool,
    /// Its traceback stands elsewhere already.
    pub(super) is_shown: bool,
    /// Its class.
    pub(super) class: String,
    /// What it says.
    pub(super) text: String,
    /// Where it was raised, in the user's own program if it has come through that.
    pub(super) place: Frame,
    /// The line there.
    pub(super) source: String,
    /// All of it, as Python shows it.
    pub(super) traceback: String,
}

impl Desk {
    pub(crate) fn new() -> std::io::Result<Self> {
        let flags = SocketFlags::CLOEXEC;
        let (ours, theirs) = rustix::net::socketpair(AddressFamily::UNIX, SocketType::SEQPACKET, flags, None)?;
        let inode = rustix::fs::fstat(&theirs)?.st_ino;
        Ok(Self { ours, theirs, inode })
    }

    /// The end that ranks inherit.
    pub(crate) fn theirs(&self) -> BorrowedFd<'_> {
        self.theirs.as_fd()
    }

    /// What a rank's environment says about it. `shows`: its output does not come to us.
    pub(crate) fn variable(&self, shows: bool) -> String {
        format!("{}:{}{}", self.theirs.as_raw_fd(), self.inode, if shows { ":show" } else { "" })
    }

    /// The next message, as it is.
    pub(crate) fn next(&self, room: &mut [u8]) -> Option<(usize, Option<OwnedFd>)> {
        let mut space = [MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let len = loop {
            let flags = RecvFlags::CMSG_CLOEXEC | RecvFlags::DONTWAIT;
            match rustix::net::recvmsg(&self.ours, &mut [IoSliceMut::new(room)], &mut control, flags) {
                Ok(message) => break message.bytes,
                Err(Errno::INTR) => {}
                Err(_) => return None,
            }
        };
        let descriptor = control.drain().find_map(|message| match message {
            RecvAncillaryMessage::ScmRights(mut rights) => rights.next(),
            _ => None,
        });
        Some((len, descriptor))
    }
}

impl AsFd for Desk {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.ours.as_fd()
    }
}

/// The first line of a text that has one line as a rule, without orders to the terminal.
fn first_line(text: &str) -> String {
    tame(text.lines().next().unwrap_or_default().to_owned())
}

impl Message {
    /// Reads a message; `None` if it is none.
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let text = String::from_utf8_lossy(bytes);
        let mut fields = text.split('\0').map(str::to_owned);
        let mut next = || fields.next();
        match (next()?.as_str(), next()?.parse().ok()?) {
            ("raised", slot) => {
                let how = next()?;
                let exception = Exception {
                    is_echo: how == "again",
                    is_shown: how == "shown",
                    class: first_line(&next()?),
                    text: next()?,
                    place: Frame {
                        file: first_line(&next()?),
                        line: next()?.parse().ok()?,
                        function: first_line(&next()?),
                    },
                    source: first_line(&next()?),
                    traceback: next()?,
                };
                Some(Self::Raised(slot, exception))
            }
            ("speaks", slot) => {
                Some(Self::Speaks(slot, next()?.parse().ok().filter(|pid| *pid > 0).and_then(Pid::from_raw)))
            }
            _ => None,
        }
    }
}

impl Job {
    /// Reads what ranks have told.
    pub(super) fn read_desk(&mut self) {
        // Not for ever, whatever a rank does.
        for _ in 0..256 {
            let Some((len, descriptor)) = self.desk.next(&mut self.scratch) else { return };
            // Whoever inherits the descriptor may write anything.
            match Message::read(&self.scratch[..len]) {
                Some(Message::Raised(slot, exception)) => {
                    if let Some(index) = self.ranks.iter().position(|rank| rank.slot == slot) {
                        self.raised(index, exception);
                    }
                }
                Some(Message::Speaks(slot, pid)) => {
                    if let (Some(index), Some(socket)) = (self.ranks.iter().position(|r| r.slot == slot), descriptor) {
                        // A process that we cannot see goes by its rank.
                        let pid = pid.filter(|pid| process::descendants().contains(pid)).or(self.ranks[index].pid);
                        if let Some(pid) = pid {
                            self.add_speaker(index, pid, socket);
                        }
                    }
                }
                None => {}
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_exception_is_read_and_nonsense_is_not() {
        let told = b"raised\x003\0again\0ValueError\0no\0a.py\x007\0f\0raise\0Traceback\nValueError: no\n";
        let Some(Message::Raised(3, exception)) = Message::read(told) else { panic!("it is one") };
        assert!(exception.is_echo && !exception.is_shown);
        assert_eq!((exception.place.line, exception.traceback.lines().count()), (7, 2));
        for nonsense in [&b""[..], b"raised", b"raised\0x", b"raised\x003\0\0a\0b", b"\xff\0\xfe", b"sold\x003"] {
            assert_eq!(Message::read(nonsense), None);
        }
    }
}
