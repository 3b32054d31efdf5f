//! Asking a controller that runs: one request after the other, over its socket, or through a gateway to another machine.

use std::io::{Read, Write};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::net::UnixStream;
use std::time::{Duration, Instant};

use phalanx_wire::cluster::{FromClient, Hello, PROTOCOL, Parcel, Reply, Role, ToClient};
use phalanx_wire::frame::{Reader, Writer};

use super::far;
use super::files::Reach;

/// How long a controller may take to answer.
const PATIENCE: Duration = Duration::from_secs(10);

/// A connection to a controller.
pub(super) struct Asked {
    stream: UnixStream,
    reader: Reader,
    writer: Writer,
    requests: u64,
    patience: Duration,
    /// The controller has ended, or said its last word.
    over: bool,
}

impl Asked {
    /// Connects; the engines that are there.
    ///
    /// # Errors
    /// In words, when nobody answers, or not as one should.
    pub(super) fn connect(reach: &Reach) -> Result<Self, String> {
        let stream = match (UnixStream::connect(&reach.socket), &reach.far) {
            (Ok(stream), _) => stream,
            (Err(_), Some(far)) if reach.is_elsewhere() => far::join(far, PATIENCE)?,
            (Err(error), _) => {
                let (pid, socket) = (reach.pid, reach.socket.display());
                return Err(format!("its controller (process {pid}) does not listen at {socket}: {error}"));
            }
        };
        let writer = Writer::new(env!("CARGO_PKG_VERSION"));
        let mut asked = Self { stream, reader: Reader::new(), writer, requests: 0, patience: PATIENCE, over: false };
        let hello = Hello {
            protocol: PROTOCOL,
            role: Role::Command,
            token: reach.token.clone(),
            pid: std::process::id(),
            ..Hello::default()
        };
        asked.say(hello)?;
        // A gateway says, when its time is up, why there is no controller.
        let until = Instant::now() + PATIENCE + Duration::from_secs(1);
        match asked.hear(until)? {
            ToClient::Welcome { .. } => Ok(asked),
            ToClient::Bye { reason } => Err(reason),
            _ => Err("its controller does not answer as one should".to_owned()),
        }
    }

    /// The same, with another time in which answers have to come.
    pub(super) fn patient(self, patience: Duration) -> Self {
        Self { patience, ..self }
    }

    /// Whether the controller is gone.
    pub(super) fn is_over(&self) -> bool {
        self.over
    }

    fn say<M: serde::Serialize>(&mut self, body: M) -> Result<(), String> {
        let parcel = Parcel { taken: 0, body, payloads: Vec::new() };
        self.writer.push(&parcel).map_err(|error| error.to_string())?;
        let written = self.stream.write_all(self.writer.unsent());
        let count = self.writer.unsent().len();
        self.writer.sent(count);
        written.map_err(|error| {
            self.over = true;
            // Its last word may have come before.
            self.end().unwrap_or_else(|| format!("its controller is gone: {error}"))
        })
    }

    fn hear(&mut self, until: Instant) -> Result<ToClient, String> {
        let mut room = vec![0; 64 << 10];
        loop {
            if let Some(parcel) = self.reader.read::<Parcel<ToClient>>().map_err(|error| error.to_string())? {
                return Ok(parcel.body);
            }
            let left = until.saturating_duration_since(Instant::now());
            if left.is_zero() {
                return Err("its controller does not answer: is it stopped?".to_owned());
            }
            self.stream.set_read_timeout(Some(left)).map_err(|error| error.to_string())?;
            match self.stream.read(&mut room) {
                Ok(0) => {
                    self.over = true;
                    return Err("its controller has ended".to_owned());
                }
                Ok(count) => self.reader.take(&room[..count]),
                Err(error) if is_pause(&error) => {}
                Err(error) => {
                    self.over = true;
                    return Err(format!("its controller is gone: {error}"));
                }
            }
        }
    }

    /// What has come by now.
    ///
    /// # Errors
    /// In words, when the controller is gone.
    pub(super) fn heard(&mut self) -> Result<Vec<ToClient>, String> {
        let mut room = vec![0; 64 << 10];
        match self.stream.read(&mut room) {
            Ok(0) => return Err("its controller has ended".to_owned()),
            Ok(count) => self.reader.take(&room[..count]),
            Err(error) if is_pause(&error) => {}
            Err(error) => return Err(error.to_string()),
        }
        let mut found = Vec::new();
        while let Some(parcel) = self.reader.read::<Parcel<ToClient>>().map_err(|error| error.to_string())? {
            found.push(parcel.body);
        }
        Ok(found)
    }

    /// Takes what has come, without waiting for anything; why the controller has ended, if it has.
    pub(super) fn end(&mut self) -> Option<String> {
        let _ = self.stream.set_read_timeout(Some(Duration::from_millis(1)));
        match self.heard().map(|mut messages| messages.pop()) {
            Err(problem) => Some(problem),
            Ok(Some(ToClient::Bye { reason })) => Some(reason),
            Ok(_) => None,
        }
    }

    /// Asks, and waits for the answer.
    ///
    /// # Errors
    /// In words, when the controller ends, does not answer, or refuses.
    pub(super) fn ask(&mut self, make: impl FnOnce(Option<u64>) -> FromClient) -> Result<Reply, String> {
        self.requests += 1;
        let number = self.requests;
        self.say(make(Some(number)))?;
        let until = Instant::now() + self.patience;
        let mut records = Vec::new();
        loop {
            match self.hear(until)? {
                ToClient::Reply(mut reply) if reply.request == number => {
                    records.append(&mut reply.records);
                    if reply.more {
                        continue;
                    }
                    return match reply.error {
                        Some(error) => Err(error),
                        None => Ok(Reply { records, ..reply }),
                    };
                }
                ToClient::Bye { reason } => {
                    self.over = true;
                    return Err(reason);
                }
                _ => {}
            }
        }
    }
}

impl AsFd for Asked {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}

fn is_pause(error: &std::io::Error) -> bool {
    use std::io::ErrorKind::{Interrupted, TimedOut, WouldBlock};
    matches!(error.kind(), Interrupted | TimedOut | WouldBlock)
}
