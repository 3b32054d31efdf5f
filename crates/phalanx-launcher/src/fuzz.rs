//! What reaches the launcher from outside, with any bytes in it: see `phalanx-fuzz`.

use std::io::Write;

use crate::elf::soname_of;
use crate::output::{Read, Sink, Stream};
use crate::pmi::{Action, Client, Service};
use crate::{cli, job, look, top};

phalanx_fuzz::targets! {
    arguments("arguments", "the words of a command line", cost 1, cli::fuzz::seeds());
    hosts("hosts", "a file of host names", cost 1, cli::fuzz::host_seeds());
    pmi("pmi-service", "what ranks send over PMI", cost 2, pmi_seeds());
    output("output", "what ranks print", cost 10, output_seeds());
    elf("elf", "the file of a library", cost 1, elf_seeds());
    desk("desk", "what ranks tell beside PMI", cost 1, job::fuzz::desk_seeds());
    segment("segment", "the segment of a job, which a rank has written over, as the launcher sees it", cost 20, job::fuzz::segment_seeds());
    answers("look", "the answer of a launcher who is asked what its ranks do", cost 4, look::fuzz::look_seeds());
    symbols("symbols", "a library in the memory of a rank", cost 4, look::fuzz::symbol_seeds());
    stacks("stacks", "the memory of a Python interpreter", cost 8, look::fuzz::stack_seeds());
    lines("lines", "the table of lines of a code object", cost 1, look::fuzz::line_seeds());
    proc("proc", "what the kernel prints of a process, whose name and files may be called anything", cost 2, look::fuzz::proc_seeds());
    keys("keys", "what is typed at phalanx top", cost 1, vec![b"q\x1b[A\x1b[6~\x1b[1;5Cw\x1b".to_vec()]);
}

fn arguments(bytes: &[u8]) {
    cli::fuzz::arguments(bytes);
}

fn hosts(bytes: &[u8]) {
    cli::fuzz::hosts(bytes);
}

fn desk(bytes: &[u8]) {
    job::fuzz::desk(bytes);
}

fn segment(bytes: &[u8]) {
    job::fuzz::segment(bytes);
}

fn answers(bytes: &[u8]) {
    look::fuzz::answers(bytes);
}

fn symbols(bytes: &[u8]) {
    look::fuzz::symbols(bytes);
}

fn stacks(bytes: &[u8]) {
    look::fuzz::stacks(bytes);
}

fn lines(bytes: &[u8]) {
    look::fuzz::lines(bytes);
}

fn proc(bytes: &[u8]) {
    look::fuzz::proc(bytes);
}

fn keys(bytes: &[u8]) {
    top::fuzz::keys(bytes);
}

fn pmi_seeds() -> Vec<Vec<u8>> {
    let start = "cmd=init pmi_version=1 pmi_subversion=1\ncmd=get_maxes\ncmd=get_appnum\ncmd=get_my_kvsname\ncmd=get_universe_size\n";
    let values = "cmd=put kvsname=kvs_t_0 key=a value=b=c\ncmd=get kvsname=kvs_t_0 key=a\ncmd=barrier_in\n";
    let names = "cmd=publish_name service=s port=p\ncmd=lookup_name service=s\ncmd=unpublish_name service=s\n";
    let spawn = "mcmd=spawn\nnprocs=2\nexecname=a b\ntotspawns=2\nspawnssofar=1\nargcnt=2\narg1=x y\narg2=k=v\npreput_num=1\n\
                 preput_key_0=port\npreput_val_0=p 1\ninfo_num=1\ninfo_key_0=wdir\ninfo_val_0=/\nendcmd\nmcmd=spawn\nnprocs=1\nexecname=c\n\
                 totspawns=2\nspawnssofar=2\nargcnt=0\ninfo_num=0\nendcmd\n";
    let end = "cmd=finalize\ncmd=abort exitcode=7\n";
    [start, values, names, spawn, end, &[start, values, names, spawn, end].concat()]
        .iter()
        .map(|text| text.as_bytes().to_vec())
        .collect()
}

