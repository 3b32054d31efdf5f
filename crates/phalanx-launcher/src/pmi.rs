//! The service of PMI-1: ranks meet their launcher by it, each on a socket of its own.
//!
//! [`phalanx_pmi`] knows the lines. This module knows the requests and the key-value spaces and touches no descriptor: it
//! turns lines into [`Action`]s, which the job carries out.

use std::collections::{BTreeSet, HashMap};

use phalanx_pmi::{Line, SpawnCommand};

/// The longest line a client may send. Values are limited to 1024 bytes; spawn arguments may be longer.
pub(crate) const LONGEST_LINE: usize = 1 << 20;

/// The key whose value says which ranks are on which machine.
pub(crate) const MAPPING: &str = "PMI_process_mapping";

const BARRIER_OUT: &str = "cmd=barrier_out rc=0";

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
    /// All ranks of a world that are here have met: those of other machines are to be told what was put since. In a
    /// service of a part of the ranks.
    Gathered(usize, Vec<(String, String)>),
    /// Have these lines answered by the service of all ranks. In a service of a part of them.
    Forward(String),
}

/// The spaces of all worlds and the names that were published.
#[derive(Debug, Default)]
pub struct Service {
    spaces: Vec<Space>,
    names: HashMap<String, String>,
    universe_size: u32,
    id: String,
    /// It serves the ranks of one machine among several.
    is_part: bool,
}

#[derive(Debug, Default)]
struct Space {
    /// Its name, where it is not made of the service's.
    name: Option<String>,
    /// How many ranks meet here.
    size: u32,
    appnum: Vec<u32>,
    values: HashMap<String, String>,
    /// The ranks that wait in the barrier.
    arrived: BTreeSet<u32>,
    /// What was put since they met last, where others have to be told.
    fresh: Vec<(String, String)>,
}

impl Service {
    /// A service whose spaces are named after `id`.
    #[must_use]
    pub fn new(id: &str, universe_size: u32) -> Self {
        Self { id: id.to_owned(), universe_size, ..Self::default() }
    }

    /// A service for the ranks of one machine among several; the others are served elsewhere.
    #[must_use]
    pub fn of_one_machine(universe_size: u32) -> Self {
        Self { universe_size, is_part: true, ..Self::default() }
    }

    /// Sets the attribute `MPI_UNIVERSE_SIZE`, before a rank asks for it.
    pub fn set_universe_size(&mut self, size: u32) {
        self.universe_size = size;
    }

    /// Adds a world: which application each rank belongs to, and what its space holds from the start.
    pub fn add_world(&mut self, appnum: Vec<u32>, preput: &[(String, String)]) -> usize {
        let size = u32::try_from(appnum.len()).unwrap_or(u32::MAX);
        let mut values: HashMap<String, String> = preput.iter().cloned().collect();
        // All ranks are on one node, unless somebody knows better: one block of one node with all of them.
        values.entry(MAPPING.to_owned()).or_insert_with(|| format!("(vector,(0,1,{size}))"));
        self.spaces.push(Space { size, appnum, values, ..Space::default() });
        self.spaces.len() - 1
    }

    /// Adds a world of which `here` ranks are on this machine, with the name and contents of its space.
    pub fn add_part(&mut self, name: String, here: u32, appnum: Vec<u32>, values: &[(String, String)]) -> usize {
        let values = values.iter().cloned().collect();
        self.spaces.push(Space { name: Some(name), size: here, appnum, values, ..Space::default() });
        self.spaces.len() - 1
    }

    /// The name of a world's space, what it holds, and `MPI_UNIVERSE_SIZE`: what the services of its machines need.
    #[must_use]
    pub fn world(&self, world: usize) -> (String, Vec<(String, String)>, u32) {
        let values = self.spaces.get(world).map(|space| space.values.clone().into_iter().collect());
        (self.space_name(world), values.unwrap_or_default(), self.universe_size)
    }

    /// Some ranks of a world wait in the barrier on their machine, where this was put. When those are all ranks, gives
    /// what all have put since they met last.
    pub fn gathered(
        &mut self,
        world: usize,
        ranks: &[u32],
        pairs: Vec<(String, String)>,
    ) -> Option<Vec<(String, String)>> {
        let space = self.spaces.get_mut(world)?;
        let size = space.size;
        space.arrived.extend(ranks.iter().filter(|rank| **rank < size));
        space.values.extend(pairs.iter().cloned());
        space.fresh.extend(pairs);
        if space.arrived.len() < size as usize {
            return None;
        }
        space.arrived.clear();
        Some(std::mem::take(&mut space.fresh))
    }

    /// All ranks of a world have met, and have put this: what is to be done for those that are here.
    pub fn met(&mut self, world: usize, pairs: Vec<(String, String)>) -> Option<Action> {
        let space = self.spaces.get_mut(world)?;
        space.values.extend(pairs);
        space.arrived.clear();
        Some(Action::ReplyAll(world, BARRIER_OUT.to_owned()))
    }

    /// Who waits in the barrier of a world, and what was put here since the last one.
    pub(crate) fn waiting(&mut self, world: usize) -> (Vec<u32>, Vec<(String, String)>) {
        let Some(space) = self.spaces.get_mut(world) else { return (Vec::new(), Vec::new()) };
        (space.arrived.iter().copied().collect(), std::mem::take(&mut space.fresh))
    }

