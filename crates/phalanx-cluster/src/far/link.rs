//! Messages and blocks over one stream, in both directions: without input, output and clock.
//!
//! Messages go first, and then a chunk of the block that has waited longest. Whoever receives a message gives it on when its
//! blocks have come, and in the order of its channel.

use std::collections::{BTreeMap, VecDeque};

use phalanx_shm::{Arena, Block, BlockKind, Handle, ShmError};
use phalanx_wire::cluster::{Bytes, Payload};
use phalanx_wire::far::{Blob, CHUNK, Object, Routed, Said};
use phalanx_wire::frame::{CHUNK_HEAD, Frame, Reader, WireError, Writer};
use phalanx_wire::object::{inner, rename};

use crate::server::objects::Held;

/// Who does not read has so many messages waiting for him at most.
const TOO_MUCH: usize = 1 << 30;
/// Blocks that one may have announced at a time.
const MOST_ARRIVING: usize = 1 << 20;

/// Why a link is of no use any more.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkError {
    /// What comes cannot be read.
    #[error(transparent)]
    Wire(#[from] WireError),
    /// A chunk of nothing, or of too much.
    #[error("bytes that belong to nothing")]
    Stray,
    /// More blocks on their way than there can be.
    #[error("{0} blocks at a time")]
    Blocks(usize),
    /// Too much waits to be sent.
    #[error("it does not read: {0} bytes of messages wait for it")]
    Full(usize),
    /// Memory of ours cannot be read.
    #[error("a block could not be read: {0}")]
    Memory(String),
}

impl From<ShmError> for LinkError {
    fn from(error: ShmError) -> Self {
        Self::Memory(error.to_string())
    }
}

/// A block that is being sent.
struct Leaving {
    number: u32,
    block: Block,
    at: usize,
}

/// A block that is on its way here; without memory for it its bytes are read and dropped.
struct Arriving {
    block: Option<Block>,
    bytes: u64,
    at: u64,
    channel: u32,
}

impl Arriving {
    /// The next bytes of it have come; whether that is all.
    fn write(&mut self, bytes: &[u8]) -> Result<bool, LinkError> {
        if bytes.is_empty() || bytes.len() as u64 > self.bytes - self.at {
            return Err(LinkError::Stray);
        }
        if let Some(block) = &self.block {
            block.bytes().write(usize::try_from(self.at).unwrap_or(usize::MAX), bytes)?;
        }
        self.at += bytes.len() as u64;
        Ok(self.at == self.bytes)
    }
}

/// An object of which all has come; nothing where there was no memory for it, or it is damaged.
pub(crate) type Arrived = Option<Held>;

/// A message whose blocks are on their way, and how many of them.
struct Waiting<M> {
    message: M,
    blocks: Vec<Vec<(u64, u32, Option<Block>)>>,
    missing: usize,
}

/// One end of a stream, on which messages of the kind `M` arrive.
pub(crate) struct Link<M> {
    arena: Arena,
    reader: Reader,
    writer: Writer,
    leaving: VecDeque<Leaving>,
    next: u32,
    arriving: BTreeMap<u32, Arriving>,
    waiting: BTreeMap<u32, VecDeque<Waiting<M>>>,
    ready: VecDeque<(M, Vec<Arrived>)>,
    /// Who the other end is, is known: it may have memory of ours filled.
    trusted: bool,
}

impl<M: Routed> Link<M> {
    /// A link over which nothing has gone.
    pub(crate) fn new(arena: Arena, version: &str) -> Self {
        Self {
            arena,
            reader: Reader::new(),
            writer: Writer::new(version),
            leaving: VecDeque::new(),
            next: 1,
            arriving: BTreeMap::new(),
            waiting: BTreeMap::new(),
            ready: VecDeque::new(),
            trusted: false,
        }
    }

    /// The other end has shown who it is. Before that it may send messages alone.
    pub(crate) fn trust(&mut self) {
        self.trusted = true;
    }

    /// Bytes before the greeting.
    pub(crate) fn noise(&self) -> usize {
        self.reader.noise().len()
    }

    /// Adds a message.
    ///
    /// # Errors
    /// When it is too long, or too much waits.
    pub(crate) fn push<S: serde::Serialize>(&mut self, message: &S) -> Result<(), LinkError> {
        let waits = self.writer.unsent().len();
        if waits > TOO_MUCH {
            return Err(LinkError::Full(waits));
        }
        Ok(self.writer.push(message)?)
    }

