//! Operations among the neighbours of a topology.

use super::super::args::DstBlocks;
use super::super::call::Sent;
use super::super::neighbours::Neighbours;
use super::super::schedule::Plan;
use super::Team;

/// Every block goes to its destination and comes from its source.
///
/// There is no waiting between the messages, however many there are: ranks walk a graph each in its own order, and one of them
/// may need the last message of another before it sends its first.
pub(super) fn exchange(p: &mut Plan, team: &Team<'_>, around: &Neighbours, send: &Sent, recv: &DstBlocks) {
    // Receives first: what comes then is written where it belongs.
    for (slot, from) in around.incoming() {
        p.recv(team.peer(from), recv.block(slot));
    }
    for (slot, to) in around.outgoing() {
        p.send(team.peer(to), send.block(slot));
    }
}
