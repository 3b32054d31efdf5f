//! The service of PMI-1: ranks meet their launcher by it, each on a socket of its own.
//!
//! [`phalanx_pmi`] knows the lines. This module knows the requests and the key-value spaces and touches no descriptor: it
//! turns lines into [`Action`]s, which the job carries out.

use std::collections::{BTreeSet, HashMap};

use phalanx_pmi::{Line, SpawnCommand};

/// The longest line a client may send. Values are limited to 1024 bytes; spawn arguments may be longer.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// Where a client of the protocol stands.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Stage {
    /// It has not spoken.
    #[default]
    Silent,
    /// After `init`.
    Initialised,
    /// After `finalize`.
    Finalized,
}

/// One client: what it sent so far, and where it stands.
#[derive(Debug, Default)]
pub struct Client {
    /// Index of its world.
    pub world: usize,
    /// Its rank there.
    pub rank: u32,
    /// How far it came.
    pub stage: Stage,
    unread: Vec<u8>,
    spawn: Option<Vec<(String, String)>>,
    spawns: Vec<SpawnCommand>,
}

impl Client {
    /// The client that is this rank of that world.
    #[must_use]
    pub fn of(world: usize, rank: u32) -> Self {
        Self { world, rank, ..Self::default() }
    }
}

/// What the job has to do for a client.
#[derive(Debug, PartialEq, Eq)]
pub enum Action {
    /// Send this line to the client.
    Reply(String),
    /// Send this line to every client of a world: a barrier is complete.
    ReplyAll(usize, String),
    /// Start these programs as one new world, then answer with [`phalanx_pmi::spawn_result`].
    Spawn(Vec<SpawnCommand>),
    /// End the job with this status, on the client's demand.
    Abort(i32),
}

/// The spaces of all worlds and the names that were published.
#[derive(Debug, Default)]
pub struct Service {
    spaces: Vec<Space>,
    names: HashMap<String, String>,
    universe_size: u32,
    id: String,
}

#[derive(Debug, Default)]
struct Space {
    size: u32,
    appnum: Vec<u32>,
    values: HashMap<String, String>,
    /// The ranks that wait in the barrier.
    arrived: BTreeSet<u32>,
}

impl Service {
    /// A service whose spaces are named after `id`.
    #[must_use]
    pub fn new(id: &str, universe_size: u32) -> Self {
        Self { id: id.to_owned(), universe_size, ..Self::default() }
    }

    /// Adds a world: which application each rank belongs to, and what its space holds from the start.
    pub fn add_world(&mut self, appnum: Vec<u32>, preput: &[(String, String)]) -> usize {
        let size = u32::try_from(appnum.len()).unwrap_or(u32::MAX);
        let mut values: HashMap<String, String> = preput.iter().cloned().collect();
        // All ranks are on one node: one block of one node with all of them.
        values.insert("PMI_process_mapping".to_owned(), format!("(vector,(0,1,{size}))"));
        self.spaces.push(Space { size, appnum, values, arrived: BTreeSet::new() });
        self.spaces.len() - 1
    }

    /// The worlds whose barrier somebody waits in, and who does.
    pub(crate) fn meetings(&self) -> impl Iterator<Item = (usize, &BTreeSet<u32>)> {
        self.spaces.iter().map(|space| &space.arrived).enumerate().filter(|(_, arrived)| !arrived.is_empty())
    }

    fn space_name(&self, world: usize) -> String {
        format!("kvs_{}_{world}", self.id)
    }

    fn space_of(&mut self, name: Option<&str>, world: usize) -> Option<&mut Space> {
        let index = match name {
            None => world,
            Some(name) => (0..self.spaces.len()).find(|w| self.space_name(*w) == name)?,
        };
        self.spaces.get_mut(index)
    }

