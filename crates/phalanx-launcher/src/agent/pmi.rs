//! PMI requests of an agent's ranks: what this machine can answer, it answers.

use std::os::fd::AsFd;

use phalanx_wire::agent::{Pair, Report};
use rustix::io::Errno;

use super::Agent;
use crate::pmi::{Action, Stage};

impl From<Stage> for phalanx_wire::agent::Stage {
    fn from(stage: Stage) -> Self {
        match stage {
            Stage::Silent => Self::Silent,
            Stage::Initialised => Self::Initialised,
            Stage::Finalized => Self::Finalized,
        }
    }
}

impl From<phalanx_wire::agent::Stage> for Stage {
    fn from(stage: phalanx_wire::agent::Stage) -> Self {
        match stage {
            phalanx_wire::agent::Stage::Silent => Self::Silent,
            phalanx_wire::agent::Stage::Initialised => Self::Initialised,
            phalanx_wire::agent::Stage::Finalized => Self::Finalized,
        }
    }
}

impl Agent {
    /// Reads and answers what a rank sent.
    pub(super) fn read_pmi(&mut self, index: usize) {
        loop {
            let rank = &mut self.ranks[index];
            let Some(socket) = &rank.socket else { return };
            match rustix::io::read(socket, &mut self.scratch[..]) {
                Ok(0) => return self.hung_up(index),
                Ok(count) => match self.service.receive(&mut rank.client, &self.scratch[..count]) {
                    Ok(actions) => {
                        for action in actions {
                            self.act(index, action);
                        }
                        self.tell_if_one_is_missing(index);
                    }
                    Err(problem) => {
                        let (number, host) = (self.ranks[index].client.rank, self.host.clone());
                        let words = format!("rank {number} on {host} sent {problem}; its PMI connection is closed");
                        self.report(&Report::Says(words));
                        return self.hung_up(index);
                    }
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.hung_up(index),
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        let id = self.ranks[index].id;
        match action {
            Action::Reply(line) => self.reply(index, &line),
            Action::ReplyAll(world, line) => self.reply_all(world, &line),
            Action::Abort(code) => self.report(&Report::Aborts { id, code }),
            Action::Forward(lines) => self.report(&Report::Asks { id, lines }),
            Action::Gathered(world, pairs) => {
                let ranks = self.service.waiting(world).0;
                self.report(&Report::Gathered { world: u32::try_from(world).unwrap_or(u32::MAX), ranks, pairs });
            }
            // A service of a part forwards it.
            Action::Spawn(_) => {}
        }
    }

    fn reply(&mut self, index: usize, line: &str) {
        let Some(socket) = &self.ranks[index].socket else { return };
        let line = format!("{line}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            match rustix::net::send(socket.as_fd(), rest, rustix::net::SendFlags::NOSIGNAL) {
                Ok(count) => rest = &rest[count..],
                Err(Errno::INTR) => {}
                // Who does not read the answers does not speak the protocol; who is gone needs none.
                Err(_) => return self.hung_up(index),
            }
        }
    }

    fn reply_all(&mut self, world: usize, line: &str) {
        for index in 0..self.ranks.len() {
            if self.ranks[index].client.world == world {
                self.reply(index, line);
            }
        }
    }

    /// All ranks of a world have met.
    pub(super) fn met(&mut self, world: u32, pairs: Vec<Pair>) {
        if let Some(Action::ReplyAll(world, line)) = self.service.met(world as usize, pairs) {
            self.ranks.iter_mut().filter(|rank| rank.client.world == world).for_each(|rank| rank.beats = 0);
            self.reply_all(world, &line);
        }
    }

    /// The launcher answers what a rank has asked.
    pub(super) fn answer(&mut self, id: u32, line: &str) {
        if let Some(index) = self.by_id.get(&id).copied() {
            self.reply(index, line);
        }
    }

    fn hung_up(&mut self, index: usize) {
        // Closing the descriptor takes it out of epoll.
        if self.ranks[index].socket.take().is_some() {
            let id = self.ranks[index].id;
            self.report(&Report::HungUp { id });
            self.tell_who_waits(index);
        }
    }

    /// Some rank of this one's world has ended here without meeting the others, who may wait for it.
    fn tell_if_one_is_missing(&mut self, index: usize) {
        let world = self.ranks[index].client.world;
        let is_missing = |rank: &super::Rank| {
            rank.client.world == world
                && rank.pid.is_none()
                && rank.socket.is_none()
                && rank.client.stage != Stage::Finalized
        };
        if let Some(missing) = self.ranks.iter().position(is_missing) {
            self.tell_who_waits(missing);
        }
    }

    /// A rank may have ended for which others of its world wait: here and elsewhere it is known then who does.
    pub(super) fn tell_who_waits(&mut self, index: usize) {
        let rank = &self.ranks[index];
        if rank.pid.is_some() || rank.socket.is_some() || rank.client.stage == Stage::Finalized {
            return;
        }
        let world = rank.client.world;
        let (ranks, pairs) = self.service.waiting(world);
        if !ranks.is_empty() || !pairs.is_empty() {
            self.report(&Report::Gathered { world: u32::try_from(world).unwrap_or(u32::MAX), ranks, pairs });
        }
    }
}
