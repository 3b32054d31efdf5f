//! What is started, and what is said when it cannot be.

mod common;

use common::{run, start, start_with};

#[track_caller]
fn refused(flags: &str, script: &[&str], status: i32, says: &str) {
    let ended = start(flags, script).end().expect(status).says(says);
    assert_eq!(ended.err.lines().count(), 1, "one line: {}", ended.err);
    assert!(ended.out.is_empty());
}

#[test]
fn what_cannot_start_is_said_in_one_line() {
    refused("-n 0", &["true"], 2, "at least 1");
    refused("-n -1", &["true"], 2, "at least 1");
    refused("-n x", &["true"], 2, "whole number");
    refused("-n 5000", &["true"], 2, "5000 ranks");
    refused("-n 4000000000", &["true"], 2, "4000000000 ranks");
    refused("--doors threading", &["true"], 2, "no door 'threading'");
    refused("--doors off,multiprocessing", &["true"], 2, "'off' must stand alone");
    refused("--doors", &[], 2, "needs multiprocessing, ipyparallel or off");
    refused("-n 2 --tag-outputs", &["true"], 2, "did you mean '--tag-output'?");
    refused("-n 4000 --nooversubscribe", &["true"], 2, "4000 CPUs");
    refused("-n 2 --stdin all", &["true"], 2, "one rank can read it");
    refused("-n 2 --cpu-set 0", &["true"], 2, "taskset -c LIST");
    refused("-n 2", &[], 2, "no program");
    refused("-n 2", &["nowhere.py"], 127, "'nowhere.py' not found");
    refused("-n 2", &["./nowhere"], 127, "'./nowhere' not found");
    refused("-n 2", &["no-such-program-here"], 127, "on PATH");
    refused("-n 2", &["/etc/passwd"], 126, "execute permission");
    refused("-n 2", &["/etc/"], 126, "directory");
    refused("-n 2 --host elsewhere:0", &["true"], 2, "at least 1");
    refused("--ssh no-such-shell --host elsewhere", &["true"], 127, "PHALANX_SSH");
    refused("--ssh false --host elsewhere", &["true"], 1, "host elsewhere: its connection ended");
    refused("-n 2 --wdir /nowhere", &["true"], 2, "/nowhere");
    refused("-n 2", &["true", ":", "-n", "1", "no-such-program-here"], 127, "no-such-program-here");
}

#[test]
fn a_script_without_its_interpreter_is_said_so() {
    let job = start_with("-n 2", &["./broken"], |command| {
        let folder = command.get_current_dir().unwrap();
        let path = folder.join("broken");
        std::fs::write(&path, "#!/nowhere/interpreter\n").unwrap();
        use std::os::unix::fs::PermissionsExt;
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(0o755)).unwrap();
    });
    let ended = job.end().expect(126).says("interpreter");
    assert_eq!(ended.err.lines().count(), 1, "{}", ended.err);
}

#[test]
fn several_programs_are_one_job() {
    let ended = start(
        "-n 1 -env WHO first",
        &[
            "sh",
            "-c",
            "echo $WHO $PMI_RANK/$PMI_SIZE",
            ":",
            "-n",
            "2",
            "sh",
            "-c",
            "echo ${WHO:-second} $PMI_RANK/$PMI_SIZE",
        ],
    )
    .end()
    .expect(0);
    let mut lines: Vec<_> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["first 0/3", "second 1/3", "second 2/3"]);
}

#[test]
fn variables_and_directories_reach_the_ranks() {
    let ended = run("-n 2 -x A=1 -genv B 2 --wdir /", "echo $A $B $PWD").expect(0);
    assert_eq!(ended.out, "1 2 /\n".repeat(2));
    run("-x NOT_SET_ANYWHERE", "true").expect(0).says("NOT_SET_ANYWHERE");
    run("--mca btl self", "true").expect(0).says("--mca btl");
}

#[test]
fn ranks_know_their_place() {
    let ended = run("-n 2", "echo $PHALANX_WORLD").expect(0);
    let mut lines: Vec<_> = ended.out.lines().collect();
    lines.sort_unstable();
    for (rank, line) in lines.iter().enumerate() {
        assert!(line.starts_with(&format!("0:2:{rank}:")) && line.ends_with(":0:0"), "{line}");
    }
    assert_eq!(lines.len(), 2);
}

#[test]
fn scripts_run_under_this_python() {
    let job = start_with("-n 2", &["hello.py", "a b"], |command| {
        let folder = command.get_current_dir().unwrap();
        std::fs::write(folder.join("hello.py"), "import sys\nprint(sys.argv)\n").unwrap();
    });
    assert_eq!(job.end().expect(0).out, "['hello.py', 'a b']\n".repeat(2));
    let ended = start("-n 2 -m", &["platform"]).end().expect(0);
    assert_eq!(ended.out.lines().count(), 2);
}