    /// Takes bytes from a client and gives what is to be done, in order.
    ///
    /// # Errors
    /// A message for the user when the client does not speak the protocol.
    pub fn receive(&mut self, client: &mut Client, bytes: &[u8]) -> Result<Vec<Action>, String> {
        client.unread.extend_from_slice(bytes);
        let mut actions = Vec::new();
        while let Some(end) = client.unread.iter().position(|byte| *byte == b'\n') {
            let line: Vec<u8> = client.unread.drain(..=end).collect();
            let line = String::from_utf8_lossy(&line[..end]).into_owned();
            self.line(client, &line, &mut actions)?;
        }
        if client.unread.len() > LONGEST_LINE {
            return Err(format!("a PMI line longer than {LONGEST_LINE} bytes"));
        }
        Ok(actions)
    }

    fn line(&mut self, client: &mut Client, line: &str, actions: &mut Vec<Action>) -> Result<(), String> {
        if let Some(mut block) = client.spawn.take() {
            if line.trim() == "endcmd" {
                self.spawn_block(client, &block, actions)?;
            } else {
                let (key, value) = line.split_once('=').unwrap_or((line, ""));
                block.push((key.to_owned(), value.to_owned()));
                client.spawn = Some(block);
            }
            return Ok(());
        }
        if let Some(name) = line.trim().strip_prefix("mcmd=") {
            if name != "spawn" {
                return Err(format!("an unknown PMI request 'mcmd={name}'"));
            }
            client.spawn = Some(Vec::new());
            return Ok(());
        }
        if line.trim().is_empty() {
            return Ok(());
        }
        let request = Line::parse(line);
        match request.get("cmd") {
            Some(command) => self.command(client, command, &request, actions),
            None => Err(format!("a line that is no PMI request: '{line}'")),
        }
    }

    fn command(
        &mut self,
        client: &mut Client,
        command: &str,
        request: &Line<'_>,
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let world = client.world;
        let reply = match command {
            "init" => {
                client.stage = Stage::Initialised;
                let version = request.get("pmi_version") == Some("1");
                format!("cmd=response_to_init pmi_version=1 pmi_subversion=1 rc={}", if version { 0 } else { -1 })
            }
            "get_maxes" => "cmd=maxes kvsname_max=256 keylen_max=64 vallen_max=1024".to_owned(),
            "get_appnum" => {
                let appnum = self.spaces.get(world).and_then(|s| s.appnum.get(client.rank as usize)).unwrap_or(&0);
                format!("cmd=appnum appnum={appnum}")
            }
            "get_my_kvsname" => format!("cmd=my_kvsname kvsname={}", self.space_name(world)),
            "get_universe_size" => format!("cmd=universe_size size={}", self.universe_size),
            "put" => match (self.space_of(request.get("kvsname"), world), request.get("key")) {
                (Some(space), Some(key)) => {
                    let value = request.get("value").unwrap_or("");
                    space.values.insert(key.to_owned(), value.to_owned());
                    "cmd=put_result rc=0 msg=success".to_owned()
                }
                (None, _) => "cmd=put_result rc=-1 msg=no_such_kvsname".to_owned(),
                (_, None) => "cmd=put_result rc=-1 msg=no_key".to_owned(),
            },
            "get" => {
                let key = request.get("key").unwrap_or("");
                match self.space_of(request.get("kvsname"), world).and_then(|space| space.values.get(key)) {
                    Some(value) => format!("cmd=get_result rc=0 msg=success value={value}"),
                    None => format!("cmd=get_result rc=-1 msg=key_{key}_not_found value=unknown"),
                }
            }
            "barrier_in" => {
                let Some(space) = self.spaces.get_mut(world) else {
                    return Ok(());
                };
                space.arrived.insert(client.rank);
                if space.arrived.len() >= space.size as usize {
                    space.arrived.clear();
                    actions.push(Action::ReplyAll(world, "cmd=barrier_out rc=0".to_owned()));
                }
                return Ok(());
            }
            "publish_name" => match (request.get("service"), request.get("port")) {
                (Some(service), Some(port)) if !self.names.contains_key(service) => {
                    self.names.insert(service.to_owned(), port.to_owned());
                    "cmd=publish_result rc=0 info=ok msg=success".to_owned()
                }
                (Some(service), _) => {
                    format!("cmd=publish_result rc=-1 info=fail msg=duplicate_service_{service}")
                }
                _ => "cmd=publish_result rc=-1 info=fail msg=no_service".to_owned(),
            },
            "unpublish_name" => match request.get("service").and_then(|service| self.names.remove(service)) {
                Some(_) => "cmd=unpublish_result rc=0 info=ok msg=success".to_owned(),
                None => "cmd=unpublish_result rc=-1 info=fail msg=service_not_found".to_owned(),
            },
            "lookup_name" => match request.get("service").and_then(|service| self.names.get(service)) {
                Some(port) => format!("cmd=lookup_result rc=0 info=ok port={port}"),
                None => "cmd=lookup_result rc=-1 info=fail port=none msg=service_not_found".to_owned(),
            },
            "finalize" => {
                client.stage = Stage::Finalized;
                "cmd=finalize_ack rc=0".to_owned()
            }
            "abort" => {
                let code = request.get("exitcode").and_then(|text| text.parse().ok()).unwrap_or(1);
                actions.push(Action::Abort(code));
                return Ok(());
            }
            other => return Err(format!("an unknown PMI request 'cmd={other}'")),
        };
        actions.push(Action::Reply(reply));
        Ok(())
    }

