//! Jobs on several machines: which ranks run where, and the agents that start them there.
//!
//! | module | subject |
//! |---|---|
//! | [`list`] | hosts as they are written |
//! | [`slurm`] | the nodes of an allocation |
//! | [`layout`] | which ranks run on which host |
//! | [`library`] | the MPI library that messages go through |
//! | [`channel`] | one agent, and the two streams to it |
//! | [`connect`] | starting agents, and comparing what they find |
//! | [`look`] | what is compared |

pub(crate) mod channel;
pub(crate) mod connect;
pub(crate) mod layout;
pub(crate) mod library;
pub mod list;
pub(crate) mod look;
pub(crate) mod slurm;
