//! The wire of PMI-1: the lines between a launcher and the ranks that it has started.
//!
//! A request is one line `cmd=NAME key=value ...`, and so is its answer; a spawn request is several lines from
//! `mcmd=spawn` to `endcmd`, once for each program. Both sides read and write them here: the engine is a client (of
//! `phalanx run` and of MPICH's `mpiexec`), the launcher serves. Nothing here touches a descriptor.

#[cfg(any(test, fuzzing))]
pub mod fuzz;
pub mod launchers;
pub mod memory;

use std::fmt::Write as _;

/// A line `key=value key=value ...`.
///
/// Values hold no spaces; only that of `msg` may, when it is the last one.
///
/// ```
/// let line = phalanx_pmi::Line::parse("cmd=get_result rc=-1 msg=key z not found\n");
/// assert_eq!((line.get("cmd"), line.number("rc")), (Some("get_result"), Some(-1)));
/// assert_eq!(line.get("msg"), Some("key z not found"));
/// ```
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Line<'a>(Vec<(&'a str, &'a str)>);

impl<'a> Line<'a> {
    /// Reads a line. Words that are no `key=value` count for nothing.
    #[must_use]
    pub fn parse(line: &'a str) -> Self {
        let mut fields = Vec::new();
        let mut rest = line.trim();
        while !rest.is_empty() {
            let (word, tail) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
            match word.split_once('=') {
                Some(("msg", _)) if !tail.contains('=') => {
                    fields.push(("msg", &rest["msg=".len()..]));
                    break;
                }
                Some(field) => fields.push(field),
                None => {}
            }
            rest = tail.trim_start();
        }
        Self(fields)
    }

    /// The value of a key; the first one, if it is given several times.
    #[must_use]
    pub fn get(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find(|(k, _)| *k == key).map(|(_, value)| *value)
    }

    /// The value of a key as a number.
    #[must_use]
    pub fn number(&self, key: &str) -> Option<i64> {
        self.get(key)?.parse().ok()
    }

    /// Whether an answer reports success (`rc` is absent or 0).
    #[must_use]
    pub fn is_ok(&self) -> bool {
        self.number("rc").unwrap_or(0) == 0
    }
}

/// Key and value.
pub type Pair = (String, String);

/// One program of a spawn request.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct SpawnCommand {
    /// How many ranks.
    pub ranks: u32,
    /// The program as the caller named it.
    pub program: String,
    /// Its arguments.
    pub args: Vec<String>,
    /// Hints: `wdir`, `path`, ...
    pub info: Vec<Pair>,
    /// Keys to put into the new world's space before it starts.
    pub preput: Vec<Pair>,
}

impl SpawnCommand {
    /// The value of a hint or of a key put in advance.
    #[must_use]
    pub fn value<'a>(list: &'a [Pair], key: &str) -> Option<&'a str> {
        list.iter().find(|(k, _)| k == key).map(|(_, value)| value.as_str())
    }

    /// The lines for all programs of one request. No text in them may hold the end of a line.
    #[must_use]
    pub fn write_all(commands: &[Self]) -> String {
        let mut text = String::new();
        for (so_far, command) in (1..).zip(commands) {
            // Writing to a string does not fail.
            let _ = command.write(&mut text, so_far, commands.len());
        }
        text
    }

    fn write(&self, text: &mut String, so_far: usize, total: usize) -> std::fmt::Result {
        let Self { ranks, program, args, info, preput } = self;
        writeln!(text, "mcmd=spawn\nnprocs={ranks}\nexecname={program}")?;
        writeln!(text, "totspawns={total}\nspawnssofar={so_far}\nargcnt={}", args.len())?;
        for (k, arg) in (1..).zip(args) {
            writeln!(text, "arg{k}={arg}")?;
        }
        for (kind, pairs) in [("preput", preput), ("info", info)] {
            writeln!(text, "{kind}_num={}", pairs.len())?;
            for (k, (key, value)) in pairs.iter().enumerate() {
                writeln!(text, "{kind}_key_{k}={key}\n{kind}_val_{k}={value}")?;
            }
        }
        text.push_str("endcmd\n");
        Ok(())
    }

    /// Reads the lines between `mcmd=spawn` and `endcmd`, and whether this was the last program of the request.
    ///
    /// # Errors
    /// What is missing.
    pub fn read(block: &[Pair]) -> Result<(Self, bool), String> {
        let get = |key: &str| Self::value(block, key);
        let number = |key: &str| get(key).and_then(|text| text.trim().parse::<u32>().ok()).unwrap_or(0);
        // A count cannot exceed the lines that are there.
        let lines = u32::try_from(block.len()).unwrap_or(u32::MAX);
        let pairs = |kind: &str| -> Vec<Pair> {
            (0..number(&format!("{kind}_num")).min(lines))
                .filter_map(|k| {
                    let key = get(&format!("{kind}_key_{k}"))?;
                    Some((key.to_owned(), get(&format!("{kind}_val_{k}")).unwrap_or("").to_owned()))
                })
                .collect()
        };
        let command = Self {
            ranks: number("nprocs"),
            program: get("execname").ok_or("a spawn request without execname")?.to_owned(),
            args: (1..=number("argcnt").min(lines))
                .filter_map(|k| get(&format!("arg{k}")))
                .map(str::to_owned)
                .collect(),
            info: pairs("info"),
            preput: pairs("preput"),
        };
        Ok((command, number("spawnssofar") >= number("totspawns")))
    }
}

