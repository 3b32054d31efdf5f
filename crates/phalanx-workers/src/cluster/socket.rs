//! Frames over the socket of a link, and who holds the blocks of what is on its way. No Python here.

use std::collections::VecDeque;
use std::io::{IoSlice, IoSliceMut};
use std::os::fd::{AsFd, OwnedFd};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use phalanx_shm::{Arena, Block, Handle};
use phalanx_wire::cluster::{Parcel, Payload, Reply, ToClient, ToEngine};
use phalanx_wire::frame::{Reader, Writer};
use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{
    RecvAncillaryBuffer, RecvAncillaryMessage, RecvFlags, SendAncillaryBuffer, SendAncillaryMessage, SendFlags,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

use super::payload::Held;

/// Bytes read at a time.
const ROOM: usize = 256 << 10;

/// A message of the controller's.
#[derive(Debug)]
pub(super) enum Message {
    /// To a client.
    Client(ToClient),
    /// To an engine.
    Engine(ToEngine),
}

/// What becomes of a message that cannot be read or written: why the connection is of no use any more.
pub(super) type Gone = String;

/// What is to be written.
struct Out {
    writer: Writer,
    /// The blocks of parcels that the controller has not taken yet, and how many such parcels it has taken.
    unread: VecDeque<Vec<Block>>,
    let_go: u64,
    /// How many parcels with blocks the controller knows that we have taken.
    told: u64,
    /// Since when something waits that is written later.
    since: Option<Instant>,
}

/// What has come.
struct In {
    reader: Reader,
    room: Vec<u8>,
    queue: VecDeque<(Message, Vec<Held>)>,
    /// How many parcels with blocks have been taken.
    taken: u64,
    /// Replies whose rest is on its way.
    parts: Vec<Reply>,
    gone: Option<Gone>,
    /// The last word of the controller.
    bye: Option<String>,
}

/// The socket of a link.
pub(super) struct Socket {
    descriptor: OwnedFd,
    is_engine: bool,
    arena: Mutex<Option<Arena>>,
    output: Mutex<Out>,
    input: Mutex<In>,
}

/// What a wait came to.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Waited {
    /// Something has come, or can be written.
    Ready,
    /// The time is over.
    TimedOut,
    /// A signal has come.
    Interrupted,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Socket {
    pub(super) fn new(descriptor: OwnedFd, is_engine: bool) -> Self {
        let output = Out {
            writer: Writer::new(env!("CARGO_PKG_VERSION")),
            unread: VecDeque::new(),
            let_go: 0,
            told: 0,
            since: None,
        };
        let input = In {
            reader: Reader::new(),
            room: Vec::new(),
            queue: VecDeque::new(),
            taken: 0,
            parts: Vec::new(),
            gone: None,
            bye: None,
        };
        Self { descriptor, is_engine, arena: Mutex::new(None), output: Mutex::new(output), input: Mutex::new(input) }
    }

    /// The memory of the cluster, once it has come.
    pub(super) fn arena(&self) -> Option<Arena> {
        *lock(&self.arena)
    }

    /// Adds a message to what is to be written.
    ///
    /// # Errors
    /// Why it cannot be sent: it is too long.
    pub(super) fn push<M: Serialize>(&self, body: M, payloads: &[Held]) -> Result<(), String> {
        let taken = lock(&self.input).taken;
        let mut out = lock(&self.output);
        let blocks: Vec<Block> = payloads.iter().flat_map(|held| held.blocks.iter().cloned()).collect();
        let parcel = Parcel { taken, body, payloads: payloads.iter().map(|held| held.payload.clone()).collect() };
        let has_blocks = parcel.has_blocks();
        out.writer.push(&parcel).map_err(|error| error.to_string())?;
        out.told = out.told.max(taken);
        if has_blocks {
            out.unread.push_back(blocks);
        }
        out.since.get_or_insert_with(Instant::now);
        Ok(())
    }

    /// Since when something waits to be written.
    pub(super) fn unsent_since(&self) -> Option<Instant> {
        lock(&self.output).since
    }

    /// Writes what can be written without waiting; whether that is all.
    ///
    /// # Errors
    /// When the other end is gone.
    pub(super) fn flush(&self) -> Result<bool, Gone> {
        let mut out = lock(&self.output);
        while !out.writer.unsent().is_empty() {
            let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
            match rustix::net::send(&self.descriptor, out.writer.unsent(), flags) {
                Ok(count) => out.writer.sent(count),
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(false),
                Err(error) => {
                    drop(out);
                    return Err(self.why(error));
                }
            }
        }
        out.since = None;
        Ok(true)
    }

    /// Writes what waits, which nothing has been written of before, with descriptors beside it.
    ///
    /// # Errors
    /// When the other end is gone: a new connection has room for so little.
    pub(super) fn flush_with(&self, descriptors: &[OwnedFd]) -> Result<(), Gone> {
        let descriptors: Vec<_> = descriptors.iter().map(AsFd::as_fd).collect();
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(2))];
        let mut control = SendAncillaryBuffer::new(&mut space);
        if !control.push(SendAncillaryMessage::ScmRights(&descriptors)) {
            return Err("more than two descriptors".to_owned());
        }
        let mut out = lock(&self.output);
        let parts = [IoSlice::new(out.writer.unsent())];
        let flags = SendFlags::DONTWAIT | SendFlags::NOSIGNAL;
        let sent = rustix::net::sendmsg(&self.descriptor, &parts, &mut control, flags);
        let count = sent.map_err(|error| format!("the controller is gone ({error})"))?;
        out.writer.sent(count);
        Ok(())
    }

    /// Why the other end is gone: what it said last, if it said something.
    fn why(&self, error: Errno) -> Gone {
        let _ = self.read();
        let input = lock(&self.input);
        match (&input.bye, &input.gone) {
            (Some(bye), _) => bye.clone(),
            (None, Some(gone)) => gone.clone(),
            (None, None) => format!("the controller is gone ({error})"),
        }
    }

    /// Reads what has come, without waiting.
    ///
    /// # Errors
    /// When the other end is gone, or sends nonsense; what has come before stays in the queue.
    pub(super) fn read(&self) -> Result<(), Gone> {
        let mut input = lock(&self.input);
        if let Some(gone) = &input.gone {
            return Err(gone.clone());
        }
        let found = self.read_into(&mut input);
        if let Err(gone) = &found {
            let why = input.bye.clone().unwrap_or_else(|| gone.clone());
            input.gone = Some(why.clone());
            return Err(why);
        }
        Ok(())
    }

    fn read_into(&self, input: &mut In) -> Result<(), Gone> {
        input.room.resize(ROOM, 0);
        loop {
            let In { room, reader, .. } = &mut *input;
            match self.receive(room) {
                Ok(0) => {
                    let what = if self.is_engine { "the controller is gone" } else { "the controller has ended" };
                    return Err(what.to_owned());
                }
                Ok(count) => {
                    reader.take(&room[..count]);
                    let is_all = count < room.len();
                    if self.is_engine {
                        self.sort(input, |body| Some(Message::Engine(body)))?;
                    } else {
                        self.sort(input, |body| Some(Message::Client(body)))?;
                    }
                    if is_all {
                        return Ok(());
                    }
                }
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return Ok(()),
                Err(error) => return Err(format!("the controller is gone ({error})")),
            }
        }
    }

    /// Receives bytes; the arena's descriptor comes beside the first ones.
    fn receive(&self, room: &mut [u8]) -> rustix::io::Result<usize> {
        if lock(&self.arena).is_some() {
            return rustix::net::recv(&self.descriptor, room, RecvFlags::DONTWAIT).map(|(_, count)| count);
        }
        let mut space = [std::mem::MaybeUninit::uninit(); rustix::cmsg_space!(ScmRights(1))];
        let mut control = RecvAncillaryBuffer::new(&mut space);
        let flags = RecvFlags::DONTWAIT | RecvFlags::CMSG_CLOEXEC;
        let mut parts = [IoSliceMut::new(room)];
        let count = rustix::net::recvmsg(&self.descriptor, &mut parts, &mut control, flags)?.bytes;
        for message in control.drain() {
            if let RecvAncillaryMessage::ScmRights(descriptors) = message {
                for descriptor in descriptors {
                    if let Ok(arena) = Arena::whole(|| Arena::attach(descriptor)) {
                        *lock(&self.arena) = Some(arena);
                    }
                }
            }
        }
        Ok(count)
    }

    /// Sorts messages out of what has come.
    fn sort<M: DeserializeOwned>(&self, input: &mut In, make: impl Fn(M) -> Option<Message>) -> Result<(), Gone> {
        while let Some(parcel) = input.reader.read::<Parcel<M>>().map_err(|error| error.to_string())? {
            let has_blocks = parcel.has_blocks();
            self.let_go(parcel.taken);
            let held = self.open(parcel.payloads);
            if has_blocks && !self.is_engine {
                // What an engine is sent, the controller holds as long as the task lasts.
                input.taken += 1;
            }
            match make(parcel.body) {
                None | Some(Message::Client(ToClient::Taken {}) | Message::Engine(ToEngine::Taken {})) => {}
                Some(Message::Client(ToClient::Reply(reply))) if reply.more => input.parts.push(reply),
                Some(Message::Client(ToClient::Reply(mut reply))) => {
                    let (mine, others) = std::mem::take(&mut input.parts)
                        .into_iter()
                        .partition::<Vec<_>, _>(|part| part.request == reply.request);
                    input.parts = others;
                    let mut records: Vec<_> = mine.into_iter().flat_map(|part| part.records).collect();
                    records.append(&mut reply.records);
                    reply.records = records;
                    input.queue.push_back((Message::Client(ToClient::Reply(reply)), held));
                }
                Some(message) => {
                    if let Message::Client(ToClient::Bye { reason }) | Message::Engine(ToEngine::Bye { reason }) =
                        &message
                    {
                        input.bye = Some(reason.clone());
                    }
                    input.queue.push_back((message, held));
                }
            }
        }
        Ok(())
    }

    /// Takes a hold on the blocks of what has come. One that is gone is missed by who loads it.
    fn open(&self, payloads: Vec<Payload>) -> Vec<Held> {
        let arena = self.arena();
        let open = |payload: Payload| {
            let handles = payload.blocks.iter();
            let blocks = handles.filter_map(|handle| arena?.open(Handle::from_u64(*handle)).ok()).collect();
            Held { payload, blocks }
        };
        payloads.into_iter().map(open).collect()
    }

    fn let_go(&self, taken: u64) {
        let mut over = Vec::new();
        let mut out = lock(&self.output);
        while out.let_go < taken
            && let Some(blocks) = out.unread.pop_front()
        {
            out.let_go += 1;
            over.push(blocks);
        }
        drop(out);
        drop(over);
    }

    /// The next message that has come.
    pub(super) fn next(&self) -> Option<(Message, Vec<Held>)> {
        lock(&self.input).queue.pop_front()
    }

    /// Whether a message has come that is not read yet.
    pub(super) fn has_next(&self) -> bool {
        !lock(&self.input).queue.is_empty()
    }

    /// Whether the other end is known to be gone.
    pub(super) fn is_gone(&self) -> bool {
        lock(&self.input).gone.is_some()
    }

    /// Takes the tasks out of the queue that an engine has not begun.
    pub(super) fn take_unbegun(&self) -> Vec<String> {
        let mut input = lock(&self.input);
        let (runs, rest) = std::mem::take(&mut input.queue)
            .into_iter()
            .partition::<VecDeque<_>, _>(|(message, _)| matches!(message, Message::Engine(ToEngine::Run { .. })));
        input.queue = rest;
        drop(input);
        let name = |(message, _)| match message {
            Message::Engine(ToEngine::Run { id, .. }) => Some(id),
            _ => None,
        };
        runs.into_iter().filter_map(name).collect()
    }

    /// Whether the controller is to be told what has been taken.
    pub(super) fn owes_word(&self) -> bool {
        let taken = lock(&self.input).taken;
        taken > lock(&self.output).told
    }

    /// Waits until something comes, or can be written.
    pub(super) fn wait(&self, writing: bool, limit: Option<Duration>) -> Waited {
        let flags = if writing { PollFlags::OUT } else { PollFlags::IN };
        let mut descriptors = [PollFd::new(&self.descriptor, flags)];
        let limit = limit
            .map(|limit| Timespec { tv_sec: limit.as_secs().cast_signed(), tv_nsec: i64::from(limit.subsec_nanos()) });
        match poll(&mut descriptors, limit.as_ref()) {
            Ok(0) => Waited::TimedOut,
            Err(Errno::INTR) => Waited::Interrupted,
            // An error shows at the next read or write.
            Ok(_) | Err(_) => Waited::Ready,
        }
    }

    /// Hangs up: whoever waits for something to come learns that nothing will.
    pub(super) fn hang_up(&self) {
        lock(&self.input).gone.get_or_insert_with(|| "this connection was closed here".to_owned());
        let _ = rustix::net::shutdown(&self.descriptor, rustix::net::Shutdown::Both);
    }

    /// Lets go of what the controller has not taken.
    pub(super) fn forget(&self) {
        let unread = std::mem::take(&mut lock(&self.output).unread);
        drop(unread);
    }
}

impl std::fmt::Debug for Held {
    fn fmt(&self, out: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(out, "Held({} bytes)", self.payload.bytes)
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        self.descriptor.as_fd()
    }
}