    /// The worlds whose barrier somebody waits in, and who does.
    pub(crate) fn meetings(&self) -> impl Iterator<Item = (usize, &BTreeSet<u32>)> {
        self.spaces.iter().map(|space| &space.arrived).enumerate().filter(|(_, arrived)| !arrived.is_empty())
    }

    fn space_name(&self, world: usize) -> String {
        let named = self.spaces.get(world).and_then(|space| space.name.clone());
        named.unwrap_or_else(|| format!("kvs_{}_{world}", self.id))
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
            Some(command) => self.command(client, command, &request, line, actions),
            None => Err(format!("a line that is no PMI request: '{line}'")),
        }
    }

    fn command(
        &mut self,
        client: &mut Client,
        command: &str,
        request: &Line<'_>,
        line: &str,
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
            "put" => match (self.is_part, self.space_of(request.get("kvsname"), world), request.get("key")) {
                (is_part, Some(space), Some(key)) => {
                    let value = request.get("value").unwrap_or("");
                    space.values.insert(key.to_owned(), value.to_owned());
                    if is_part {
                        space.fresh.push((key.to_owned(), value.to_owned()));
                    }
                    "cmd=put_result rc=0 msg=success".to_owned()
                }
                (_, None, _) => "cmd=put_result rc=-1 msg=no_such_kvsname".to_owned(),
                (_, _, None) => "cmd=put_result rc=-1 msg=no_key".to_owned(),
            },
            "get" => {
                let (key, is_part) = (request.get("key").unwrap_or(""), self.is_part);
                match self.space_of(request.get("kvsname"), world).and_then(|space| space.values.get(key)) {
                    Some(value) => format!("cmd=get_result rc=0 msg=success value={value}"),
                    None if is_part => return forward(line, actions),
                    None => format!("cmd=get_result rc=-1 msg=key_{key}_not_found value=unknown"),
                }
            }
            "barrier_in" => {
                let Some(space) = self.spaces.get_mut(world) else {
                    return Ok(());
                };
                space.arrived.insert(client.rank);
                if space.arrived.len() >= space.size as usize {
                    if self.is_part {
                        actions.push(Action::Gathered(world, std::mem::take(&mut space.fresh)));
                    } else {
                        space.arrived.clear();
                        actions.push(Action::ReplyAll(world, BARRIER_OUT.to_owned()));
                    }
                }
                return Ok(());
            }
            "publish_name" | "unpublish_name" | "lookup_name" if self.is_part => return forward(line, actions),
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
            let commands = std::mem::take(&mut client.spawns);
            actions.push(match self.is_part {
                true => Action::Forward(SpawnCommand::write_all(&commands)),
                false => Action::Spawn(commands),
            });
        }
        Ok(())
    }
}

/// Has a line answered by the service of all ranks.
fn forward(line: &str, actions: &mut Vec<Action>) -> Result<(), String> {
    actions.push(Action::Forward(format!("{line}\n")));
    Ok(())
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
    fn a_world_of_two_machines_meets() {
        let pair = |key: &str| (key.to_owned(), "v".to_owned());
        let mut whole = Service::new("t", 2);
        let world = whole.add_world(vec![0, 0, 0], &[pair(MAPPING)]);
        let (name, values, universe) = whole.world(world);
        assert_eq!((name.as_str(), &values[..], universe), ("kvs_t_0", &[pair(MAPPING)][..], 2));
        let mut parts = [Service::of_one_machine(universe), Service::of_one_machine(universe)];
        for (part, here) in parts.iter_mut().zip([2, 1]) {
            part.add_part(name.clone(), here, vec![0, 0, 0], &values);
        }
        let [one, two] = &mut parts;
        let [mut a, mut b, mut c] = [0, 1, 2].map(|rank| Client::of(world, rank));
        ask(one, &mut a, "cmd=put kvsname=kvs_t_0 key=a value=v\n");
        ask(two, &mut c, "cmd=put kvsname=kvs_t_0 key=c value=v\n");
        // What is not known here may be known elsewhere.
        let get = "cmd=get kvsname=kvs_t_0 key=c\n";
        assert_eq!(ask(one, &mut a, get), [Action::Forward(get.to_owned())]);
        assert_eq!(ask(one, &mut a, "cmd=barrier_in\n"), []);
        assert_eq!(one.waiting(0).0, [0]);
        assert_eq!(ask(one, &mut b, "cmd=barrier_in\n"), [Action::Gathered(0, vec![])]);
        assert_eq!(whole.gathered(0, &[0, 1, 7], vec![pair("a")]), None);
        assert_eq!(ask(two, &mut c, "cmd=barrier_in\n"), [Action::Gathered(0, vec![pair("c")])]);
        let all = whole.gathered(0, &[2], vec![pair("c")]).unwrap();
        assert_eq!(all, [pair("a"), pair("c")]);
        assert_eq!(one.met(0, all), Some(Action::ReplyAll(0, BARRIER_OUT.to_owned())));
        assert_eq!(ask(one, &mut b, get), reply("cmd=get_result rc=0 msg=success value=v"));
        let lookup = "cmd=lookup_name service=s\n";
        assert_eq!(ask(one, &mut b, lookup), [Action::Forward(lookup.to_owned())]);
        assert_eq!((whole.gathered(9, &[0], vec![]), one.met(9, vec![])), (None, None));
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
