//! A PMI-1 client: asks the launcher, which is `phalanx run` or hydra (MPICH's `mpiexec`), on a socket inherited by
//! number in `PMI_FD`. [`phalanx_pmi`] knows the lines.

use std::io::{BufRead, BufReader, Write};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::os::unix::net::UnixStream;

use phalanx_pmi::Line;

use crate::error::{Error, ErrorClass, Result};

/// The connection to the launcher.
pub struct Pmi {
    socket: BufReader<UnixStream>,
    /// Whether the launcher has been greeted. What most programs need stands in their environment, so that they
    /// never ask it anything: there is no round trip to a process that needs a CPU for it, at the start or the end.
    greeted: bool,
    /// Name of the key-value space of this job; empty until asked for.
    kvs: String,
}

/// One answer of the launcher: a line of the protocol.
#[derive(Debug)]
pub struct Answer(String);

impl Answer {
    /// The line as keys and values.
    pub fn line(&self) -> Line<'_> {
        Line::parse(&self.0)
    }
}

fn lost(what: &str, why: impl std::fmt::Display) -> Error {
    Error::new(
        ErrorClass::Other,
        format!("the launcher did not answer PMI command '{what}': {why}; did it end before this rank?"),
    )
}

impl Pmi {
    /// Takes over the socket to the launcher and greets it.
    ///
    /// # Errors
    /// When the launcher does not answer as PMI-1 demands.
    pub fn connect(socket: OwnedFd) -> Result<Pmi> {
        let mut pmi = Pmi::later(socket);
        pmi.greet()?;
        Ok(pmi)
    }

    /// Takes over the socket to the launcher, which is greeted before it is asked anything.
    pub fn later(socket: OwnedFd) -> Pmi {
        Pmi { socket: BufReader::new(UnixStream::from(socket)), greeted: false, kvs: String::new() }
    }

    fn greet(&mut self) -> Result<()> {
        self.greeted = true;
        let answer = self.ask("cmd=init pmi_version=1 pmi_subversion=1\n", "response_to_init")?;
        if !answer.line().is_ok() {
            return Err(Error::new(
                ErrorClass::Other,
                format!(
                    "the launcher refused PMI version 1.1: it speaks {}.{}",
                    answer.line().get("pmi_version").unwrap_or("?"),
                    answer.line().get("pmi_subversion").unwrap_or("?")
                ),
            ));
        }
        Ok(())
    }

