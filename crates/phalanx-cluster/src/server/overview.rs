//! What the cluster looks like, with what the machine knows of its processes.

use std::time::Duration;

use phalanx_wire::cluster::Reply;
use tokio::task::spawn_local;

use super::engines::host;
use super::{Server, now};

/// Looking at all processes takes no longer; what has not been seen by then is told without.
const LONGEST: Duration = Duration::from_secs(5);

impl Server {
    /// Answers with what the cluster looks like. The processes are looked at in another thread: neither tasks nor clients wait
    /// for that.
    pub(crate) fn overview(&mut self, client: u64, stacks: bool, request: Option<u64>) {
        let Some(request) = request else { return };
        self.core.at(now());
        let mut seen = self.core.overview();
        seen.cluster_id.clone_from(&self.cluster_id);
        seen.host = host();
        seen.version = self.version.to_owned();
        seen.since = self.since;
        // One that is far away has a number which may be another process's here.
        let here: Vec<Option<u32>> =
            seen.engines.iter().map(|engine| (engine.info.host == seen.host).then_some(engine.info.pid)).collect();
        let (eye, me) = (self.eye.clone(), self.me.clone());
        let look = tokio::task::spawn_blocking(move || {
            let own = eye(std::process::id(), false);
            (own, here.into_iter().map(|pid| pid.map(|pid| eye(pid, stacks))).collect::<Vec<_>>())
        });
        spawn_local(async move {
            if let Ok(Ok((own, engines))) = tokio::time::timeout(LONGEST, look).await {
                seen.controller = own;
                for (engine, process) in seen.engines.iter_mut().zip(engines) {
                    engine.process = process.unwrap_or_default();
                }
            }
            let Some(server) = me.upgrade() else { return };
            let mut server = server.borrow_mut();
            server.core.reply(client, Reply { request, overview: Some(Box::new(seen)), ..Reply::default() });
            server.turn();
        });
    }
}
