//! The messages between the controller of an interactive cluster and a gateway: the process of ours on another machine to
//! which engines, or a client, are connected there as to a controller.
//!
//! One stream, encrypted, carries all of a gateway's connections ([`FromGateway::Open`]: a *channel*), each with the messages
//! that it would have on the controller's own machine. What differs is that blocks of memory cannot be named to another
//! machine: an [`Object`] tells how long they are, and their bytes follow in chunks ([`crate::frame::Frame::Chunk`]), behind
//! which other messages need not wait. A message counts as arrived when its blocks have, and those of its channel
//! behind it wait for it.

use serde::{Deserialize, Serialize};

pub use crate::agent::Bytes;
use crate::cluster::Hello;

/// Bytes of a block in one chunk, at most.
pub const CHUNK: usize = 256 << 10;

/// A block of an object, whose bytes follow in chunks.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Blob {
    /// Its handle where it comes from, under which the object names it.
    pub handle: u64,
    /// The number of its chunks, which no other blob of this direction has at this time.
    pub number: u32,
    /// Its length.
    pub bytes: u64,
}

/// An object on its way to another machine.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Object {
    /// What the codec wrote.
    pub wire: Bytes,
    /// The blocks that it names.
    pub blobs: Vec<Blob>,
    /// As in [`crate::cluster::Payload`].
    pub shared: bool,
}

/// What is said on a channel.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Said {
    /// The channel.
    pub channel: u32,
    /// A message of [`crate::cluster`], as postcard writes it.
    pub message: Bytes,
    /// Its objects.
    pub objects: Vec<Object>,
}

/// An engine that was there before its gateway's connection broke.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Known {
    /// Its number.
    pub id: u32,
    /// Its name.
    pub uuid: String,
}

/// What a gateway says.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum FromGateway {
    /// The first word.
    Hello {
        /// [`crate::cluster::PROTOCOL`] of the gateway.
        protocol: u32,
        /// The secret of the connection file.
        token: String,
        /// The machine that it runs on.
        host: String,
        /// Its process.
        pid: u32,
    },
    /// Somebody has connected to it.
    Open {
        /// The channel.
        channel: u32,
        /// What that is; the token is not in it.
        hello: Hello,
        /// It was here before.
        known: Option<Known>,
    },
    /// Somebody says something.
    Said(Said),
    /// An engine has printed.
    Text {
        /// Its channel.
        channel: u32,
        /// To standard error.
        is_error: bool,
        /// What.
        text: String,
    },
    /// Who was on a channel is gone; it is free again.
    Ended {
        /// The channel.
        channel: u32,
        /// Why, in words.
        reason: String,
        /// Of an engine: the number of the task that it has begun last.
        begun: u64,
    },
    /// An engine that was to be started could not be.
    Failed {
        /// The number that it was to have.
        id: u32,
        /// Why.
        reason: String,
    },
    /// It is there.
    Beat {},
}

/// What the controller says to a gateway.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub enum ToGateway {
    /// The first word.
    Welcome {
        /// The cluster's name.
        cluster_id: String,
        /// Milliseconds from one [`ToGateway::Beat`] to the next.
        beat: u64,
    },
    /// Something for who is on a channel.
    Said(Said),
    /// Signal an engine.
    Signal {
        /// Its channel.
        channel: u32,
        /// The signal.
        signal: i32,
    },
    /// Kill an engine, with what it has started.
    Kill {
        /// Its channel.
        channel: u32,
    },
    /// Start an engine again.
    Start {
        /// Its number.
        id: u32,
    },
    /// Hang up on who is on a channel.
    Close {
        /// The channel.
        channel: u32,
    },
    /// The last word.
    Bye {
        /// Why.
        reason: String,
    },
    /// It is there.
    Beat {},
}

/// A message between controller and gateway, for the part of a link that is the same in both directions.
pub trait Routed: serde::de::DeserializeOwned {
    /// The channel that it is about, on which it keeps its place behind others, if it is about one.
    fn channel(&self) -> Option<u32>;
    /// The objects that come with it.
    fn objects(&self) -> &[Object];
}

impl Routed for FromGateway {
    fn channel(&self) -> Option<u32> {
        match self {
            Self::Said(said) => Some(said.channel),
            Self::Open { channel, .. } | Self::Text { channel, .. } | Self::Ended { channel, .. } => Some(*channel),
            Self::Hello { .. } | Self::Failed { .. } | Self::Beat {} => None,
        }
    }

    fn objects(&self) -> &[Object] {
        if let Self::Said(said) = self { &said.objects } else { &[] }
    }
}

impl Routed for ToGateway {
    /// Signals do not wait for anything.
    fn channel(&self) -> Option<u32> {
        match self {
            Self::Said(said) => Some(said.channel),
            Self::Close { channel } => Some(*channel),
            _ => None,
        }
    }

    fn objects(&self) -> &[Object] {
        if let Self::Said(said) = self { &said.objects } else { &[] }
    }
}
