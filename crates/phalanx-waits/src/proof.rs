//! Who can never go on.
//!
//! A process *can move* if it is not known to wait, or if one of its threads waits for something that a process that can move may
//! do. That is a least fixed point: everybody else waits for each other, and for nobody outside. With waits for all of
//! several things (AND) and for any of them (OR) it is the classical AND-OR model of deadlock (K. M. Chandy, J. Misra and
//! L. M. Haas, "Distributed deadlock detection", ACM TOCS 1(2), 1983). It is a proof if the waits held at one moment, which
//! `snapshot.rs` sees to.

use crate::wait::{Need, Peers, Wait};

/// What is known of a process.
#[derive(Clone, Debug)]
pub enum Standing {
    /// It may do anything.
    Free,
    /// All its threads that may do something are in these waits.
    Blocked(Vec<Wait>),
}

/// The processes that can never go on, in order.
#[must_use]
pub fn stuck(standings: &[Standing]) -> Vec<u32> {
    let mut moves: Vec<bool> = standings.iter().map(|standing| matches!(standing, Standing::Free)).collect();
    let end = u32::try_from(moves.len()).unwrap_or(u32::MAX);
    loop {
        let mut changed = false;
        for (slot, standing) in standings.iter().enumerate() {
            let Standing::Blocked(waits) = standing else { continue };
            if !moves[slot] && waits.iter().any(|wait| can_move(wait, end, &moves)) {
                moves[slot] = true;
                changed = true;
            }
        }
        if !changed {
            return (0..end).filter(|slot| !moves[*slot as usize]).collect();
        }
    }
}

/// Whether somebody who can move could end a wait, or advance what is under way beside it.
fn can_move(wait: &Wait, end: u32, moves: &[bool]) -> bool {
    // Who is not in the list is not known.
    let any = |peers: &Peers| peers.reaches(end) || peers.below(end).any(|slot| moves[slot as usize]);
    let ends = match wait.need {
        Need::All => wait.items.iter().all(|item| any(&item.peers)),
        Need::Any => wait.items.iter().any(|item| any(&item.peers)),
    };
    ends || wait.background.as_ref().is_some_and(any)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wait::{Item, Kind};

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
}
