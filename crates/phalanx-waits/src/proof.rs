//! Who can never go on.
//!
//! A process *can move* if it is not known to wait, or if one of its threads waits for something that a process that can move may
//! do. One that has ended does nothing more; but a call that waits for nobody else fails by itself, as the engine sees to, and so its
//! process can move. That is a least fixed point: everybody else waits for each other, and for nobody outside. With waits for all of
//! several things (AND) and for any of them (OR) it is the classical AND-OR model of deadlock (K. M. Chandy, J. Misra and
//! L. M. Haas, "Distributed deadlock detection", ACM TOCS 1(2), 1983). It is a proof if the waits held at one moment, which
//! `snapshot.rs` sees to.

use crate::wait::{Item, Kind, Need, Peers, Wait};

/// What is known of a process.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It may do anything.
    Free,
    /// All its threads that may do something are in these waits.
    Blocked(Vec<Wait>),
    /// The same of one that says goodbye: it delivers what it has begun to send, and does nothing else any more.
    Leaving(Vec<Wait>),
    /// It has said goodbye. All that it sent has been rung for.
    Ended,
}

impl Standing {
    fn waits(&self) -> &[Wait] {
        match self {
            Standing::Blocked(waits) | Standing::Leaving(waits) => waits,
            Standing::Free | Standing::Ended => &[],
        }
    }
}

/// The processes that can never go on, in order.
#[must_use]
pub fn stuck(standings: &[Standing]) -> Vec<u32> {
    let mut moves: Vec<bool> = standings.iter().map(|standing| matches!(standing, Standing::Free)).collect();
    let end = u32::try_from(moves.len()).unwrap_or(u32::MAX);
    loop {
        let mut changed = false;
        for (slot, standing) in standings.iter().enumerate() {
            if !moves[slot] && standing.waits().iter().any(|wait| can_move(wait, end, standings, &moves)) {
                moves[slot] = true;
                changed = true;
            }
        }
        if !changed {
            let has_ended = |slot: u32| matches!(standings[slot as usize], Standing::Ended);
            return (0..end).filter(|slot| !moves[*slot as usize] && !has_ended(*slot)).collect();
        }
    }
}

