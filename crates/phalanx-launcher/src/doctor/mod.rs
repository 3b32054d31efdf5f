//! `phalanx doctor`: which parts answer here, what the machine allows, and what is wrong.

mod hosts;
mod launcher;
mod machine;
mod python;
mod ways;

use std::ffi::OsString;

use crate::error::LaunchError;
use crate::help;
use crate::look::string;
use crate::output;

/// How a finding is to be taken.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Verdict {
    /// As it should be.
    Ok,
    /// Works, and is worth knowing.
    Note,
    /// Keeps something from working.
    Wrong,
}

/// One thing that was looked at.
#[derive(Debug, Clone)]
pub(crate) struct Finding {
    /// What was looked at, in one word.
    pub(crate) name: &'static str,
    pub(crate) verdict: Verdict,
    /// What was found.
    pub(crate) text: String,
    /// How to mend it; empty when nothing is to be done.
    pub(crate) advice: String,
}

impl Finding {
    pub(crate) fn ok(name: &'static str, text: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Ok, text: text.into(), advice: String::new() }
    }

    pub(crate) fn note(name: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Note, text: text.into(), advice: advice.into() }
    }

    pub(crate) fn wrong(name: &'static str, text: impl Into<String>, advice: impl Into<String>) -> Self {
        Self { name, verdict: Verdict::Wrong, text: text.into(), advice: advice.into() }
    }
}

/// Examines the installation and the machine, and prints the findings.
///
/// # Errors
/// Bad arguments.
pub fn command(args: &[OsString]) -> Result<u8, LaunchError> {
    let mut json = false;
    let words: Vec<String> = args.iter().map(|arg| arg.to_string_lossy().into_owned()).collect();
    if let [flag, pid, address, value] = &words[..]
        && flag == machine::PROBE
    {
        return Ok(machine::probe_peer(pid, address, value));
    }
    let (mut hosts, mut ssh): (Option<Option<&str>>, Option<OsString>) = (None, None);
    let mut rest = words.iter().map(String::as_str).peekable();
    while let Some(word) = rest.next() {
        match word {
            "--json" => json = true,
            "--hosts" => hosts = Some(rest.next_if(|word| !word.starts_with('-'))),
            "--ssh" => match rest.next() {
                Some(command) => ssh = Some(command.into()),
                None => return Err(LaunchError::usage("--ssh: give a command, as 'ssh -p 2222'")),
            },
            "--measure" if words.len() == 1 => return ways::measure(),
            "--measure" => return Err(LaunchError::usage("--measure stands alone: it prints a table")),
            "-h" | "--help" => {
                output::print(help::DOCTOR);
                return Ok(0);
            }
            other => {
                return Err(LaunchError::UnknownFlag {
                    command: "doctor",
                    given: other.to_owned(),
                    hint: crate::suggest::nearest(other, ["--json", "--hosts", "--ssh", "--measure", "--help"])
                        .map(str::to_owned),
                });
            }
        }
    }
    if let Some(named) = hosts {
        return Ok(told(&hosts::examine(named, ssh.as_ref())?, json));
    }
    if ssh.is_some() {
        return Err(LaunchError::usage("--ssh: it is for --hosts"));
    }
    let start = launcher::of_this_process();
    if start.as_ref().is_some_and(launcher::Start::leaves_it_to_another) {
        return Ok(0);
    }
    let (mut findings, loaded) = python::examine();
    if let Some(start) = start {
        findings.extend(start.examine(loaded.as_deref(), python::is_embedded()));
    }
    findings.extend(machine::examine());
    Ok(told(&findings, json))
}

/// Prints findings; gives the exit status.
fn told(findings: &[Finding], json: bool) -> u8 {
    output::print(&if json { as_json(findings) } else { as_text(findings) });
    u8::from(findings.iter().any(|f| f.verdict == Verdict::Wrong))
}

/// Where the text of a finding begins, and where its lines end.
const INDENT: usize = 19;
const COLUMNS: usize = 80;

/// Fills lines up to [`COLUMNS`]; the first one goes on after `head`, the others are indented as far. A word that is
/// longer than a line (a path) gets a line of its own.
fn filled(head: &str, text: &str) -> String {
    let indent = head.chars().count();
    let (mut lines, mut column) = (head.to_owned(), indent);
    for word in text.split_whitespace() {
        let length = word.chars().count();
        if column > indent && column + 1 + length > COLUMNS {
            lines.push_str(&format!("\n{:indent$}", ""));
            column = indent;
        } else if column > indent {
            lines.push(' ');
            column += 1;
        }
        lines.push_str(word);
        column += length;
    }
    lines.push('\n');
    lines
}

fn as_text(findings: &[Finding]) -> String {
    let mut text = String::new();
    for finding in findings {
        let mark = match finding.verdict {
            Verdict::Ok => "ok",
            Verdict::Note => "note",
            Verdict::Wrong => "WRONG",
        };
        text.push_str(&filled(&format!("{mark:<6}{:<13}", finding.name), &finding.text));
        if !finding.advice.is_empty() {
            text.push_str(&filled(&format!("{:INDENT$}-> ", ""), &finding.advice));
        }
    }
    let count = |verdict| findings.iter().filter(|f| f.verdict == verdict).count();
    text.push_str(&match (count(Verdict::Wrong), count(Verdict::Note)) {
        (0, 0) => "all is well\n".to_owned(),
        (0, notes) => format!("all is well ({notes} to note)\n"),
        (wrong, _) => format!("{wrong} wrong\n"),
    });
    text
}

fn as_json(findings: &[Finding]) -> String {
    let entries: Vec<String> = findings
        .iter()
        .map(|finding| {
            let verdict = match finding.verdict {
                Verdict::Ok => "ok",
                Verdict::Note => "note",
                Verdict::Wrong => "wrong",
            };
            format!(
                "  {{\"name\": {}, \"verdict\": \"{verdict}\", \"text\": {}, \"advice\": {}}}",
                string(finding.name),
                string(&finding.text),
                string(&finding.advice)
            )
        })
        .collect();
    format!("[\n{}\n]\n", entries.join(",\n"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn findings_are_told_with_their_advice() {
        let findings = [Finding::ok("python", "3.11"), Finding::wrong("module", "missing \"x\"\n", "install it")];
        let text = as_text(&findings);
        assert!(text.contains("ok    python       3.11\n"), "{text}");
        assert!(text.contains("-> install it") && text.ends_with("1 wrong\n"), "{text}");
        let json = as_json(&findings);
        assert!(json.contains(r#""text": "missing \"x\"\n""#), "{json}");
    }

    #[test]
    fn lines_end_before_column_eighty_but_for_long_paths() {
        let path = format!("/{}", "long/".repeat(20));
        let words = "word ".repeat(30);
        let text = as_text(&[Finding::note("cc", format!("{words}{path} {words}"), words.clone())]);
        let long: Vec<&str> = text.lines().filter(|line| line.chars().count() > COLUMNS).map(str::trim).collect();
        assert_eq!(long, [path], "{text}");
        assert_eq!(text.matches("word").count(), 90, "{text}");
        assert!(text.lines().skip(1).filter(|line| line.contains("word")).all(|line| line.starts_with("       ")));
        assert_eq!(filled("ok    cc           ", ""), "ok    cc           \n");
    }
}