    /// Adds what is said on a channel, made a message by `wrap`, with objects whose blocks are open here.
    ///
    /// # Errors
    /// As [`Link::push`].
    pub(crate) fn say<B: serde::Serialize, S: serde::Serialize>(
        &mut self,
        channel: u32,
        body: &B,
        payloads: Vec<Payload>,
        wrap: impl FnOnce(Said) -> S,
    ) -> Result<(), LinkError> {
        let message = postcard::to_allocvec(body).map_err(|_| WireError::Nonsense)?;
        let mut blocks = Vec::new();
        let mut objects = Vec::with_capacity(payloads.len());
        for payload in payloads {
            let mut blobs = Vec::with_capacity(payload.blocks.len());
            for handle in payload.blocks {
                // One that is gone was that of a process which was killed: its receiver misses it.
                let Ok(block) = self.arena.open(Handle::from_u64(handle)) else { continue };
                let number = self.next;
                self.next = self.next.wrapping_add(1);
                blobs.push(Blob { handle, number, bytes: block.len() as u64 });
                blocks.push(Leaving { number, block, at: 0 });
            }
            objects.push(Object { wire: payload.wire, blobs, shared: payload.shared });
        }
        self.push(&wrap(Said { channel, message: Bytes(message), objects }))?;
        self.leaving.extend(blocks.into_iter().filter(|leaving| !leaving.block.is_empty()));
        Ok(())
    }

    /// Sees to it that what is to be written next, if anything is, is in [`Link::unsent`]: messages, then a chunk.
    ///
    /// # Errors
    /// When memory cannot be read.
    pub(crate) fn fill(&mut self) -> Result<(), LinkError> {
        if self.writer.unsent().is_empty()
            && let Some(Leaving { number, block, at }) = self.leaving.front_mut()
        {
            // With its head it is a whole number of records.
            let length = (CHUNK - CHUNK_HEAD).min(block.len() - *at);
            let bytes = block.bytes();
            self.writer.push_chunk(*number, length, |out| bytes.read(*at, out).map_err(LinkError::from))?;
            *at += length;
            if *at == block.len() {
                self.leaving.pop_front();
            }
        }
        Ok(())
    }

    /// What is to be written next.
    pub(crate) fn unsent(&self) -> &[u8] {
        self.writer.unsent()
    }

    /// So many bytes of [`Link::unsent`] have been written.
    pub(crate) fn sent(&mut self, count: usize) {
        self.writer.sent(count);
    }

    /// Whether nothing waits to be written.
    pub(crate) fn is_flushed(&self) -> bool {
        self.writer.unsent().is_empty() && self.leaving.is_empty()
    }

    /// Takes what has come.
    ///
    /// # Errors
    /// When it cannot be read: what was complete before comes from [`Link::next`] all the same.
    pub(crate) fn take(&mut self, mut bytes: &[u8]) -> Result<(), LinkError> {
        while let Some((number, count)) = self.reader.pass(bytes) {
            let (piece, rest) = bytes.split_at(count);
            if self.arriving.get_mut(&number).ok_or(LinkError::Stray)?.write(piece)? {
                self.complete(number);
            }
            bytes = rest;
        }
        self.reader.take(bytes);
        loop {
            match self.reader.read_frame::<M>()? {
                None => return Ok(()),
                Some(Frame::Message(message)) => self.arrived(message)?,
                Some(Frame::Chunk(number, bytes)) => {
                    // What it is of, its bytes are written to at once.
                    let arriving = self.arriving.get_mut(&number).ok_or(LinkError::Stray)?;
                    if arriving.write(bytes)? {
                        self.complete(number);
                    }
                }
            }
        }
    }

    /// A message has come.
    fn arrived(&mut self, message: M) -> Result<(), LinkError> {
        let announced: usize = message.objects().iter().map(|object| object.blobs.len()).sum();
        if announced > 0 && !self.trusted {
            return Err(LinkError::Stray);
        }
        if self.arriving.len() + announced > MOST_ARRIVING {
            return Err(LinkError::Blocks(self.arriving.len() + announced));
        }
        let Some(channel) = message.channel() else {
            self.ready.push_back((message, Vec::new()));
            return Ok(());
        };
        let mut missing = 0;
        let mut blocks = Vec::with_capacity(message.objects().len());
        for object in message.objects() {
            let mut of_object = Vec::with_capacity(object.blobs.len());
            for blob in &object.blobs {
                let block =
                    usize::try_from(blob.bytes).ok().and_then(|bytes| self.arena.alloc(bytes, BlockKind::Plain).ok());
                if blob.bytes > 0 {
                    missing += 1;
                    let arriving = Arriving { block: block.clone(), bytes: blob.bytes, at: 0, channel };
                    if self.arriving.insert(blob.number, arriving).is_some() {
                        return Err(LinkError::Stray);
                    }
                }
                of_object.push((blob.handle, blob.number, block));
            }
            blocks.push(of_object);
        }
        let waiting = Waiting { message, blocks, missing };
        self.waiting.entry(channel).or_default().push_back(waiting);
        self.release(channel);
        Ok(())
    }

