//! Command lines and files of host names, with any bytes in them: see [`crate::fuzz`].

use std::ffi::{OsStr, OsString};
use std::os::unix::ffi::{OsStrExt, OsStringExt};

use super::flags::{self, FLAGS, Id};
use super::{Check, OnDeadlock, Reader, Target, list, parse, seconds};
use crate::hosts::list::Listed;

pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let lines = [
        "-n 4 script.py 1 2",
        "-l -n 1 --wdir /tmp a 1 : -n 3 -env K V b 2",
        "--map-by ppr:3:node --host localhost:4,127.0.0.1 --bind-to l3cache -x A=b --timeout 3.5 --grace 2 a",
        "--output tag,timestamp,file=log --display map,bind --stdin none -usize SYSTEM --on-deadlock raise --check=report a",
        "--mca btl self --doors mpi4py -genvlist A,B -N 2 --keep-going --pdb -v -m mpi4py.bench helloworld",
        "-np=9223372036854775808 a",
    ];
    let joined = |line: &str| line.split(' ').collect::<Vec<_>>().join("\0").into_bytes();
    // Each flag once, with something behind it.
    let all = FLAGS.iter().map(|(names, _)| format!("--{}\01\02\0a", names[0]).into_bytes());
    lines.into_iter().map(joined).chain(all).collect()
}

/// Words between zeros. What is taken starts some ranks of some program; what is not, says why.
pub(crate) fn arguments(bytes: &[u8]) {
    let words: Vec<OsString> = bytes.split(|byte| *byte == 0).map(|word| OsString::from_vec(word.to_vec())).collect();
    // Files are no part of it.
    let reads = |word: &OsString| {
        let name = word.to_string_lossy();
        let name = name.split('=').next().unwrap_or_default();
        flags::find(name.trim_start_matches('-')) == Some(Id::HostFile)
    };
    if words.iter().any(reads) {
        return;
    }
    match parse(&words) {
        Ok(options) if options.help || options.version => {}
        Ok(options) => {
            assert_eq!(options.apps.len(), words.iter().filter(|word| *word == ":").count() + 1);
            for app in &options.apps {
                assert!(app.ranks > 0);
                assert!(!matches!(&app.target, Target::Program(name) if name.as_bytes() == b":"));
            }
            let pairs = options.env.iter().chain(options.apps.iter().flat_map(|app| &app.env));
            assert!(pairs.into_iter().all(|(name, _)| !name.is_empty() && !name.as_bytes().contains(&b'=')));
            assert!(options.timeout.is_none_or(|time| !time.is_zero()) && options.grace.is_none_or(|t| !t.is_zero()));
            assert!(matches!(options.stdin, Reader::Nobody | Reader::Rank(_)));
        }
        Err(error) => assert!(error.exit_status() == 2 && !error.to_string().is_empty()),
    }
    for word in words.iter().take(8) {
        let _ = (seconds("--timeout", word), OnDeadlock::parse("--on-deadlock", word), Check::parse("--check", word));
    }
}

pub(crate) fn host_seeds() -> Vec<Vec<u8>> {
    vec![
        b"localhost slots=4\n# nobody\n127.0.0.1:2\n\n::1\n".to_vec(),
        b"node7:8\n".to_vec(),
        b"a:b:1,::1:\xff".to_vec(),
    ]
}

pub(crate) fn hosts(bytes: &[u8]) {
    match list::of_lines(&OsStr::from_bytes(bytes).to_string_lossy()) {
        // Written plainly, they are read as the same.
        Ok(hosts) => {
            let line = |host: &Listed| match host.slots {
                Some(slots) => format!("{} slots={slots}\n", host.name),
                None => format!("{}\n", host.name),
            };
            let text: String = hosts.iter().map(line).collect();
            let is_plain = hosts.iter().all(|host| !host.name.starts_with('#'));
            assert!(is_plain && list::of_lines(&text) == Ok(hosts), "{text:?}");
        }
        Err(problem) => assert!(problem.starts_with("line "), "{problem}"),
    }
}