/// The answer to a spawn request: an error code for each rank (0: started), or why none was started.
#[must_use]
pub fn spawn_result(outcome: Result<u32, String>) -> String {
    match outcome {
        Ok(ranks) => {
            let codes = vec!["0"; ranks as usize].join(",");
            format!("cmd=spawn_result rc=0 nerrs={ranks} errcodes={codes}")
        }
        // A value ends at a space: the reason travels with underscores.
        Err(reason) => format!("cmd=spawn_result rc=-1 msg={}", reason.replace([' ', '\n'], "_")),
    }
}

/// Why a request failed, as its answer tells it.
#[must_use]
pub fn reason(answer: &Line<'_>) -> Option<String> {
    answer.get("msg").map(|text| text.replace('_', " "))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(key: &str, value: &str) -> Pair {
        (key.to_owned(), value.to_owned())
    }

    #[test]
    fn values_end_at_spaces_except_that_of_msg() {
        let line = Line::parse("cmd=get_result rc=0 msg=fine value=b/c:1=x\n");
        assert_eq!(line.get("value"), Some("b/c:1=x"));
        assert_eq!(line.get("msg"), Some("fine"));
        assert!(line.is_ok());
        let line = Line::parse("  nothing cmd=a   lost rc=x  ");
        assert_eq!((line.get("cmd"), line.number("rc"), line.get("lost")), (Some("a"), None, None));
        assert_eq!(Line::parse("msg= two  words ").get("msg"), Some(" two  words"));
    }

    #[test]
    fn what_is_written_is_read() {
        let commands = crate::fuzz::spawn();
        let text = SpawnCommand::write_all(&commands);
        let mut read = Vec::new();
        for block in text.split_terminator("endcmd\n") {
            let lines = block.strip_prefix("mcmd=spawn\n").expect("a block").lines();
            let pairs: Vec<Pair> = lines.filter_map(|line| line.split_once('=')).map(|(k, v)| pair(k, v)).collect();
            read.push(SpawnCommand::read(&pairs).expect("whole"));
        }
        let [first, second] = commands;
        assert_eq!(read, [(first, false), (second, true)]);
    }

    #[test]
    fn counts_that_lie_cost_nothing() {
        let block = [pair("execname", "x"), pair("argcnt", "4294967295"), pair("info_num", "4294967295")];
        let (command, last) = SpawnCommand::read(&block).expect("a program");
        assert_eq!((command.program.as_str(), command.args.len(), last), ("x", 0, true));
        assert!(SpawnCommand::read(&[]).is_err());
    }

    #[test]
    fn a_reason_survives_its_journey() {
        let line = spawn_result(Err("no such file: 'x'".to_owned()));
        assert_eq!(reason(&Line::parse(&line)).as_deref(), Some("no such file: 'x'"));
        assert!(Line::parse(&spawn_result(Ok(2))).is_ok());
    }
}