/// Whether somebody who can move could end a wait, or advance what is under way beside it.
fn can_move(wait: &Wait, end: u32, standings: &[Standing], moves: &[bool]) -> bool {
    // Who is not in the list is not known.
    let any = |peers: &Peers| peers.reaches(end) || peers.below(end).any(|slot| moves[slot as usize]);
    let fails = |item: &Item| {
        let mut peers = item.peers.below(end).map(|slot| &standings[slot as usize]).peekable();
        let is_hopeless = |standing: &Standing| match standing {
            Standing::Ended => true,
            Standing::Leaving(_) => item.kind != Kind::Receive,
            Standing::Free | Standing::Blocked(_) => false,
        };
        peers.peek().is_some() && peers.all(is_hopeless)
    };
    let ends = |item: &Item| any(&item.peers) || fails(item);
    let is_over = match wait.need {
        // One that fails ends a wait for all as well.
        Need::All => wait.items.iter().all(ends) || wait.items.iter().any(fails),
        Need::Any => wait.items.iter().any(ends),
    };
    is_over || wait.background.as_ref().is_some_and(any)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn blocked(need: Need, items: &[&[u32]]) -> Standing {
        let item = |peers: &&[u32]| Item {
            kind: Kind::Receive,
            peers: peers.iter().copied().collect(),
            what: String::new(),
            near: String::new(),
        };
        Standing::Blocked(vec![Wait {
            thread: 1,
            mates: vec![],
            alone: true,
            operation: "Wait".into(),
            since: 0,
            need,
            items: items.iter().map(item).collect(),
            collective: None,
            background: None,
            place: vec![],
        }])
    }

    fn on(peers: &[u32]) -> Standing {
        blocked(Need::All, &[peers])
    }

    #[test]
    fn a_cycle_is_stuck_and_who_waits_for_it() {
        assert_eq!(stuck(&[on(&[1]), on(&[2]), on(&[0]), on(&[1]), Standing::Free]), [0, 1, 2, 3]);
    }

    #[test]
    fn who_waits_for_one_that_moves_is_not() {
        assert_eq!(stuck(&[on(&[1]), on(&[2]), Standing::Free]), []);
        assert_eq!(stuck(&[on(&[1, 2]), on(&[0]), Standing::Free]), [], "any source");
        assert_eq!(stuck(&[on(&[7]), on(&[1])]), [1], "who is not in the list may do anything");
    }

    #[test]
    fn all_needs_each_and_any_needs_one() {
        let two: &[&[u32]] = &[&[1], &[2]];
        assert_eq!(stuck(&[blocked(Need::All, two), on(&[0]), Standing::Free]), [0, 1]);
        assert_eq!(stuck(&[blocked(Need::Any, two), on(&[0]), Standing::Free]), []);
        assert_eq!(stuck(&[blocked(Need::Any, two), on(&[0]), on(&[0])]), [0, 1, 2]);
    }

    #[test]
    fn any_of_nothing_never_comes_and_all_of_nothing_is_here() {
        assert_eq!(stuck(&[blocked(Need::Any, &[])]), [0]);
        assert_eq!(stuck(&[blocked(Need::All, &[])]), []);
        assert_eq!(stuck(&[on(&[])]), [0]);
    }

    #[test]
    fn one_thread_that_can_move_moves_the_process() {
        let (Standing::Blocked(mut a), Standing::Blocked(b)) = (on(&[1]), on(&[2])) else { unreachable!() };
        a.extend(b);
        assert_eq!(stuck(&[Standing::Blocked(a.clone()), on(&[0]), Standing::Free]), []);
        assert_eq!(stuck(&[Standing::Blocked(a), on(&[0]), on(&[0])]), [0, 1, 2]);
    }

    #[test]
    fn what_is_under_way_may_move_others() {
        let Standing::Blocked(mut waits) = on(&[1]) else { unreachable!() };
        waits[0].background = Some(Peers::one(2));
        assert_eq!(stuck(&[Standing::Blocked(waits.clone()), on(&[0]), Standing::Free]), []);
        assert_eq!(stuck(&[Standing::Blocked(waits), on(&[0]), on(&[0])]), [0, 1, 2]);
    }

    #[test]
    fn a_process_that_waits_for_itself_is_stuck() {
        assert_eq!(stuck(&[on(&[0])]), [0]);
    }

    #[test]
    fn who_has_ended_brings_nothing_about() {
        assert_eq!(stuck(&[on(&[0, 1, 2]), Standing::Ended, on(&[0])]), [0, 2], "any source");
        assert_eq!(stuck(&[on(&[0, 1]), Standing::Ended]), [0], "from itself or from one that has ended");
        assert_eq!(stuck(&[on(&[0, 1, 2]), Standing::Ended, Standing::Free]), []);
        assert_eq!(stuck(&[Standing::Ended, Standing::Ended]), []);
    }

    #[test]
    fn a_wait_for_none_but_ended_ones_fails_by_itself() {
        assert_eq!(stuck(&[on(&[1]), Standing::Ended, on(&[0])]), []);
        assert_eq!(stuck(&[on(&[1, 2]), Standing::Ended, Standing::Ended]), []);
        let both: &[&[u32]] = &[&[1], &[2]];
        assert_eq!(stuck(&[blocked(Need::All, both), Standing::Ended, on(&[0])]), [], "with one of all");
        assert_eq!(stuck(&[blocked(Need::Any, both), Standing::Ended, on(&[0])]), [], "with one of any");
    }

    #[test]
    fn one_that_leaves_delivers_and_takes_nothing() {
        let leaving = |kind, to: &[u32]| {
            let Standing::Blocked(mut waits) = on(to) else { unreachable!() };
            waits[0].items[0].kind = kind;
            Standing::Leaving(waits)
        };
        assert_eq!(stuck(&[on(&[1]), leaving(Kind::Send, &[0])]), [0, 1], "a message from it may still come");
        assert_eq!(stuck(&[leaving(Kind::Send, &[1]), leaving(Kind::Send, &[0])]), [], "both are given up");
        let Standing::Blocked(mut sends) = on(&[1]) else { unreachable!() };
        sends[0].items[0].kind = Kind::Send;
        assert_eq!(
            stuck(&[Standing::Blocked(sends), leaving(Kind::Send, &[0])]),
            [],
            "it fails, as its receiver is gone"
        );
    }
}
