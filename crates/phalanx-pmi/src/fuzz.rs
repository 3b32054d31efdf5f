//! The lines of PMI-1 with any bytes in them: see `phalanx-fuzz`.

use crate::{Line, Pair, SpawnCommand, reason, spawn_result};

phalanx_fuzz::targets! {
    lines("pmi-line", "a line between a launcher and a rank", cost 1, [
        &b"cmd=init pmi_version=1 pmi_subversion=1\n"[..],
        b"cmd=get_result rc=-1 msg=key z not found\n",
        b"cmd=get_result rc=0 msg=success value=b/c:1=x\n",
        b"cmd=spawn_result rc=0 nerrs=2 errcodes=0,0",
        b"  nothing cmd=a   lost rc=x  ",
        b"cmd=publish_name service=%c3%a4 port=phalanx:1:2:3:4:5",
    ].map(<[u8]>::to_vec));
    spawns("pmi-spawn", "a request to spawn", cost 1, spawn_seeds());
}

/// What a line says, it says in any order of words and with any spaces between them.
fn lines(bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    let line = Line::parse(&text);
    let _ = (line.is_ok(), reason(&line), line.number("rc"));
    for (key, value) in &line.0 {
        assert!(!key.contains(char::is_whitespace), "{key:?}");
        assert!(*key == "msg" || !value.contains(char::is_whitespace), "{value:?}");
        assert!(line.get(key).is_some());
    }
    // `msg` with spaces is the last one.
    let written: Vec<String> = line.0.iter().map(|(key, value)| format!("{key}={value}")).collect();
    let again = written.join(" ");
    assert_eq!(Line::parse(&again), line, "{again:?}");
    let answer = spawn_result(Err(text.into_owned()));
    assert!(!Line::parse(&answer).is_ok() && !answer.contains('\n'));
}

/// A spawn of two programs, with everything that one can ask for.
pub(crate) fn spawn() -> [SpawnCommand; 2] {
    let pair = |key: &str, value: &str| (key.to_owned(), value.to_owned());
    [
        SpawnCommand {
            ranks: 2,
            program: "a b".into(),
            args: vec!["x y".into(), "k=v".into(), String::new()],
            info: vec![pair("wdir", "/a b")],
            preput: vec![pair("port", "p 1"), pair("n", "3")],
        },
        SpawnCommand { ranks: 1, program: "c".into(), ..SpawnCommand::default() },
    ]
}

fn spawn_seeds() -> Vec<Vec<u8>> {
    vec![SpawnCommand::write_all(&spawn()).into_bytes(), b"execname=x\nargcnt=4294967295\ninfo_num=9\n".to_vec()]
}

/// What is read is written and read as the same.
fn spawns(bytes: &[u8]) {
    let read = |text: &str| -> Vec<(SpawnCommand, bool)> {
        let blocks = text.split("endcmd\n").map(|block| block.strip_prefix("mcmd=spawn\n").unwrap_or(block));
        let pairs = |block: &str| -> Vec<Pair> {
            let lines = block.split_terminator('\n').map(|line| line.split_once('=').unwrap_or((line, "")));
            lines.map(|(key, value)| (key.to_owned(), value.to_owned())).collect()
        };
        blocks.filter_map(|block| SpawnCommand::read(&pairs(block)).ok()).collect()
    };
    let text = String::from_utf8_lossy(bytes);
    let commands: Vec<SpawnCommand> = read(&text).into_iter().map(|(command, _)| command).collect();
    let again = read(&SpawnCommand::write_all(&commands));
    assert_eq!(again.iter().map(|(command, _)| command).cloned().collect::<Vec<_>>(), commands);
    assert!(again.iter().enumerate().all(|(at, (_, last))| *last == (at + 1 == commands.len())));
}
