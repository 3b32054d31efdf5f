//! What an engine writes to one of its standard streams, as text.

use std::os::fd::OwnedFd;
use std::rc::Rc;

use rustix::io::Errno;
use tokio::io::unix::AsyncFd;

/// So much is read at a time.
const ROOM: usize = 64 << 10;

/// One stream of an engine.
pub(crate) struct Stream {
    pub(crate) pipe: Rc<AsyncFd<OwnedFd>>,
    /// The beginning of a character whose end has not come.
    rest: Vec<u8>,
    /// Text that nobody has been told yet.
    pub(crate) untold: String,
    pub(crate) ended: bool,
}

impl Stream {
    /// The stream at this end of a pipe, which must not block.
    ///
    /// # Errors
    /// When it cannot be watched.
    pub(crate) fn new(pipe: OwnedFd) -> std::io::Result<Self> {
        let pipe = Rc::new(super::watched::watched(pipe)?);
        Ok(Self { pipe, rest: Vec::new(), untold: String::new(), ended: false })
    }

    /// Reads what has come, `room` for the bytes; whether there may be more.
    pub(crate) fn read(&mut self, room: &mut Vec<u8>) -> bool {
        room.resize(ROOM, 0);
        loop {
            match rustix::io::read(self.pipe.get_ref(), &mut room[..]) {
                Ok(0) => self.ended = true,
                Ok(count) => {
                    self.add(&room[..count]);
                    return count == ROOM;
                }
                Err(Errno::INTR) => continue,
                Err(Errno::AGAIN) => {}
                Err(_) => self.ended = true,
            }
            return false;
        }
    }

    /// Reads all that has come.
    pub(crate) fn drain(&mut self, room: &mut Vec<u8>) {
        while !self.ended && self.read(room) {}
    }

    fn add(&mut self, bytes: &[u8]) {
        self.rest.extend_from_slice(bytes);
        let whole = match std::str::from_utf8(&self.rest) {
            Ok(_) => self.rest.len(),
            // Bytes that are no text are shown as such; the first ones of a character wait for the others.
            Err(error) if error.error_len().is_none() => error.valid_up_to(),
            Err(_) => {
                let tail = self.rest.len().saturating_sub(3)..self.rest.len();
                let start = tail.clone().find(|at| self.rest[*at] >= 0xc0);
                start.filter(|at| is_begun(&self.rest[*at..])).unwrap_or(self.rest.len())
            }
        };
        self.untold.push_str(&String::from_utf8_lossy(&self.rest[..whole]));
        self.rest.drain(..whole);
    }

    /// The rest, at the end.
    pub(crate) fn end(&mut self) {
        let rest = std::mem::take(&mut self.rest);
        self.untold.push_str(&String::from_utf8_lossy(&rest));
    }
}

/// Whether bytes are the beginning of a character.
fn is_begun(bytes: &[u8]) -> bool {
    std::str::from_utf8(bytes).is_err_and(|error| error.valid_up_to() == 0 && error.error_len().is_none())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_not_torn_and_other_bytes_are_shown() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(async {
            let (read, write) = rustix::pipe::pipe_with(rustix::pipe::PipeFlags::NONBLOCK).expect("a pipe");
            let (mut stream, mut room) = (Stream::new(read).expect("watched"), Vec::new());
            for (written, seen) in [
                (&b"abc"[..], "abc"),
                ("ä".as_bytes().split_at(1).0, ""),
                ("ä".as_bytes().split_at(1).1, "ä"),
                (b"\xffx\xe2\x82", "\u{fffd}x"),
                (b"\xac", "€"),
            ] {
                rustix::io::write(&write, written).expect("room");
                stream.drain(&mut room);
                assert_eq!(std::mem::take(&mut stream.untold), seen);
            }
            rustix::io::write(&write, b"\xe2").expect("room");
            drop(write);
            stream.drain(&mut room);
            stream.drain(&mut room);
            stream.end();
            assert_eq!((stream.untold.as_str(), stream.ended), ("\u{fffd}", true));
        });
    }
}
