//! PMI requests of ranks, and of the process that a spawn server serves.

use std::os::fd::OwnedFd;

use phalanx_shm::SlotState;
use rustix::io::Errno;
use rustix::process::{Pid, Signal};

use super::{Connection, Job, Rank, Source, watch};
use crate::error::LaunchError;
use crate::failure::{self, Cause};
use crate::pmi::{Action, Client, Stage};
use crate::process::Ended;

impl Job {
    /// Serves a process that we did not start: a rank of a one-process world, over `descriptor`.
    ///
    /// # Errors
    /// When the descriptor cannot be watched.
    pub(crate) fn serve_controller(&mut self, descriptor: OwnedFd) -> Result<(), LaunchError> {
        crate::process::nonblocking(&descriptor).map_err(|e| LaunchError::system("the control descriptor", e))?;
        let world = self.service.add_world(vec![0], &[]);
        let index = self.connections.len();
        watch(&self.epoll, &descriptor, Source::Connection(index))
            .map_err(|e| LaunchError::system("watching the control descriptor", e))?;
        let client = Client::of(world, 0);
        self.connections.push(Connection { descriptor: Some(descriptor), far: false, client, rank: None });
        self.serves = true;
        Ok(())
    }

    /// Reads and answers what a client sent.
    pub(super) fn read_connection(&mut self, index: usize) {
        loop {
            let connection = &mut self.connections[index];
            let Some(descriptor) = &connection.descriptor else {
                return;
            };
            match rustix::io::read(descriptor, &mut self.scratch[..]) {
                Ok(0) => return self.connection_ended(index),
                Ok(n) => match self.service.receive(&mut connection.client, &self.scratch[..n]) {
                    Ok(actions) => {
                        for action in actions {
                            self.act(index, action);
                        }
                        self.look_for_missing();
                    }
                    Err(problem) => {
                        let who = match self.connections[index].rank {
                            Some(rank) => self.name_of(rank),
                            None => "the spawning process".to_owned(),
                        };
                        self.say(&format!("phalanx: {who} sent {problem}; its PMI connection is closed"));
                        return self.connection_ended(index);
                    }
                },
                Err(Errno::INTR) => {}
                Err(Errno::AGAIN) => return,
                Err(_) => return self.connection_ended(index),
            }
        }
    }

    fn act(&mut self, index: usize, action: Action) {
        match action {
            Action::Reply(line) => self.reply(index, &line),
            Action::ReplyAll(world, line) => {
                for other in 0..self.connections.len() {
                    if self.connections[other].client.world == world {
                        self.reply(other, &line);
                    }
                }
            }
            Action::Spawn(commands) => {
                let outcome =
                    if self.course.is_ending() { Err("the job is ending".to_owned()) } else { self.spawn(&commands) };
                self.reply(index, &phalanx_pmi::spawn_result(outcome));
            }
            // This is the service of all ranks.
            Action::Gathered(..) | Action::Forward(_) => {}
            Action::Abort(code) => match self.connections[index].rank {
                Some(rank) => {
                    self.ranks[rank].abort = Some(code);
                    self.failed(rank, Cause::Abort(code));
                }
                None => self.kill_everything(),
            },
        }
    }

    fn reply(&mut self, index: usize, line: &str) {
        let Some(descriptor) = &self.connections[index].descriptor else {
            return;
        };
        let line = format!("{line}\n");
        let mut rest = line.as_bytes();
        while !rest.is_empty() {
            let flags = rustix::net::SendFlags::NOSIGNAL;
            match rustix::net::send(descriptor, rest, flags) {
                Ok(n) => rest = &rest[n..],
                Err(Errno::INTR) => {}
                // A client that does not read its answers is not speaking the protocol; one that is gone needs none.
                Err(_) => return self.connection_ended(index),
            }
        }
    }

    fn connection_ended(&mut self, index: usize) {
        let connection = &mut self.connections[index];
        if connection.descriptor.take().is_none() {
            return;
        }
        if let Some(rank) = connection.rank {
            return self.tell_of_end(rank);
        }
        // The process we serve is gone. Its children may finish if it did; else nobody will ever answer them.
        let finished = connection.client.stage == Stage::Finalized || self.universe.state(0) == SlotState::Finalized;
        if !finished && !self.nobody_runs() {
            self.kill_everything();
        }
    }

    /// Ends the job when ranks wait where all ranks of their world meet, and one of those has ended without coming: a
    /// rank that never starts MPI beside others that do. It is certain: nobody has its end of the socket any more.
    pub(super) fn look_for_missing(&mut self) {
        if self.course.is_ending() || self.manner.keep_going {
            return;
        }
        let missing = self.service.meetings().find_map(|(world, arrived)| {
            let is_missing = |rank: &Rank| {
                rank.world == world
                    && rank.ended == Some(Ended::Exit(0))
                    && !rank.discarded
                    && !arrived.contains(&rank.rank)
                    && self.connections[rank.connection].descriptor.is_none()
                    && !self.connections[rank.connection].far
            };
            let index = self.ranks.iter().position(is_missing)?;
            Some((index, arrived.iter().copied().collect::<Vec<u32>>()))
        });
        if let Some((index, waiting)) = missing {
            let is_one = waiting.len() == 1;
            let waiting = failure::ranks(&waiting);
            let waits = if is_one { "waits" } else { "wait" };
            let silent = self.connections[self.ranks[index].connection].client.stage == Stage::Silent;
            let place = if silent { "in MPI_Init" } else { "at a barrier of the launcher" };
            self.say(&format!("phalanx: {waiting} {waits} for rank {} {place}", self.ranks[index].rank));
            self.failed(index, Cause::Missed);
        }
    }

    /// Signals the process we serve, if it is still our parent.
    pub(super) fn end_controllers(&self, signal: Signal) {
        let served = self.connections.iter().any(|c| c.rank.is_none() && c.descriptor.is_some());
        if served
            && let Some(parent) = rustix::process::getppid()
            && Some(parent) != Pid::from_raw(1)
        {
            let _ = rustix::process::kill_process(parent, signal);
        }
    }
}
