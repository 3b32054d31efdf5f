#!/bin/bash
# Runs a command on a small Grid Engine of its own: sge.sh COMMAND [ARG...], as the command of up.sh, whose hosts run its jobs.
# The master is on h0; each host has 2 slots of the queue all.q, for the parallel environment round, too. Needs Debian's gridengine-master, gridengine-exec and
# gridengine-client.
set -u
die() { echo "sge.sh: $*" >&2; exit 99; }
programs=/usr/lib/gridengine; from=/usr/share/gridengine
[ -x $programs/sge_qmaster ] || die "there is no sge_qmaster"
export SGE_ROOT=$NET/sge SGE_CELL=default SGE_CLUSTER_NAME=small SGE_QMASTER_PORT=6444 SGE_EXECD_PORT=6445 PATH=$programs:$PATH
S=$SGE_ROOT/default
mkdir -p "$SGE_ROOT"/{bin,lib,utilbin} "$S/common" "$S/spool/qmaster/job_scripts" && cp -r $from/util "$SGE_ROOT/util" || die "no folder"
arch=$("$SGE_ROOT/util/arch") || die "no name of this kind of machine"
for folder in bin lib utilbin; do ln -s $programs "$SGE_ROOT/$folder/$arch"; done
echo h0 >"$S/common/act_qmaster"
cat >"$S/common/bootstrap" <<CONF
admin_user none
default_domain none
ignore_fqdn true
spooling_method classic
spooling_lib libspoolc
spooling_params $S/common;$S/spool/qmaster
binary_path $programs
qmaster_spool_dir $S/spool/qmaster
security_mode none
listener_threads 1
worker_threads 1
scheduler_threads 1
CONF
said=$SGE_ROOT/said
quietly() { "$@" >"$said" 2>&1 || { cat "$said" "$S"/spool/*/messages /tmp/*_messages* >&2; die "$*"; }; }
# Jobs of root run, and what happens to a host is told at once.
sed -e "s|^execd_spool_dir .*|execd_spool_dir $S/spool|" -e 's/^min_\(.\)id .*/min_\1id 0/' -e 's|^mailer .*|mailer /bin/true|' \
  -e 's/^load_report_time .*/load_report_time 00:00:01/' $from/default-configuration >"$SGE_ROOT/configuration"
quietly spoolinit classic libspoolc "$S/common;$S/spool/qmaster" init
quietly spooldefaults configuration "$SGE_ROOT/configuration"
quietly spooldefaults complexes "$SGE_ROOT/util/resources/centry"
quietly spooldefaults usersets "$SGE_ROOT/util/resources/usersets"
quietly spooldefaults managers root
directory=$PWD
cd / && quietly sge_qmaster
for ((k = 0; k < 300; k++)); do qconf -sss >"$said" 2>&1 && break; sleep 0.1; done
# A new job is looked at when it comes, and all of them again each second.
qconf -ssconf | sed -e 's/^schedule_interval .*/schedule_interval 0:0:1/' -e 's/^flush_\(.*\)_sec .*/flush_\1_sec 1/' >"$SGE_ROOT/schedule"
quietly qconf -Msconf "$SGE_ROOT/schedule"
quietly qconf -as h0
printf 'group_name @allhosts\nhostlist %s\n' "${HOSTS//,/ }" >"$SGE_ROOT/group"
variables="SGE_ROOT=$SGE_ROOT SGE_CELL=default SGE_QMASTER_PORT=6444 SGE_EXECD_PORT=6445"
for host in ${HOSTS//,/ }; do
  quietly qconf -ah "$host"
  "$RSH" "$host" "$variables $programs/sge_execd" </dev/null >"$SGE_ROOT/execd.$host" 2>&1 &
done
wait
quietly qconf -Ahgrp "$SGE_ROOT/group"
cat >"$SGE_ROOT/environment" <<CONF
pe_name round
slots 999
user_lists NONE
xuser_lists NONE
start_proc_args /bin/true
stop_proc_args /bin/true
allocation_rule \$round_robin
control_slaves TRUE
job_is_first_task FALSE
urgency_slots min
qsort_args NONE
accounting_summary TRUE
CONF
quietly qconf -Ap "$SGE_ROOT/environment"
cat >"$SGE_ROOT/queue" <<CONF
qname all.q
hostlist @allhosts
seq_no 0
load_thresholds NONE
suspend_thresholds NONE
nsuspend 1
suspend_interval 00:05:00
priority 0
min_cpu_interval 00:05:00
processors UNDEFINED
qtype BATCH
ckpt_list NONE
pe_list round
rerun FALSE
slots 2
tmpdir /tmp
shell /bin/sh
prolog NONE
epilog NONE
shell_start_mode posix_compliant
starter_method NONE
suspend_method NONE
resume_method NONE
terminate_method NONE
notify 00:00:60
owner_list NONE
user_lists NONE
xuser_lists NONE
subordinate_list NONE
complex_values NONE
projects NONE
xprojects NONE
calendar NONE
initial_state default
$(for name in rt cpu fsize data stack core rss vmem; do echo "s_$name INFINITY"; echo "h_$name INFINITY"; done)
CONF
quietly qconf -Aq "$SGE_ROOT/queue"
# Until no queue of a host is "unknown".
for ((k = 0; k < 300; k++)); do [ -z "$(qstat -f -qs u 2>&1)" ] && break; sleep 0.1; done
[ -z "$(qstat -f -qs u 2>&1)" ] || { qstat -f >&2; die "the hosts did not come up"; }
cd "$directory" || die "cannot enter $directory"
"$@"