    /// All of a block has come.
    fn complete(&mut self, number: u32) {
        let Some(done) = self.arriving.remove(&number) else { return };
        let Some(queue) = self.waiting.get_mut(&done.channel) else { return };
        let is_it =
            |waiting: &&mut Waiting<M>| waiting.blocks.iter().flatten().any(|(_, announced, _)| *announced == number);
        if let Some(waiting) = queue.iter_mut().find(is_it) {
            waiting.missing -= 1;
        }
        self.release(done.channel);
    }

    /// Gives on what is complete at the head of a channel.
    fn release(&mut self, channel: u32) {
        let Some(queue) = self.waiting.get_mut(&channel) else { return };
        while let Some(Waiting { message, blocks, .. }) = queue.pop_front_if(|waiting| waiting.missing == 0) {
            let objects = message.objects().iter().zip(blocks).map(|(object, blocks)| land(object, blocks)).collect();
            self.ready.push_back((message, objects));
        }
        if queue.is_empty() {
            self.waiting.remove(&channel);
        }
    }

    /// The next message of which everything is here.
    pub(crate) fn next(&mut self) -> Option<(M, Vec<Arrived>)> {
        self.ready.pop_front()
    }
}

/// Objects that have come, as they are given on. What has no memory here, or is damaged, is missed by who needs it.
pub(crate) fn payloads(objects: &[Arrived]) -> Vec<Payload> {
    let missing = || Payload { blocks: vec![u64::MAX], ..Payload::default() };
    objects.iter().map(|object| object.as_ref().map_or_else(missing, |held| held.payload(false))).collect()
}

/// What is said on a channel.
///
/// # Errors
/// In words, when it is no message.
pub(crate) fn message<M: serde::de::DeserializeOwned>(said: &Said) -> Result<M, String> {
    match postcard::take_from_bytes(&said.message.0) {
        Ok((message, [])) => Ok(message),
        _ => Err(WireError::Nonsense.to_string()),
    }
}

