//! Worlds that ranks spawn, by PMI-1 as MPICH's ranks speak it.

mod common;

use common::start;

/// A shell as a PMI client: `ask LINE` prints the answer.
const CLIENT: &str = r#"
ask() { printf '%s\n' "$1" >&$PMI_FD; IFS= read -r answer <&$PMI_FD; printf '%s\n' "$answer"; }
spawn() { # ranks program args...
    printf 'mcmd=spawn\nnprocs=%s\nexecname=%s\ntotspawns=1\nspawnssofar=1\nargcnt=%s\n' "$1" "$2" $(($# - 2)) >&$PMI_FD
    shift 2; i=1
    for word; do printf 'arg%s=%s\n' $i "$word" >&$PMI_FD; i=$((i+1)); done
    printf 'preput_num=1\npreput_key_0=greeting\npreput_val_0=hello\ninfo_num=0\nendcmd\n' >&$PMI_FD
    IFS= read -r answer <&$PMI_FD; printf '%s\n' "$answer"
}
"#;

fn client(body: &str) -> String {
    format!("{CLIENT}\n{body}")
}

#[test]
fn ranks_meet_by_pmi() {
    let body = "ask 'cmd=init pmi_version=1 pmi_subversion=1' >/dev/null; ask \"cmd=put kvsname= key=k$PMI_RANK value=v$PMI_RANK\" >/dev/null
        ask cmd=get_my_kvsname >/dev/null; name=${answer#*kvsname=}
        ask \"cmd=put kvsname=$name key=k$PMI_RANK value=v$PMI_RANK\" >/dev/null
        ask cmd=barrier_in; ask \"cmd=get kvsname=$name key=k$(((PMI_RANK + 1) % PMI_SIZE))\"; ask cmd=finalize >/dev/null";
    let ended = start("-n 3", &["bash", "-c", &client(body)]).end().expect(0);
    assert_eq!(ended.out.matches("cmd=barrier_out").count(), 3, "{}", ended.out);
    for rank in 0..3 {
        assert!(ended.out.contains(&format!("value=v{rank}\n")), "{}", ended.out);
    }
}

#[test]
fn leaving_after_pmi_init_without_finalize_is_a_failure() {
    let body = "ask 'cmd=init pmi_version=1 pmi_subversion=1'; [ $PMI_RANK = 0 ] && exit 0; sleep 600";
    start("-n 2", &["bash", "-c", &client(body)]).end().expect(1).says("without MPI_Finalize");
}

#[test]
fn spawned_ranks_are_part_of_the_job() {
    let body = "[ -n \"$PMI_SPAWNED\" ] || spawn 2 bash -c 'echo child $PMI_RANK/$PMI_SIZE $PHALANX_WORLD; sleep 0.3'";
    let ended = start("-n 1 -l", &["bash", "-c", &client(body)]).end().expect(0);
    assert!(ended.out.contains("[0] cmd=spawn_result rc=0 nerrs=2 errcodes=0,0"), "{}", ended.out);
    for rank in 0..2 {
        let line = format!("[1.{rank}] child {rank}/2 1:2:{rank}:");
        assert!(ended.out.contains(&line), "{line}: {}", ended.out);
    }
}

#[test]
fn a_spawned_rank_that_fails_ends_the_job() {
    let body = "spawn 2 bash -c '[ $PMI_RANK = 1 ] && exit 6; sleep 600'; sleep 600";
    start("-n 2", &["bash", "-c", &client(&format!("[ $PMI_RANK = 1 ] && sleep 600; {body}"))])
        .end()
        .expect(6)
        .says("rank 1 of spawned world 1");
}

#[test]
fn what_cannot_be_spawned_is_an_answer() {
    let body = "spawn 1 /nowhere/program; spawn 0 true; echo still here";
    let ended = start("-n 1", &["bash", "-c", &client(body)]).end().expect(0);
    assert_eq!(ended.out.matches("cmd=spawn_result rc=-1").count(), 2, "{}", ended.out);
    assert!(ended.out.contains("not_found") && ended.out.contains("still here"), "{}", ended.out);
}

#[test]
fn a_world_starts_whole_or_not_at_all() {
    // The second program cannot be executed, which is known only when the first one runs.
    let body = "printf '#!/nowhere/interpreter\\n' > broken; chmod +x broken
        printf 'mcmd=spawn\\nnprocs=2\\nexecname=sleep\\ntotspawns=2\\nspawnssofar=1\\nargcnt=1\\narg1=600\\nendcmd\\n' >&$PMI_FD
        printf 'mcmd=spawn\\nnprocs=1\\nexecname=./broken\\ntotspawns=2\\nspawnssofar=2\\nargcnt=0\\nendcmd\\n' >&$PMI_FD
        IFS= read -r answer <&$PMI_FD; echo \"$answer\"; sleep 0.3; echo still here";
    let ended = start("-n 1", &["bash", "-c", &client(body)]).end().expect(0);
    assert!(ended.out.contains("rc=-1") && ended.out.contains("interpreter"), "{}", ended.out);
    assert!(ended.out.contains("still here") && ended.err.is_empty(), "{}", ended.err);
}

#[test]
fn a_client_that_speaks_something_else_is_told_apart() {
    let body = "echo GET / HTTP/1.0 >&$PMI_FD; sleep 0.3; exit 0";
    start("-n 1", &["bash", "-c", &client(body)]).end().expect(0).says("no PMI request");
}
