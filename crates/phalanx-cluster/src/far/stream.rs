//! An encrypted stream: what comes is decrypted where it was read to, what goes out is encrypted once, and nothing waits in here.
//!
//! So the connection can be looked at without the runtime, as sockets of this machine are, and an array's bytes are not copied
//! from one buffer of the cryptography to the next.

use std::io;
use std::os::fd::AsFd;
use std::rc::Rc;

use rustix::io::Errno;
use rustix::net::{RecvFlags, SendFlags, Shutdown};
use rustls::client::UnbufferedClientConnection;
use rustls::server::UnbufferedServerConnection;
use rustls::unbuffered::{ConnectionState, EncodeError, EncryptError, UnbufferedStatus};
use tokio::io::Interest;
use tokio::net::TcpStream;

/// Bytes read at a time, and encrypted at a time.
pub(crate) const ROOM: usize = 256 << 10;

/// One end of the cryptography.
pub(crate) enum Tls {
    /// Who connects.
    Client(Box<UnbufferedClientConnection>),
    /// The controller.
    Server(Box<UnbufferedServerConnection>),
}

/// How far it has come with what it was given.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    /// There is more to do at once.
    On,
    /// The other end has to say something first.
    Blocked,
    /// Messages may be sent.
    Ready,
    /// The other end has said that it will say no more.
    Closed,
}

/// What is to be sent beside what the cryptography itself has to say.
enum Wish<'a> {
    Nothing,
    Text(&'a [u8]),
    Close,
}

/// Encrypted bytes that are to be written.
#[derive(Default)]
struct Outgoing {
    /// Room, of which the bytes from `at` to `end` wait.
    bytes: Vec<u8>,
    at: usize,
    end: usize,
}

impl Outgoing {
    /// Adds what `write` writes into the room that it is given; it says how much that was, or how much room it needs.
    fn add(&mut self, mut write: impl FnMut(&mut [u8]) -> Result<usize, Option<usize>>) -> Result<(), rustls::Error> {
        loop {
            match write(&mut self.bytes[self.end..]) {
                Ok(count) => {
                    self.end += count;
                    return Ok(());
                }
                Err(Some(needed)) if needed > self.bytes.len() - self.end => self.bytes.resize(self.end + needed, 0),
                Err(_) => return Err(rustls::Error::EncryptError),
            }
        }
    }

    fn is_empty(&self) -> bool {
        self.at == self.end
    }
}

/// An encrypted connection.
pub(crate) struct Stream {
    socket: Rc<TcpStream>,
    tls: Tls,
    /// What has come and is no whole record yet lies in `start..end` of it.
    room: Vec<u8>,
    start: usize,
    end: usize,
    out: Outgoing,
    /// What has come behind the handshake.
    early: Vec<u8>,
}

impl Stream {
    /// Agrees with the other end on keys: what is said goes out at once, and what is lost is sent again soon, instead of after
    /// pauses that double.
    ///
    /// # Errors
    /// What the system says; `InvalidData` with what the cryptography says, which the other end is told as well.
    pub(crate) async fn agree(socket: TcpStream, tls: Tls) -> io::Result<Self> {
        let _ = socket.set_nodelay(true);
        let _ = rustix::net::sockopt::set_tcp_thin_linear_timeouts(&socket, true);
        let mut stream = Self {
            socket: Rc::new(socket),
            tls,
            room: vec![0; ROOM],
            start: 0,
            end: 0,
            out: Outgoing::default(),
            early: Vec::new(),
        };
        loop {
            let mut early = std::mem::take(&mut stream.early);
            let step = stream.advance(&mut Wish::Nothing, &mut |bytes| early.extend_from_slice(bytes));
            stream.early = early;
            if step.is_err() {
                // Why, in a word of the protocol's.
                let _ = stream.advance(&mut Wish::Nothing, &mut |_| ());
            }
            loop {
                match stream.socket.try_io(Interest::WRITABLE, || stream.out.flush(&stream.socket)) {
                    Ok(()) => break,
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => stream.socket.writable().await?,
                    Err(error) => return Err(step.err().unwrap_or(error)),
                }
            }
            match step? {
                Step::Ready => return Ok(stream),
                Step::Closed => return Err(io::ErrorKind::UnexpectedEof.into()),
                Step::Blocked | Step::On => {}
            }
            loop {
                stream.socket.readable().await?;
                match stream.socket.clone().try_io(Interest::READABLE, || stream.more()) {
                    Ok(true) => break,
                    Ok(false) => return Err(io::ErrorKind::UnexpectedEof.into()),
                    Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                    Err(error) => return Err(error),
                }
            }
        }
    }

    /// The socket, to wait for.
    pub(crate) fn socket(&self) -> Rc<TcpStream> {
        self.socket.clone()
    }

    /// What has come behind the handshake, before anything was received.
    pub(crate) fn early(&mut self) -> Vec<u8> {
        std::mem::take(&mut self.early)
    }

    /// Reads what has come, up to [`ROOM`] bytes, and gives it on; `false` at the end of it.
    ///
    /// # Errors
    /// What the system says, `WouldBlock` when nothing has come; `InvalidData` with what the cryptography says.
    pub(crate) fn receive(&mut self, mut heard: impl FnMut(&[u8])) -> io::Result<bool> {
        Ok(self.more()? && self.advance(&mut Wish::Nothing, &mut heard)? != Step::Closed)
    }