/// Each half is from another rank. What a rank is answered is one line each.
fn pmi(bytes: &[u8]) {
    let mut service = Service::new("t", 2);
    let world = service.add_world(vec![0, 1], &[("key".to_owned(), "value".to_owned())]);
    let (first, second) = bytes.split_at(bytes.len() / 2);
    let mut clients = [Client::of(world, 0), Client::of(world, 1)];
    for (client, piece) in clients.iter_mut().zip([first, second]) {
        let whole = service.receive(client, piece);
        for action in whole.unwrap_or_default() {
            match action {
                Action::Reply(line) | Action::ReplyAll(_, line) => assert!(!line.contains('\n'), "{line:?}"),
                Action::Spawn(commands) => assert!(commands.iter().all(|c| c.args.len() <= bytes.len())),
                Action::Abort(_) => {}
                Action::Gathered(..) | Action::Forward(_) => panic!("all ranks are here"),
            }
        }
        assert!(service.meetings().all(|(_, arrived)| arrived.len() < 2));
    }
    // A part of the ranks asks for nothing that the service of all cannot read.
    let mut part = Service::of_one_machine(2);
    part.add_part("kvs_t_0".to_owned(), 1, vec![0, 1], &[]);
    let actions = part.receive(&mut Client::of(0, 1), bytes).unwrap_or_default();
    let mut asking = Client::of(world, 1);
    for action in actions {
        match action {
            Action::Forward(lines) => drop(service.receive(&mut asking, lines.as_bytes()).expect("it was read before")),
            Action::Gathered(world, pairs) => drop(service.gathered(world, &[1], pairs)),
            Action::Spawn(_) => panic!("it starts nothing itself"),
            Action::Reply(_) | Action::ReplyAll(..) | Action::Abort(_) => {}
        }
    }
    // In pieces it is the same.
    let mut pieces = Client::of(world, 0);
    for piece in bytes.chunks(7) {
        if service.receive(&mut pieces, piece).is_err() {
            break;
        }
    }
}

fn output_seeds() -> Vec<Vec<u8>> {
    vec![b"\0one\ntwo\nthree".to_vec(), b"\x01\n\nno end".to_vec(), b"\x02one\r50%\r100%\n".to_vec()]
}

/// Nothing is lost, and nothing added but what stands in front of lines. The first byte says how it is shown.
fn output(bytes: &[u8]) {
    let Some((how, bytes)) = bytes.split_first() else { return };
    let flags = rustix::fs::MemfdFlags::CLOEXEC;
    let (file, (reader, writer)) = match (rustix::fs::memfd_create("output", flags), rustix::pipe::pipe()) {
        (Ok(file), Ok(pipe)) => (file, pipe),
        _ => return,
    };
    crate::process::nonblocking(&reader).expect("a pipe");
    let tag: &[u8] = if how & 1 == 1 { b"[0] " } else { b"" };
    let mut sink = Sink::new(rustix::fd::AsFd::as_fd(&file)).expect("a file");
    let mut stream = Stream::new(Some(reader), 0, tag.to_vec(), false);
    let mut scratch = [0; 256];
    let mut writer = std::fs::File::from(writer);
    for piece in bytes.chunks(1 + usize::from(how >> 3)) {
        writer.write_all(piece).expect("there is room in a pipe");
        while stream.read(&mut scratch, &mut sink, how & 2 != 0) == Read::Some {}
        if how & 4 != 0 {
            stream.show(&mut sink);
        }
    }
    drop(writer);
    while stream.read(&mut scratch, &mut sink, false) != Read::End {}
    let mut shown = vec![0; bytes.len() * 6 + 16];
    let len = rustix::io::pread(&file, &mut shown[..], 0).expect("a file");
    let shown = &shown[..len];
    if tag.is_empty() {
        assert_eq!(shown.strip_prefix(bytes).map(|rest| rest.iter().all(|byte| *byte == b'\n')), Some(true));
    } else {
        let plain: Vec<u8> = shown
            .split_inclusive(|byte| *byte == b'\n')
            .flat_map(|line| line.strip_prefix(tag).unwrap_or(line).iter().copied())
            .collect();
        if !bytes.windows(tag.len()).any(|window| window == tag) && !bytes.contains(&b'\r') {
            assert!(plain.starts_with(bytes), "{plain:?}");
        }
    }
}

/// A small library, with one segment that is loaded and one with its name: 64 bytes of a head, two of 56, and what they name.
fn elf_seeds() -> Vec<Vec<u8>> {
    let mut file = vec![0u8; 320];
    let mut word = |at: usize, value: u64| file[at..at + 8].copy_from_slice(&value.to_ne_bytes());
    word(32, 64);
    for (at, kind, offset, address, length) in [(64, 1u32, 0, 0x1000, 320), (120, 2, 192, 0x10c0, 64)] {
        word(at, u64::from(kind));
        word(at + 8, offset);
        word(at + 16, address);
        word(at + 32, length);
    }
    for (at, (kind, value)) in [(5, 0x1100), (14, 4), (0, 0)].into_iter().enumerate() {
        word(192 + at * 16, kind);
        word(200 + at * 16, value);
    }
    file[..6].copy_from_slice(&[0x7f, b'E', b'L', b'F', 2, if cfg!(target_endian = "little") { 1 } else { 2 }]);
    file[54..58].copy_from_slice(&[56, 0, 2, 0]);
    file[256..275].copy_from_slice(b"\0\0\0\0libfield.so.1\0\0");
    assert_eq!(soname_of(&file).as_deref(), Some("libfield.so.1"));
    vec![file]
}

/// A name that is found stands in the file.
fn elf(bytes: &[u8]) {
    if let Some(name) = soname_of(bytes).filter(|name| !name.is_empty()) {
        assert!(bytes.windows(name.len()).any(|window| window == name.as_bytes()));
    }
}