    /// The socket to the launcher.
    pub fn fd(&self) -> BorrowedFd<'_> {
        self.socket.get_ref().as_fd()
    }

    /// Sends text (one command, several lines for `mcmd`) and reads the answer, which must be `expected`.
    ///
    /// # Errors
    /// When the connection is lost or another command comes back.
    pub fn ask(&mut self, text: &str, expected: &str) -> Result<Answer> {
        if !self.greeted {
            self.greet()?;
        }
        let name = text.split(['=', ' ', '\n']).nth(1).unwrap_or("?").to_owned();
        self.socket.get_mut().write_all(text.as_bytes()).map_err(|e| lost(&name, e))?;
        let mut line = String::new();
        let n = self.socket.read_line(&mut line).map_err(|e| lost(&name, e))?;
        if n == 0 {
            return Err(lost(&name, "connection closed"));
        }
        if Line::parse(&line).get("cmd") != Some(expected) {
            return Err(lost(&name, format_args!("expected '{expected}', got '{}'", line.trim_end())));
        }
        Ok(Answer(line))
    }

    /// Number of the program in a launch of several, if the launcher tells.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn appnum(&mut self) -> Result<Option<i32>> {
        let answer = self.ask("cmd=get_appnum\n", "appnum")?;
        Ok(answer.line().number("appnum").and_then(|n| i32::try_from(n).ok()).filter(|n| *n >= 0))
    }

    /// Number of processes the launcher could run (`MPI_UNIVERSE_SIZE`), if it tells.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn universe_size(&mut self) -> Result<Option<u32>> {
        let answer = self.ask("cmd=get_universe_size\n", "universe_size")?;
        Ok(answer.line().number("size").and_then(|n| u32::try_from(n).ok()))
    }

    fn kvs(&mut self) -> Result<String> {
        if self.kvs.is_empty() {
            let answer = self.ask("cmd=get_my_kvsname\n", "my_kvsname")?;
            answer.line().get("kvsname").unwrap_or_default().clone_into(&mut self.kvs);
        }
        Ok(self.kvs.clone())
    }

    /// Stores a value (no spaces) for the other ranks; visible after a barrier.
    ///
    /// # Errors
    /// When the launcher refuses.
    pub fn put(&mut self, key: &str, value: &str) -> Result<()> {
        let kvs = self.kvs()?;
        let answer = self.ask(&format!("cmd=put kvsname={kvs} key={key} value={value}\n"), "put_result")?;
        if answer.line().is_ok() { Ok(()) } else { Err(lost("put", answer.line().get("msg").unwrap_or("refused"))) }
    }

    /// Fetches a value; `None` when there is none.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn get(&mut self, key: &str) -> Result<Option<String>> {
        let kvs = self.kvs()?;
        let answer = self.ask(&format!("cmd=get kvsname={kvs} key={key}\n"), "get_result")?;
        Ok(if answer.line().is_ok() { answer.line().get("value").map(str::to_owned) } else { None })
    }

    /// Waits until all ranks of the job have come here.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn barrier(&mut self) -> Result<()> {
        self.ask("cmd=barrier_in\n", "barrier_out").map(|_| ())
    }

    /// Says that this rank is done, to a launcher that knows it has begun.
    ///
    /// # Errors
    /// When the connection is lost.
    pub fn finalize(&mut self) -> Result<()> {
        if !self.greeted {
            return Ok(());
        }
        self.ask("cmd=finalize\n", "finalize_ack").map(|_| ())
    }

    /// Asks the launcher to end the job. It does not answer.
    pub fn abort(&mut self, code: i32) {
        // Nothing left to do if the launcher is gone: the caller exits next.
        let _ = self.socket.get_mut().write_all(format!("cmd=abort exitcode={code}\n").as_bytes());
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::thread;

    /// A launcher that answers from a script of (request line, answer line).
    fn scripted(script: &'static [(&'static str, &'static str)]) -> (Pmi, thread::JoinHandle<()>) {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let server = thread::spawn(move || {
            let mut lines = BufReader::new(theirs.try_clone().expect("clone")).lines();
            let mut out = theirs;
            for (want, answer) in std::iter::once(&(
                "cmd=init pmi_version=1 pmi_subversion=1",
                "cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0",
            ))
            .chain(script)
            {
                let got = lines.next().expect("a request").expect("readable");
                assert_eq!(got, *want);
                writeln!(out, "{answer}").expect("writable");
            }
        });
        (Pmi::connect(ours.into()).expect("greeting"), server)
    }

    #[test]
    fn put_get_and_barrier_follow_the_protocol() {
        let (mut pmi, server) = scripted(&[
            ("cmd=get_my_kvsname", "cmd=my_kvsname kvsname=kvs_1"),
            ("cmd=put kvsname=kvs_1 key=a value=b/c:1", "cmd=put_result rc=0 msg=success"),
            ("cmd=barrier_in", "cmd=barrier_out"),
            ("cmd=get kvsname=kvs_1 key=a", "cmd=get_result rc=0 msg=success value=b/c:1"),
            ("cmd=get kvsname=kvs_1 key=z", "cmd=get_result rc=-1 msg=key z not found"),
            ("cmd=get_appnum", "cmd=appnum appnum=2"),
            ("cmd=finalize", "cmd=finalize_ack"),
        ]);
        pmi.put("a", "b/c:1").expect("put");
        pmi.barrier().expect("barrier");
        assert_eq!(pmi.get("a").expect("get").as_deref(), Some("b/c:1"));
        assert_eq!(pmi.get("z").expect("get"), None);
        assert_eq!(pmi.appnum().expect("appnum"), Some(2));
        pmi.finalize().expect("finalize");
        server.join().expect("script followed");
    }

    #[test]
    fn a_launcher_that_is_not_asked_anything_hears_nothing() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let mut pmi = Pmi::later(ours.into());
        pmi.finalize().expect("nothing to say");
        drop(pmi);
        let mut heard = String::new();
        BufReader::new(theirs).read_line(&mut heard).expect("the end");
        assert_eq!(heard, "");
    }

    #[test]
    fn a_launcher_is_greeted_before_it_is_asked() {
        let (ours, theirs) = UnixStream::pair().expect("socket pair");
        let server = thread::spawn(move || {
            let mut lines =
                BufReader::new(theirs.try_clone().expect("clone")).lines().map_while(std::result::Result::ok);
            let mut out = theirs;
            let mut heard = Vec::new();
            for answer in ["cmd=response_to_init pmi_version=1 pmi_subversion=1 rc=0", "cmd=universe_size size=5"] {
                heard.push(lines.next().expect("a request"));
                writeln!(out, "{answer}").expect("writable");
            }
            heard
        });
        let mut pmi = Pmi::later(ours.into());
        assert_eq!(pmi.universe_size().expect("size"), Some(5));
        let heard = server.join().expect("script followed");
        assert_eq!(heard, ["cmd=init pmi_version=1 pmi_subversion=1", "cmd=get_universe_size"]);
    }

    #[test]
    fn a_launcher_that_is_gone_is_named() {
        let (mut pmi, server) = scripted(&[]);
        server.join().expect("script followed");
        let error = pmi.barrier().expect_err("nobody there");
        assert!(error.to_string().contains("barrier_in"), "{error}");
    }
}
