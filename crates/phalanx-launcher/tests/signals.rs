//! Signals to the launcher, and its death.

mod common;

use std::os::unix::process::CommandExt;
use std::process::Stdio;
use std::time::Duration;

use common::{start, start_with};
use rustix::process::{Signal, kill_process_group};

/// Prints `ready`, and sleeps so that traps run at once.
const READY: &str = "echo ready; while :; do sleep 600 & wait $!; done";

#[test]
fn the_first_interrupt_reaches_the_ranks() {
    let job = start("-n 3", &["bash", "-c", &format!("trap 'echo caught; exit 4' INT; {READY}")]);
    job.wait_for("ready", 3);
    job.signal(Signal::INT);
    let ended = job.end().expect(130);
    assert_eq!(ended.out.matches("caught").count(), 3, "{}", ended.out);
    assert_eq!(ended.err, "");
}

#[test]
fn an_interrupt_that_is_handled_is_no_failure() {
    let job = start("-n 2", &["bash", "-c", &format!("trap 'exit 0' INT; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::INT);
    job.end().expect(0);
}

#[test]
fn the_second_interrupt_kills() {
    let job = start("-n 2", &["bash", "-c", &format!("trap 'echo no' INT TERM; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::INT);
    job.wait_for("no", 2);
    job.signal(Signal::INT);
    job.end().expect(130);
}

#[test]
fn an_interrupt_of_the_whole_group_arrives_once() {
    let script = format!("trap 'echo caught' INT; {READY}");
    let job = start_with("-n 2", &["bash", "-c", &script], |command| {
        command.stdin(Stdio::null()).process_group(0);
    });
    job.wait_for("ready", 2);
    kill_process_group(job.pid(), Signal::INT).expect("a group");
    job.wait_for("caught", 2);
    std::thread::sleep(Duration::from_millis(200));
    assert_eq!(job.out().matches("caught").count(), 2, "{}", job.out());
    job.signal(Signal::INT);
    job.end().expect(130);
}

#[test]
fn ranks_that_end_after_an_interrupt_do_not_wait_for_those_that_stay() {
    let script = format!("[ $PMI_RANK = 1 ] && trap '' INT; {READY}");
    let job = start("-n 2 --grace 1", &["bash", "-c", &script]);
    job.wait_for("ready", 2);
    job.signal(Signal::INT);
    job.end().expect(130);
}

#[test]
fn termination_is_forwarded() {
    let job = start("-n 2", &["bash", "-c", &format!("trap 'echo saved; exit 0' TERM; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::TERM);
    let ended = job.end().expect(143);
    assert_eq!(ended.out.matches("saved").count(), 2);
    let sender = format!("phalanx: SIGTERM received from pid {} (", std::process::id());
    let ended = ended.says(&sender).says("; ending the job\n");
    ended.says("phalanx: ranks 0, 1 still running, killed in 10 s or by a second signal\n");
}

#[test]
fn what_takes_three_seconds_to_save_is_saved() {
    let job = start("-n 2", &["bash", "-c", &format!("trap 'sleep 3; echo saved; exit 0' TERM; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::TERM);
    let ended = job.end().expect(143);
    assert_eq!(ended.out.matches("saved").count(), 2, "{}", ended.out);
}

#[test]
fn a_second_termination_hurries() {
    let job = start("-n 2 --grace 500", &["bash", "-c", &format!("trap 'echo no' TERM; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::TERM);
    job.wait_for("no", 2);
    job.signal(Signal::TERM);
    job.end().expect(143).says("500 s");
}

#[test]
fn the_environment_can_give_less_time() {
    let job = start_with("-n 2", &["bash", "-c", &format!("trap '' TERM; {READY}")], |command| {
        command.stdin(Stdio::null()).env("PHALANX_GRACE", "0.3");
    });
    job.wait_for("ready", 2);
    job.signal(Signal::TERM);
    job.end().expect(143).says("0.3 s");
}

#[test]
fn ranks_that_refuse_termination_are_killed() {
    let job = start("-n 2 --grace 1", &["bash", "-c", &format!("trap '' TERM; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::TERM);
    job.end().expect(143);
}

#[test]
fn a_hangup_ends_the_job() {
    let job = start("-n 2", &["sh", "-c", READY]);
    job.wait_for("ready", 2);
    job.signal(Signal::HUP);
    job.end().expect(129).says("SIGHUP received");
}

#[test]
fn user_signals_are_passed_on() {
    let job = start("-n 2", &["bash", "-c", &format!("trap 'echo one' USR1; trap 'exit 0' USR2; {READY}")]);
    job.wait_for("ready", 2);
    job.signal(Signal::USR1);
    job.wait_for("one", 2);
    job.signal(Signal::USR2);
    job.end().expect(0);
}

#[test]
fn a_stopped_job_goes_on_where_it_was() {
    let job = start("-n 2", &["bash", "-c", "echo ready; for i in 1 2 3 4 5 6; do sleep 0.1; done; echo end"]);
    job.wait_for("ready", 2);
    job.signal(Signal::TSTP);
    std::thread::sleep(Duration::from_secs(1));
    assert_eq!(job.out().matches("end").count(), 0, "{}", job.out());
    job.signal(Signal::CONT);
    job.end().expect(0);
}

#[test]
fn no_rank_outlives_a_killed_launcher() {
    for script in [READY, "echo ready; while :; do :; done", "trap '' TERM INT HUP; echo ready; sleep 600"] {
        let job = start("-n 3", &["sh", "-c", script]);
        job.wait_for("ready", 3);
        job.signal(Signal::KILL);
        job.end().expect(137);
    }
}

#[test]
fn descendants_do_not_outlive_a_killed_launcher() {
    let script = "setsid sleep 600 </dev/null >/dev/null 2>&1 & (sleep 600 &); echo ready; wait; sleep 600";
    let job = start("-n 2", &["sh", "-c", script]);
    job.wait_for("ready", 2);
    job.signal(Signal::KILL);
    job.end().expect(137);
}
