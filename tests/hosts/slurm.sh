#!/bin/bash
# Runs a command on a small Slurm of its own: slurm.sh COMMAND [ARG...], as the command of up.sh, whose hosts are its nodes.
# The controller is on h0; each node claims 4 CPUs. Needs Debian's slurmctld, slurmd, slurm-client and munge.
set -u
die() { echo "slurm.sh: $*" >&2; exit 99; }
S=$NET/slurm; mkdir -p "$S/state"
export SLURM_CONF=$S/slurm.conf PATH=$PATH:/usr/sbin
n=$(tr , '\n' <<<"$HOSTS" | wc -l)
cat >"$SLURM_CONF" <<CONF
ClusterName=small
SlurmctldHost=h0
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
CredType=cred/munge
StateSaveLocation=$S/state
SlurmdSpoolDir=/run/slurmd
SlurmctldPidFile=/run/slurmctld.pid
SlurmdPidFile=/run/slurmd.pid
SlurmctldLogFile=$S/slurmctld.log
SlurmdLogFile=$S/slurmd.%n.log
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
SlurmdParameters=config_overrides
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
MpiDefault=none
ReturnToService=2
InactiveLimit=0
KillWait=2
SlurmdTimeout=30
NodeName=h[1-$n] CPUs=4 RealMemory=1000 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
CONF
dd if=/dev/urandom of="$S/munge.key" bs=1 count=128 status=none; chmod 400 "$S/munge.key"
munge="/usr/sbin/munged --force --key-file=$S/munge.key --socket=/run/munge/munge.socket.2 --pid-file=/run/munge/munged.pid \
--seed-file=/run/munge/seed --log-file=/run/munge/munged.log"
$munge || die "munged does not start"
slurmctld -f "$SLURM_CONF" || die "slurmctld does not start"
for ((i = 1; i <= n; i++)); do
  "$RSH" "h$i" "$munge && /usr/sbin/slurmd -f $SLURM_CONF -N h$i" </dev/null || die "slurmd of h$i does not start"
done
for ((k = 0; k < 600; k++)); do
  [ "$(sinfo -h -t idle -o %D 2>/dev/null)" = "$n" ] && break; sleep 0.1
done
[ "$(sinfo -h -t idle -o %D)" = "$n" ] || { sinfo >&2; tail -5 "$S"/*.log >&2; die "the nodes did not come up"; }
"$@"