#[test]
fn ranks_share_the_cpus_when_there_are_enough() {
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    let masks = |line: &str| {
        let ended = run(line, "grep Cpus_allowed: /proc/self/status").expect(0);
        let mask = |line: &str| {
            let digits = line.split_whitespace().last().unwrap_or("").replace(',', "");
            u128::from_str_radix(&digits, 16).unwrap_or(0)
        };
        ended.out.lines().map(mask).collect::<Vec<_>>()
    };
    if (2..=64).contains(&cpus) {
        let shares = masks("-n 2");
        assert_eq!(shares.len(), 2);
        assert_eq!(shares[0] & shares[1], 0, "{shares:x?}");
        assert_eq!((shares[0] | shares[1]).count_ones() as usize, cpus, "{shares:x?}");
        let all = masks("-n 2 --bind-to none");
        assert!(all.iter().all(|mask| mask.count_ones() as usize == cpus), "{all:x?}");
    }
    let many = masks(&format!("-n {}", cpus + 1));
    assert!(many.iter().all(|mask| mask.count_ones() as usize == cpus), "{many:x?}");
}

#[test]
fn cores_may_be_bound() {
    let ended = run("-n 2 --bind-to core", "grep Cpus_allowed_list /proc/self/status").expect(0);
    let lines: std::collections::HashSet<_> = ended.out.lines().collect();
    let cpus = std::thread::available_parallelism().map_or(1, |n| n.get());
    assert_eq!(lines.len(), cpus.min(2), "{}", ended.out);
    assert!(lines.iter().all(|line| !line.contains(['-', ','])), "{}", ended.out);
}

#[test]
fn many_ranks_start() {
    let ended = run("-n 100", "echo $PMI_RANK").expect(0);
    let mut ranks: Vec<u32> = ended.out.lines().map(|line| line.parse().unwrap()).collect();
    ranks.sort_unstable();
    assert!(ranks.iter().copied().eq(0..100));
}

#[test]
fn other_commands_answer() {
    use std::process::Command;
    let phalanx = |args: &[&str]| Command::new(common::phalanx()).args(args).output().unwrap();
    for args in [&["--help"][..], &["run", "-h"], &["shell", "--help"], &["cc", "--help"], &["doctor", "--help"]] {
        let done = phalanx(args);
        assert!(done.status.success() && done.stdout.starts_with(b"usage:") || args == ["--help"], "{args:?}");
    }
    let done = phalanx(&["runn"]);
    assert_eq!(done.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&done.stderr).contains("did you mean 'run'?"));
    assert!(phalanx(&["--version"]).stdout.starts_with(b"phalanx "));
    let done = phalanx(&["doctor", "--json"]);
    assert!(done.stdout.starts_with(b"[\n  {\"name\": \"phalanx\""), "{}", String::from_utf8_lossy(&done.stdout));
    let done = phalanx(&["shell", "-c", "mpirun -n 2 sh -c 'echo $PMI_RANK of $PMI_SIZE'; exit 5"]);
    assert_eq!(done.status.code(), Some(5), "{}", String::from_utf8_lossy(&done.stderr));
    assert_eq!(String::from_utf8_lossy(&done.stdout).matches(" of 2").count(), 2);
    let done = phalanx(&["shell", "-c", "exit 3"]);
    assert_eq!(done.status.code(), Some(3));
}

#[test]
fn a_limit_of_open_files_is_named() {
    let script = format!("ulimit -n 64; exec {} run -n 100 true", common::phalanx());
    let done = std::process::Command::new("bash").args(["-c", &script]).output().unwrap();
    let text = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(2), "{text}");
    assert!(text.contains("open files") && text.contains("ulimit -n"), "{text}");
}

/// What a rank is told about its place, in the words of several launchers.
#[test]
fn ranks_know_their_place_by_the_names_of_other_launchers() {
    let script = "echo $MPI_LOCALRANKID/$MPI_LOCALNRANKS $OMPI_COMM_WORLD_RANK/$OMPI_COMM_WORLD_SIZE \
                  $OMPI_COMM_WORLD_LOCAL_RANK/$OMPI_COMM_WORLD_LOCAL_SIZE $PMI_RANK/$PMI_SIZE";
    let ended = run("-n 3", script).expect(0);
    let mut lines: Vec<&str> = ended.out.lines().collect();
    lines.sort_unstable();
    assert_eq!(lines, ["0/3 0/3 0/3 0/3", "1/3 1/3 1/3 1/3", "2/3 2/3 2/3 2/3"]);
}

#[test]
fn flags_of_other_launchers_are_accepted_without_a_word() {
    let flags = "--use-hwthread-cpus -ppn 2 -perhost 2 -bootstrap ssh -launcher fork -iface lo --prefix /opt --bind-to socket \
                 -rmk user --map-by slot -usize 4 -N 2";
    let ended = run(flags, "echo $PMI_SIZE").expect(0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("2\n2\n", ""));
}

#[test]
fn places_are_told_when_asked_for() {
    let ended = run("-n 2 --display-map --report-bindings --bind-to core", "true").expect(0);
    assert_eq!(ended.err.matches("phalanx: started rank").count(), 2, "{}", ended.err);
    assert_eq!(ended.err.matches("may use").count(), 2, "{}", ended.err);
}

#[test]
fn the_environment_can_limit_the_time() {
    let job = start_with("-n 2", &["sleep", "600"], |command| {
        command.stdin(std::process::Stdio::null()).env("MPIEXEC_TIMEOUT", "0.3");
    });
    job.end().expect(124).says("timeout of 0.3 s");
    let job = start_with("-n 2", &["true"], |command| {
        command.stdin(std::process::Stdio::null()).env("MPIEXEC_TIMEOUT", "soon");
    });
    job.end().expect(2).says("MPIEXEC_TIMEOUT soon");
}