    fn spawn_block(
        &mut self,
        client: &mut Client,
        block: &[(String, String)],
        actions: &mut Vec<Action>,
    ) -> Result<(), String> {
        let (command, last) = SpawnCommand::read(block)?;
        client.spawns.push(command);
        if last {
            actions.push(Action::Spawn(std::mem::take(&mut client.spawns)));
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ask(service: &mut Service, client: &mut Client, text: &str) -> Vec<Action> {
        service.receive(client, text.as_bytes()).unwrap()
    }

    fn reply(text: &str) -> Vec<Action> {
        vec![Action::Reply(text.to_owned())]
    }

    #[test]
    fn a_world_of_two_meets() {
        let mut service = Service::new("t", 2);
        let world = service.add_world(vec![0, 1], &[]);
        let mut a = Client { world, rank: 0, ..Client::default() };
        let mut b = Client { world, rank: 1, ..Client::default() };
        let init = "cmd=init pmi_version=1 pmi_subversion=1\n";
        assert_eq!(ask(&mut service, &mut a, init), reply("cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0"));
        assert_eq!(a.stage, Stage::Initialised);
        assert_eq!(ask(&mut service, &mut b, "cmd=get_appnum\n"), reply("cmd=appnum appnum=1"));
        assert_eq!(ask(&mut service, &mut b, "cmd=get_my_kvsname\n"), reply("cmd=my_kvsname kvsname=kvs_t_0"));
        let put = "cmd=put kvsname=kvs_t_0 key=a value=b=c\n";
        assert_eq!(ask(&mut service, &mut a, put), reply("cmd=put_result rc=0 msg=success"));
        let get = "cmd=get kvsname=kvs_t_0 key=a\n";
        assert_eq!(ask(&mut service, &mut b, get), reply("cmd=get_result rc=0 msg=success value=b=c"));
        for _ in 0..2 {
            assert_eq!(ask(&mut service, &mut a, "cmd=barrier_in\n"), []);
            assert_eq!(
                ask(&mut service, &mut b, "cmd=barrier_in\n"),
                [Action::ReplyAll(0, "cmd=barrier_out rc=0".to_owned())]
            );
        }
        assert_eq!(ask(&mut service, &mut b, "cmd=finalize\n"), reply("cmd=finalize_ack rc=0"));
        assert_eq!(b.stage, Stage::Finalized);
        assert_eq!(ask(&mut service, &mut a, "cmd=abort exitcode=7\n"), [Action::Abort(7)]);
    }

    #[test]
    fn lines_may_arrive_in_pieces() {
        let mut service = Service::new("t", 1);
        let world = service.add_world(vec![0], &[]);
        let mut client = Client { world, ..Client::default() };
        assert_eq!(ask(&mut service, &mut client, "cmd=get_uni"), []);
        assert_eq!(
            ask(&mut service, &mut client, "verse_size\ncmd=get_appnum\ncmd="),
            [Action::Reply("cmd=universe_size size=1".to_owned()), Action::Reply("cmd=appnum appnum=0".to_owned())]
        );
    }

    #[test]
    fn a_spawn_request_may_have_several_programs() {
        let mut service = Service::new("t", 1);
        let world = service.add_world(vec![0], &[]);
        let mut client = Client { world, ..Client::default() };
        let first = "mcmd=spawn\nnprocs=2\nexecname=a b\ntotspawns=2\nspawnssofar=1\nargcnt=2\narg1=x y\narg2=k=v\n\
                     preput_num=1\npreput_key_0=port\npreput_val_0=p 1\ninfo_num=1\ninfo_key_0=wdir\ninfo_val_0=/\nendcmd\n";
        assert_eq!(ask(&mut service, &mut client, first), []);
        let second = "mcmd=spawn\nnprocs=1\nexecname=c\ntotspawns=2\nspawnssofar=2\nargcnt=0\ninfo_num=0\nendcmd\n";
        let actions = ask(&mut service, &mut client, second);
        let [Action::Spawn(commands)] = &actions[..] else { panic!("{actions:?}") };
        assert_eq!(commands.len(), 2);
        assert_eq!((commands[0].ranks, commands[0].program.as_str()), (2, "a b"));
        assert_eq!(commands[0].args, ["x y", "k=v"]);
        assert_eq!(SpawnCommand::value(&commands[0].preput, "port"), Some("p 1"));
        assert_eq!(SpawnCommand::value(&commands[0].info, "wdir"), Some("/"));
        assert_eq!(commands[1].program, "c");
    }

    #[test]
    fn names_are_published_once() {
        let mut service = Service::new("t", 1);
        let world = service.add_world(vec![0], &[]);
        let mut client = Client { world, ..Client::default() };
        let found = |a: Vec<Action>| matches!(&a[..], [Action::Reply(text)] if text.contains("rc=0"));
        assert!(!found(ask(&mut service, &mut client, "cmd=lookup_name service=s\n")));
        assert!(found(ask(&mut service, &mut client, "cmd=publish_name service=s port=p\n")));
        assert!(!found(ask(&mut service, &mut client, "cmd=publish_name service=s port=q\n")));
        assert!(found(ask(&mut service, &mut client, "cmd=lookup_name service=s\n")));
        assert!(found(ask(&mut service, &mut client, "cmd=unpublish_name service=s\n")));
        assert!(!found(ask(&mut service, &mut client, "cmd=lookup_name service=s\n")));
    }

    #[test]
    fn nonsense_is_refused_or_answered_and_never_costs_much() {
        let words = [
            "cmd=",
            "mcmd=spawn\n",
            "endcmd\n",
            "=",
            "\n",
            " ",
            "get",
            "put",
            "key",
            "kvsname",
            "value",
            "nprocs=4294967295\n",
            "argcnt=4294967295\n",
            "info_num=4294967295\n",
            "execname=x\n",
            "barrier_in\n",
            "abort",
            "exitcode=-1",
            "\u{0}",
            "é",
        ];
        let mut state = 1u64;
        for _ in 0..500 {
            let mut service = Service::new("t", 1);
            let world = service.add_world(vec![0, 0], &[]);
            let mut client = Client::of(world, 0);
            for _ in 0..40 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let word = words[(state >> 33) as usize % words.len()];
                if service.receive(&mut client, word.as_bytes()).is_err() {
                    break;
                }
            }
        }
    }

    #[test]
    fn other_protocols_are_refused_with_a_reason() {
        let mut service = Service::new("t", 1);
        let world = service.add_world(vec![0], &[]);
        for line in ["hello\n", "cmd=fly\n", "mcmd=dance\n"] {
            let mut client = Client { world, ..Client::default() };
            assert!(service.receive(&mut client, line.as_bytes()).is_err(), "{line}");
        }
    }
}
