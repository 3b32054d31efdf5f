//! Our standard input, on its way to a rank on another machine.

use std::os::fd::OwnedFd;

use phalanx_wire::agent::{Bytes, Order, PIECE};
use rustix::event::epoll;

use super::super::{Job, Source, watch};
use crate::error::LaunchError;
use crate::process::Stdin;

/// Our standard input, and who gets it.
pub(super) struct Input {
    source: OwnedFd,
    pub(super) host: usize,
    pub(super) id: u32,
    /// So many bytes may be sent.
    pub(super) credit: usize,
    watched: bool,
}

impl Job {
    /// A terminal is read by us, and goes through a pipe; anything else is read when the rank's machine takes more.
    pub(super) fn read_input_for(&mut self, stdin: Stdin, host: usize, index: usize) -> Result<(), LaunchError> {
        let failed = |e| LaunchError::system("standard input", e);
        self.reader = Some(index);
        let source = match stdin {
            Stdin::Null => return Ok(()),
            Stdin::Inherit => rustix::io::fcntl_dupfd_cloexec(rustix::stdio::stdin(), 3).map_err(failed)?,
            Stdin::Pipe => {
                let flags = rustix::pipe::PipeFlags::CLOEXEC | rustix::pipe::PipeFlags::NONBLOCK;
                let (ours, theirs) = rustix::pipe::pipe_with(flags).map_err(failed)?;
                self.relay_terminal(theirs, index);
                ours
            }
        };
        let id = u32::try_from(index).unwrap_or(u32::MAX);
        if let Some(far) = &mut self.far {
            far.input = Some(Input { source, host, id, credit: PIECE, watched: false });
        }
        Ok(())
    }

    /// Passes standard input on, as far as the rank takes it.
    pub(in crate::job) fn feed_far(&mut self) {
        let Some(far) = &mut self.far else { return };
        let Some(input) = &mut far.input else { return };
        if input.credit > 0 && !input.watched {
            // A file is always readable, and cannot be watched.
            match watch(&self.epoll, &input.source, Source::FarInput) {
                Ok(()) => input.watched = true,
                Err(_) => self.read_far_input(),
            }
        } else if input.credit == 0 && input.watched {
            input.watched = epoll::delete(&self.epoll, &input.source).is_err();
        }
    }

    /// Reads standard input, which has something.
    pub(in crate::job) fn read_far_input(&mut self) {
        let Some(input) = self.far.as_mut().and_then(|far| far.input.as_mut()) else { return };
        let room = input.credit.min(PIECE).min(self.scratch.len());
        if room == 0 {
            return self.feed_far();
        }
        let (host, id) = (input.host, input.id);
        match rustix::io::read(&input.source, &mut self.scratch[..room]) {
            Err(rustix::io::Errno::INTR | rustix::io::Errno::AGAIN) => return,
            Ok(count) if count > 0 => {
                input.credit -= count;
                let bytes = Bytes(self.scratch[..count].to_vec());
                self.tell(host, &Order::Input { id, bytes });
            }
            // Its end.
            _ => {
                if let Some(far) = &mut self.far {
                    far.input = None;
                }
                return self.tell(host, &Order::Input { id, bytes: Bytes::default() });
            }
        }
        self.feed_far();
    }
}
