//! How a job ends when ranks end: status, message, and nobody left.

mod common;

use common::{rank, run, start};
use std::time::Duration;

const WAIT: &str = "sleep 600 & wait";

#[test]
fn success_is_silent() {
    let ended = run("-n 3", "echo hello").expect(0);
    assert_eq!(ended.out, "hello\n".repeat(3));
    assert_eq!(ended.err, "");
}

#[test]
fn a_failing_rank_ends_the_job_within_a_second() {
    let ended = run("-n 4", &format!("[ $PMI_RANK = 2 ] && sleep 0.5 && exit 3; {WAIT}")).expect(3);
    let ended = ended.says("rank 2 (pid ").says("exited with status 3; the job ended with it");
    ended.says("phalanx: what the others were doing then:\n").says("ranks 0, 1, 3: ");
}

#[test]
fn a_killed_rank_gives_its_signal() {
    for (signal, status, name) in [("KILL", 137, "SIGKILL"), ("SEGV", 139, "SIGSEGV"), ("ABRT", 134, "SIGABRT")] {
        let script = format!("[ $PMI_RANK = 1 ] && kill -{signal} $$; {WAIT}");
        run("-n 2", &script).expect(status).says("rank 1").says(name);
    }
}

#[test]
fn ranks_that_fail_alike_are_told_once() {
    let ended = run("-n 64", "echo no such file >&2; exit 4").expect(4);
    let ended = ended.says("exited with status 4; the job ended with it").says("last words on stderr: no such file");
    let told: Vec<&str> = ended.err.lines().filter(|line| *line != "no such file").collect();
    assert!(told.len() < 8, "{told:?}");
}

#[test]
fn ranks_that_refuse_to_end_are_killed() {
    let script = "trap '' TERM INT; [ $PMI_RANK = 0 ] && exit 9; while :; do sleep 1; done";
    run("-n 3", script).expect(9).says("rank 0");
}

#[test]
fn stopped_ranks_are_ended() {
    let script = "[ $PMI_RANK = 0 ] || kill -STOP $$; sleep 0.2; exit 5";
    run("-n 2", script).expect(5).says("rank 0");
}

#[test]
fn one_rank_alone_may_fail() {
    run("", "exit 7").expect(7).says("rank 0");
}

#[test]
fn some_may_finish_long_before_others() {
    run("-n 3", "[ $PMI_RANK = 1 ] && sleep 1.5; exit 0").expect(0);
}

#[test]
fn leaving_between_init_and_finalize_is_a_failure() {
    let rank = rank();
    let ended = start("-n 2", &[&rank, "init", "only=1", "exit=0"]).end().expect(1);
    ended.says("rank 1").says("without MPI_Finalize");
    start("-n 2", &[&rank, "init", "finalize"]).end().expect(0);
    start("-n 2", &[&rank, "init", "finalize", "exit=4"]).end().expect(4);
}

#[test]
fn abort_gives_its_code() {
    let rank = rank();
    let ended = start("-n 3", &[&rank, "init", "only=2", "abort=42", "exit=1"]).end().expect(42);
    ended.says("rank 2").says("MPI_Abort with code 42");
    let script = "[ $PMI_RANK = 1 ] && eval \"echo cmd=abort exitcode=6 >&$PMI_FD\"; sleep 600";
    start("-n 2", &["bash", "-c", script]).end().expect(6).says("rank 1").says("MPI_Abort with code 6");
}

#[test]
fn descendants_end_with_the_job() {
    // A daemon of its own session, and an orphan.
    let daemon = "setsid sleep 600 </dev/null >/dev/null 2>&1 & (sleep 600 &) ; ";
    run("-n 2", &format!("{daemon} sleep 0.1; exit 0")).expect(0);
    run("-n 2", &format!("{daemon} [ $PMI_RANK = 1 ] && exit 8; {WAIT}")).expect(8);
}

#[test]
fn a_timeout_says_who_still_ran() {
    let ended = run("-n 3 --timeout 0.3", &format!("[ $PMI_RANK = 0 ] && exit 0; {WAIT}")).expect(124);
    let ended = ended.says("timeout of 0.3 s").says("ranks 1, 2");
    assert!(ended.time >= Duration::from_millis(300));
    run("-n 2 --timeout 60", "exit 0").expect(0);
}

#[test]
fn with_keep_going_the_others_go_on() {
    let script = "[ $PMI_RANK = 0 ] && exit 3; sleep 0.5; echo done";
    let ended = run("-n 3 --keep-going", script).expect(3).says("rank 0").says("go on");
    assert_eq!(ended.out, "done\ndone\n");
}

#[test]
fn nothing_is_left_in_shared_memory_or_temporary_directories() {
    let count = || {
        std::fs::read_dir("/dev/shm")
            .map(|entries| entries.flatten().filter(|e| e.file_name().to_string_lossy().contains("phalanx")).count())
    };
    let before = count().unwrap_or(0);
    let job = start("-n 4", &["sh", "-c", "[ $PMI_RANK = 1 ] && kill -9 $$; sleep 600"]);
    let own: Vec<_> = std::fs::read_dir(job.folder()).expect("a directory").flatten().map(|e| e.file_name()).collect();
    assert!(own.iter().all(|name| name == "out" || name == "err"), "{own:?}");
    job.end().expect(137);
    assert_eq!(count().unwrap_or(0), before);
}

/// A rank of another library: it meets the others over PMI.
const MEET: &str = "eval \"exec 8>&$PMI_FD 9<&$PMI_FD\"; echo 'cmd=init pmi_version=1 pmi_subversion=1' >&8; \
                    read -r x <&9; echo 'cmd=barrier_in' >&8; read -r x <&9; echo met; \
                    echo 'cmd=finalize' >&8; read -r x <&9";

#[test]
fn a_rank_that_never_meets_the_others_ends_the_job() {
    let ended = start("-n 3", &["bash", "-c", &format!("[ $PMI_RANK = 1 ] && exit 0; {MEET}")]).end().expect(1);
    let ended = ended.says("for rank 1 in MPI_Init").says("exited with status 0 before it met the others");
    assert!(!ended.out.contains("met"), "{}", ended.out);
}

#[test]
fn a_rank_may_live_on_in_a_process_that_it_leaves_behind() {
    let later = format!("[ $PMI_RANK = 1 ] && {{ (sleep 0.5; {MEET}) & exit 0; }}; {MEET}");
    let ended = start("-n 2", &["bash", "-c", &later]).end().expect(0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("met\nmet\n", ""));
}

#[test]
fn programs_that_never_meet_end_one_by_one() {
    let ended = run("-n 3", "sleep 0.$PMI_RANK; echo end").expect(0);
    assert_eq!((ended.out.as_str(), ended.err.as_str()), ("end\nend\nend\n", ""));
}
