//! What clients ask for that is about processes: signals, ends, more engines.

use std::collections::BTreeSet;

use phalanx_wire::cluster::{FromClient, Reply};
use rustix::process::Signal;

use super::Server;

/// Engines that one may start at a time.
const MOST: u32 = 4096;

/// A request that is answered when some engines have ended.
pub(crate) struct Awaited {
    /// Who asked, and the number of the request.
    who: Option<(u64, u64)>,
    engines: BTreeSet<u32>,
    /// Why the controller ends then, if it does.
    end: Option<String>,
}

impl Server {
    /// Carries out a request that is not about tasks.
    pub(crate) fn ordered(&mut self, client: u64, message: FromClient) {
        match message {
            FromClient::Signal { targets, signal, request } => self.signal(client, &targets, signal, request),
            FromClient::Shutdown { targets, controller, restart, request } => {
                self.shut_down(client, targets, controller, restart, request);
            }
            FromClient::StartEngines { n, request } => {
                let too_many = n > MOST;
                let started = if too_many || self.over.is_some() { Vec::new() } else { self.start_engines(n) };
                let error = too_many.then(|| format!("{n} engines are too many at a time: {MOST} are the most"));
                self.answer(client, request, Reply { error, started, ..Reply::default() });
            }
            FromClient::Overview { stacks, request } => self.overview(client, stacks, request),
            _ => {}
        }
    }

    fn answer(&mut self, client: u64, request: Option<u64>, reply: Reply) {
        if let Some(request) = request {
            self.core.reply(client, Reply { request, ..reply });
        }
    }

    fn signal(&mut self, client: u64, targets: &[u32], number: i32, request: Option<u64>) {
        let mut reply = Reply::default();
        match Signal::from_named_raw(number) {
            Some(signal) => {
                for id in targets {
                    if self.processes.contains_key(id) {
                        self.signal_engine(*id, signal);
                        reply.started.push(*id);
                    } else {
                        reply.error = Some(format!("there is no engine {id}"));
                    }
                }
            }
            None => reply.error = Some(format!("there is no signal {number}")),
        }
        self.answer(client, request, reply);
    }

    fn shut_down(
        &mut self,
        client: u64,
        targets: Option<Vec<u32>>,
        controller: bool,
        restart: bool,
        request: Option<u64>,
    ) {
        let targets = match targets {
            Some(targets) if !controller => targets,
            _ => self.processes.keys().copied().collect(),
        };
        if let Some(unknown) = targets.iter().find(|id| !self.processes.contains_key(id)) {
            let error = Some(format!("there is no engine {unknown}"));
            return self.answer(client, request, Reply { error, ..Reply::default() });
        }
        for id in &targets {
            self.end_engine(*id, restart && !controller);
        }
        self.awaited.push(Awaited {
            who: request.map(|request| (client, request)),
            engines: targets.into_iter().collect(),
            end: controller.then(|| "the cluster was shut down".to_owned()),
        });
        self.look_at_awaited();
    }

    /// Ends everything, in order.
    pub(crate) fn end_all(&mut self, reason: &str) {
        let all: Vec<u32> = self.processes.keys().copied().collect();
        for id in &all {
            self.end_engine(*id, false);
        }
        self.awaited.push(Awaited { who: None, engines: all.into_iter().collect(), end: Some(reason.to_owned()) });
        self.look_at_awaited();
        self.turn();
    }

    /// An engine has ended.
    pub(crate) fn engine_is_gone(&mut self, id: u32) {
        for awaited in &mut self.awaited {
            awaited.engines.remove(&id);
        }
        self.look_at_awaited();
    }

    fn look_at_awaited(&mut self) {
        let (done, rest) = std::mem::take(&mut self.awaited).into_iter().partition(|one| one.engines.is_empty());
        self.awaited = rest;
        for Awaited { who, end, .. } in done {
            if let Some((client, request)) = who {
                self.core.reply(client, Reply { request, ..Reply::default() });
            }
            if let Some(reason) = end {
                self.end(&reason);
            }
        }
    }
}
