//! Starting ranks on other machines: which of them where, with what environment.

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::path::Path;

use phalanx_wire::agent::{Bytes, Order, Program, Start, Variable};

use super::super::trace::Traced;
use super::super::world::{FOREIGN, Plan, Planned};
use super::super::{Connection, Job, Rank};
use crate::cli::Reader;
use crate::error::LaunchError;
use crate::hosts::layout;
use crate::output::Stream;
use crate::pmi::{Client, MAPPING};
use crate::process::Stdin;

impl Job {
    /// Starts a world on the machines of the job.
    pub(in crate::job) fn launch_far(&mut self, plan: &Plan, apps: &[u32]) -> Result<(), LaunchError> {
        let Some(far) = &self.far else { return Ok(()) };
        let size = u32::try_from(apps.len()).unwrap_or(u32::MAX);
        let counts = layout::fill(&far.room, size);
        let of = |(host, count): (usize, &u32)| std::iter::repeat_n(host, *count as usize);
        let places: Vec<usize> = counts.iter().enumerate().flat_map(of).collect();
        if let Some(host) = places.iter().find(|host| far.hosts[**host].channel.is_none()) {
            return Err(LaunchError::Hosts(format!("host {} is lost", far.hosts[*host].name)));
        }
        let mut preput = plan.preput.clone();
        preput.push((MAPPING.to_owned(), layout::mapping(&places)));
        let world = self.service.add_world(apps.to_vec(), &preput);
        let (space, values, universe) = self.service.world(world);
        self.course.ranks_started();
        let environment = self.far_environment();
        let mut starts: Vec<Start> = counts
            .iter()
            .map(|_| Start {
                world: u32::try_from(world).unwrap_or(u32::MAX),
                apps: apps.to_vec(),
                space: space.clone(),
                values: values.clone(),
                universe,
                environment: environment.clone(),
                programs: plan.programs.iter().map(program).collect(),
                ranks: Vec::new(),
                merge: self.manner.merge,
                here: 0,
                binding: self.manner.binding.name().to_owned(),
            })
            .collect();
        for (rank, (app, host)) in (0..size).zip(apps.iter().zip(&places)) {
            let near = (u32::try_from(starts[*host].ranks.len()).unwrap_or(u32::MAX), counts[*host]);
            let order = self.add_far_rank(plan, world, rank, size, *app, *host, near)?;
            starts[*host].ranks.push(order);
        }
        let running = self.far.iter().flat_map(|far| &far.running).filter_map(|index| self.ranks[*index].host);
        running.for_each(|host| starts[host].here += 1);
        // Those without ranks of this world hear of it as well: worlds are counted.
        for (host, start) in starts.into_iter().enumerate() {
            self.tell(host, &Order::Start(Box::new(start)));
        }
        self.feed_far();
        Ok(())
    }

    #[expect(clippy::too_many_arguments, reason = "each of them is said once, by the only caller")]
    fn add_far_rank(
        &mut self,
        plan: &Plan,
        world: usize,
        rank: u32,
        size: u32,
        app: u32,
        host: usize,
        near: (u32, u32),
    ) -> Result<phalanx_wire::agent::Rank, LaunchError> {
        let planned = &plan.programs[app as usize];
        let index = self.ranks.len();
        let id = u32::try_from(index).unwrap_or(u32::MAX);
        let environment = planned.env.iter().cloned().chain(self.about_rank(plan, rank, size, app, near));
        let reads = plan.reader == Reader::Rank(rank) && !plan.spawned && plan.stdin != Stdin::Null;
        let files = self.names_of_files(world, rank)?;
        let order = phalanx_wire::agent::Rank {
            id,
            rank,
            program: app,
            environment: environment.map(variable).collect(),
            reads,
            files: files.map(|(out, err)| (absolute(&out), absolute(&err))),
        };
        let connection = self.connections.len();
        self.connections.push(Connection {
            descriptor: None,
            far: true,
            client: Client::of(world, rank),
            rank: Some(index),
        });
        let traced = Traced::for_rank(&self.manner.traced, self.began.clock(), true)?;
        let place = (plan.place.first + rank, plan.expendable);
        let starting = Rank::starting((world, rank), planned.label(), place, connection, traced);
        self.ranks.push(Rank { host: Some(host), ..starting });
        if order.files.is_none() {
            for which in 0..if self.manner.merge { 1 } else { 2 } {
                let stream = Stream::new(None, index * 2 + which, self.tag_of(index), self.manner.timestamps);
                self.ranks[index].streams[which] = Some(stream);
            }
        }
        if let Some(far) = &mut self.far {
            far.running.insert(index);
        }
        if reads {
            self.read_input_for(plan.stdin, host, index)?;
        }
        Ok(order)
    }

    /// The environment of all ranks: ours, without what belongs to another job.
    fn far_environment(&self) -> Vec<Variable> {
        const OF_A_JOB: &[&str] = &["PMI_FD", "PHALANX_UNIVERSE", "PHALANX_DESK", "PHALANX_JOB", "PHALANX_TRACE_FD"];
        // By this, and not by PMI, Intel MPI believes to know which ranks are on one machine. SLURM_JOB_NODELIST says the same.
        const MISLEADS: &[&str] = &["SLURM_NODELIST"];
        let is_other = |name: &OsString| FOREIGN.iter().chain(OF_A_JOB).chain(MISLEADS).any(|other| name == other);
        let is_ours = |(name, _): &(OsString, OsString)| !is_other(name);
        std::env::vars_os().filter(is_ours).chain(self.manner.env.iter().cloned()).map(variable).collect()
    }
}

fn variable((name, value): (OsString, OsString)) -> Variable {
    (Bytes(name.into_vec()), Bytes(value.into_vec()))
}

fn bytes(text: &OsStr) -> Bytes {
    Bytes(text.as_bytes().to_vec())
}

fn absolute(path: &Path) -> Bytes {
    bytes(std::path::absolute(path).unwrap_or_else(|_| path.to_owned()).as_os_str())
}

fn program(planned: &Planned) -> Program {
    let args = planned.program.before.iter().chain(&planned.args);
    Program {
        path: absolute(&planned.program.path),
        args: args.map(|arg| bytes(arg)).collect(),
        directory: planned.wdir.as_deref().map(absolute),
    }
}
