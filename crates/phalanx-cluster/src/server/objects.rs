//! Objects in the controller's hands: their bytes, and a hold on each of their blocks.

use std::rc::Rc;

use phalanx_shm::{Arena, Block, Handle};
use phalanx_wire::cluster::{Bytes, Payload};

use crate::core::Object;

#[derive(Debug)]
struct Inner {
    payload: Payload,
    _blocks: Vec<Block>,
}

/// An object that is held. Clones share the hold.
#[derive(Debug, Clone)]
pub(crate) struct Held(Rc<Inner>);

impl Held {
    /// Takes a payload that has arrived; `None` when one of its blocks is gone: its sender was killed meanwhile, or sent
    /// nonsense.
    pub(crate) fn take(arena: Arena, mut payload: Payload) -> Option<Self> {
        let blocks: Option<Vec<Block>> =
            payload.blocks.iter().map(|handle| arena.open(Handle::from_u64(*handle)).ok()).collect();
        let blocks = blocks?;
        // What the sender says of it is not believed.
        payload.bytes = payload.wire.0.len() as u64 + blocks.iter().map(|block| block.len() as u64).sum::<u64>();
        Some(Self(Rc::new(Inner { payload, _blocks: blocks })))
    }

    /// One whose blocks are ours.
    pub(crate) fn of(wire: Vec<u8>, shared: bool, blocks: Vec<Block>) -> Self {
        let payload = Payload {
            bytes: wire.len() as u64 + blocks.iter().map(|block| block.len() as u64).sum::<u64>(),
            wire: Bytes(wire),
            blocks: blocks.iter().map(|block| block.handle().to_u64()).collect(),
            shared,
        };
        Self(Rc::new(Inner { payload, _blocks: blocks }))
    }

    /// As it is sent on; `shared`: others may read the same blocks.
    pub(crate) fn payload(&self, shared: bool) -> Payload {
        let mut payload = self.0.payload.clone();
        payload.shared |= shared;
        payload
    }

    pub(crate) fn has_blocks(&self) -> bool {
        !self.0.payload.blocks.is_empty()
    }

    /// Whether it is held more than once here.
    pub(crate) fn is_shared(&self) -> bool {
        Rc::strong_count(&self.0) > 1
    }
}

impl Object for Held {
    fn bytes(&self) -> u64 {
        self.0.payload.bytes
    }
}