    /// Encrypts bytes, which [`Stream::flush`] writes.
    ///
    /// # Errors
    /// What the cryptography says.
    pub(crate) fn send(&mut self, bytes: &[u8]) -> io::Result<()> {
        self.advance(&mut Wish::Text(bytes), &mut |_| ()).map(drop)
    }

    /// Writes what can be written; whether that is all.
    ///
    /// # Errors
    /// What the system says.
    pub(crate) fn flush(&mut self) -> io::Result<bool> {
        match self.out.flush(&self.socket) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.out.is_empty()
    }

    /// Says that there will be no more, to who still hears it.
    pub(crate) fn close(&mut self) {
        let _ = self.advance(&mut Wish::Close, &mut |_| ());
        let _ = self.flush();
        self.end();
    }

    /// Says no more.
    pub(crate) fn end(&self) {
        let _ = rustix::net::shutdown(self.socket.as_fd(), Shutdown::Write);
    }

    /// Reads into the room; `false` at the end of what comes.
    fn more(&mut self) -> io::Result<bool> {
        // What is left is less than a record, or than a message of the handshake.
        self.room.copy_within(self.start..self.end, 0);
        self.end -= self.start;
        self.start = 0;
        if self.end == self.room.len() {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "a record that is too long"));
        }
        loop {
            match rustix::net::recv(self.socket.as_fd(), &mut self.room[self.end..], RecvFlags::DONTWAIT) {
                Ok((_, 0)) => return Ok(false),
                Ok((_, count)) => {
                    self.end += count;
                    return Ok(true);
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
    }

    /// Deals with all that has come and can be dealt with, and with a wish once it may be: all records that are here are read.
    fn advance(&mut self, wish: &mut Wish<'_>, heard: &mut dyn FnMut(&[u8])) -> io::Result<Step> {
        loop {
            let incoming = &mut self.room[self.start..self.end];
            let (discard, step) = match &mut self.tls {
                Tls::Client(tls) => act(tls.process_tls_records(incoming), wish, &mut self.out, heard),
                Tls::Server(tls) => act(tls.process_tls_records(incoming), wish, &mut self.out, heard),
            };
            self.start += discard;
            match step.map_err(|error| io::Error::new(io::ErrorKind::InvalidData, error))? {
                Step::On => {}
                step => return Ok(step),
            }
        }
    }
}

impl Outgoing {
    /// Writes what can be written.
    fn flush(&mut self, socket: &TcpStream) -> io::Result<()> {
        while !self.is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(socket.as_fd(), &self.bytes[self.at..self.end], flags) {
                Ok(count) => self.at += count,
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Err(io::ErrorKind::WouldBlock.into()),
                Err(error) => return Err(error.into()),
            }
        }
        self.at = 0;
        self.end = 0;
        Ok(())
    }
}

/// Does what the cryptography has come to; how many bytes of what has come are done with, and what is next.
fn act<Data>(
    status: UnbufferedStatus<'_, '_, Data>,
    wish: &mut Wish<'_>,
    out: &mut Outgoing,
    heard: &mut dyn FnMut(&[u8]),
) -> (usize, Result<Step, rustls::Error>) {
    let UnbufferedStatus { mut discard, state } = status;
    let room = |error: EncryptError| match error {
        EncryptError::InsufficientSize(needed) => Some(needed.required_size),
        EncryptError::EncryptExhausted => None,
    };
    let step = match state {
        Err(error) => Err(error),
        Ok(ConnectionState::ReadTraffic(mut traffic)) => loop {
            match traffic.next_record() {
                Some(Ok(record)) => {
                    discard += record.discard;
                    heard(record.payload);
                }
                Some(Err(error)) => break Err(error),
                None => break Ok(Step::On),
            }
        },
        Ok(ConnectionState::EncodeTlsData(mut data)) => {
            let write = |room: &mut [u8]| {
                data.encode(room).map_err(|error| match error {
                    EncodeError::InsufficientSize(needed) => Some(needed.required_size),
                    EncodeError::AlreadyEncoded => None,
                })
            };
            out.add(write).map(|()| Step::On)
        }
        // It goes out before what is encrypted behind it.
        Ok(ConnectionState::TransmitTlsData(data)) => {
            data.done();
            Ok(Step::On)
        }
        Ok(ConnectionState::WriteTraffic(mut traffic)) => match std::mem::replace(wish, Wish::Nothing) {
            Wish::Nothing => Ok(Step::Ready),
            Wish::Text(bytes) => out.add(|to| traffic.encrypt(bytes, to).map_err(room)).map(|()| Step::On),
            Wish::Close => out.add(|to| traffic.queue_close_notify(to).map_err(room)).map(|()| Step::On),
        },
        Ok(ConnectionState::BlockedHandshake) => Ok(Step::Blocked),
        Ok(ConnectionState::PeerClosed | ConnectionState::Closed) => Ok(Step::Closed),
        // Nothing is ever sent early.
        Ok(_) => Err(rustls::Error::General("it said something before its turn".to_owned())),
    };
    (discard, step)
}