/// An object in our memory.
fn land(object: &Object, blocks: Vec<(u64, u32, Option<Block>)>) -> Arrived {
    let known = |old: u64| {
        let (_, _, block) = blocks.iter().find(|(handle, _, _)| *handle == old)?;
        Some(block.as_ref()?.handle().to_u64())
    };
    let mut wire = object.wire.0.clone();
    if let Some((handle, length)) = inner(&wire) {
        // The message lies in a block itself, which is nobody's but ours so far.
        let (_, _, block) = blocks.iter().find(|(old, _, _)| *old == handle)?;
        let bytes = block.as_ref().filter(|block| length <= block.len())?.bytes();
        let mut message = vec![0; length];
        bytes.read(0, &mut message).ok()?;
        rename(&mut message, known).ok()?;
        bytes.write(0, &message).ok()?;
    }
    rename(&mut wire, known).ok()?;
    let blocks: Vec<Block> = blocks.into_iter().map(|(_, _, block)| block).collect::<Option<_>>()?;
    Some(Held::of(wire, object.shared, blocks))
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use phalanx_shm::ArenaConfig;
    use phalanx_wire::far::ToGateway;
    use proptest::prelude::*;

    use super::*;

    fn arena() -> Arena {
        Arena::create(ArenaConfig::for_machine()).expect("memory")
    }

    /// A block with these bytes, and the encoded object that names it.
    fn object(arena: Arena, bytes: &[u8]) -> (Payload, Block) {
        let block = arena.alloc(bytes.len(), BlockKind::Plain).expect("memory");
        block.bytes().write(0, bytes).expect("it fits");
        let handle = block.handle().to_u64();
        let wire = [&[12][..], &handle.to_le_bytes(), &(bytes.len() as u64).to_le_bytes()].concat();
        (Payload { wire: Bytes(wire), blocks: vec![handle], ..Payload::default() }, block)
    }

    /// What lies in the block of an object.
    fn bytes_of(arena: Arena, held: &Held, length: usize) -> Vec<u8> {
        let payload = held.payload(false);
        let handle = u64::from_le_bytes(payload.wire.0[1..9].try_into().expect("8 bytes"));
        assert_eq!(payload.blocks, [handle], "it names the block here");
        let mut bytes = vec![0; length];
        arena.open(Handle::from_u64(handle)).expect("it is held").bytes().read(0, &mut bytes).expect("so long");
        bytes
    }

    proptest! {
        #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

        /// Whatever the sizes and the pieces: each channel's messages come in order, complete, with their bytes.
        #[test]
        fn messages_come_in_the_order_of_their_channels(
            sent in prop::collection::vec((0u32..3, 0usize..900_000, any::<u8>()), 1..12),
            piece in 1usize..400_000,
            at_a_time in 1usize..4,
        ) {
            let (here, there) = (arena(), arena());
            let mut from: Link<ToGateway> = Link::new(here, "1");
            let mut to: Link<ToGateway> = Link::new(there, "1");
            to.trust();
            let mut expected: HashMap<u32, Vec<(usize, u8)>> = HashMap::new();
            let mut got: HashMap<u32, Vec<(usize, u8)>> = HashMap::new();
            let mut rest = sent.iter();
            loop {
                for (channel, length, byte) in rest.by_ref().take(at_a_time) {
                    let (payload, _block) = object(here, &vec![*byte; *length]);
                    from.say(*channel, &(*length as u64, *byte), vec![payload], ToGateway::Said).expect("room");
                    expected.entry(*channel).or_default().push((*length, *byte));
                }
                from.fill().expect("readable");
                if from.unsent().is_empty() {
                    break;
                }
                let count = piece.min(from.unsent().len());
                to.take(&from.unsent()[..count]).expect("as it was written");
                from.sent(count);
                while let Some((message, objects)) = to.next() {
                    let ToGateway::Said(said) = message else { panic!("something else") };
                    let (length, byte): (u64, u8) = postcard::from_bytes(&said.message.0).expect("ours");
                    let held = objects[0].as_ref().expect("there was memory");
                    prop_assert_eq!(bytes_of(there, held, length as usize), vec![byte; length as usize]);
                    got.entry(said.channel).or_default().push((length as usize, byte));
                }
            }
            prop_assert_eq!(got, expected);
            prop_assert!(from.is_flushed() && to.arriving.is_empty() && to.waiting.is_empty());
        }
    }

    #[test]
    fn who_has_not_shown_who_he_is_fills_no_memory() {
        let (here, there) = (arena(), arena());
        let mut from: Link<ToGateway> = Link::new(here, "1");
        let (payload, _block) = object(here, b"x");
        from.say(1, &1u8, vec![payload], ToGateway::Said).expect("room");
        let mut to: Link<ToGateway> = Link::new(there, "1");
        from.fill().expect("readable");
        assert_eq!(to.take(from.unsent()), Err(LinkError::Stray));
    }

    #[test]
    fn what_is_too_large_for_the_memory_here_is_missed_and_nothing_else_is() {
        let there = arena();
        let mut to: Link<ToGateway> = Link::new(there, "1");
        to.trust();
        let mut writer = Writer::new("1");
        let said = |channel, bytes| {
            let blobs = vec![Blob { handle: 7, number: channel, bytes }];
            let wire = Bytes([&[12][..], &7u64.to_le_bytes(), &1u64.to_le_bytes()].concat());
            ToGateway::Said(Said {
                channel,
                message: Bytes(Vec::new()),
                objects: vec![Object { wire, blobs, shared: false }],
            })
        };
        writer.push(&said(1, u64::MAX)).expect("short");
        writer.push(&said(2, 3)).expect("short");
        writer
            .push_chunk(2, 3, |out| {
                out.fill(1);
                Ok::<_, WireError>(())
            })
            .expect("short");
        to.take(writer.unsent()).expect("as it was written");
        let (message, objects) = to.next().expect("that one is complete");
        assert_eq!(message.channel(), Some(2));
        assert_eq!(bytes_of(there, objects[0].as_ref().expect("all of it"), 3), [1, 1, 1]);
        assert!(to.next().is_none());
        writer.sent(usize::MAX / 2);
        writer.push_chunk(9, 3, |_| Ok::<_, WireError>(())).expect("short");
        assert_eq!(to.take(writer.unsent()), Err(LinkError::Stray), "a chunk of nothing");
    }
}
