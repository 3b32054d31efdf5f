#!/bin/bash
# Runs a command on a small HTCondor of its own: condor.sh COMMAND [ARG...], as the command of up.sh, whose hosts run its jobs.
# The collector, the negotiator and the queue are on h0; each host has 2 slots of one
# CPU, and one of 2 CPUs for jobs that want them. Needs Debian's condor (from Debian 13 on).
# HTCondor runs no jobs of root's: it all, and COMMAND, is run by the user "tester" of user namespaces, who outside is root.
set -u
die() { echo "condor.sh: $*" >&2; exit 99; }
command -v condor_master >/dev/null || die "there is no condor_master"
C=$NET/condor; mkdir -p "$C"
printf 'root:x:0:0::/root:/bin/sh\ntester:x:1000:1000::%s:/bin/sh\n' "${HOME:-/root}" >"$C/passwd"
printf 'root:x:0:\ntester:x:1000:\n' >"$C/group"
see="mount --bind $C/passwd /etc/passwd && mount --bind $C/group /etc/group"
for host in ${HOSTS//,/ }; do "$RSH" "$host" "$see" </dev/null || die "cannot mount on $host"; done
eval "$see" || die "cannot mount"
export CONDOR_CONFIG=$C/config
cat >"$CONDOR_CONFIG" <<CONF
RELEASE_DIR = /usr
LOCAL_DIR = $C/\$(HOSTNAME)
RUN = \$(LOCAL_DIR)
LOG = \$(LOCAL_DIR)
LOCK = \$(LOCAL_DIR)
SPOOL = \$(LOCAL_DIR)/spool
EXECUTE = \$(LOCAL_DIR)/execute
BIN = /usr/bin
SBIN = /usr/sbin
LIB = /usr/lib/condor
LIBEXEC = /usr/libexec/condor
CONDOR_HOST = h0
COLLECTOR_NAME = small
LOCAL_CONFIG_FILE = $C/\$(HOSTNAME)/config
UID_DOMAIN = small
FILESYSTEM_DOMAIN = small
TRUST_UID_DOMAIN = True
SEC_DEFAULT_AUTHENTICATION = OPTIONAL
SEC_DEFAULT_AUTHENTICATION_METHODS = FS, CLAIMTOBE
SEC_CLIENT_AUTHENTICATION_METHODS = FS, CLAIMTOBE
SEC_DEFAULT_ENCRYPTION = OPTIONAL
SEC_DEFAULT_INTEGRITY = OPTIONAL
ALLOW_READ = *
ALLOW_WRITE = *
ALLOW_DAEMON = *
ALLOW_NEGOTIATOR = *
ALLOW_ADMINISTRATOR = *
ALLOW_ADVERTISE_STARTD = *
ALLOW_ADVERTISE_SCHEDD = *
ALLOW_ADVERTISE_MASTER = *
NUM_CPUS = 4
MEMORY = 2000
NUM_SLOTS = 3
NUM_SLOTS_TYPE_1 = 2
SLOT_TYPE_1 = 1/4
NUM_SLOTS_TYPE_2 = 1
SLOT_TYPE_2 = 1/2
SLOT_TYPE_2_START = TARGET.RequestCpus > 1
START = True
SUSPEND = False
PREEMPT = False
KILL = False
RUNBENCHMARKS = False
UPDATE_INTERVAL = 2
NEGOTIATOR_INTERVAL = 1
NEGOTIATOR_MIN_INTERVAL = 1
NEGOTIATOR_CYCLE_DELAY = 1
SCHEDD_INTERVAL = 1
SCHEDD_MIN_INTERVAL = 1
ENABLE_KERNEL_TUNING = False
DISCARD_SESSION_KEYRING_ON_STARTUP = False
USE_PID_NAMESPACES = False
CREATE_CGROUP_WITHOUT_ROOT = False
# For the parallel universe.
DedicatedScheduler = "DedicatedScheduler@tester@h0"
STARTD_ATTRS = \$(STARTD_ATTRS), DedicatedScheduler
CONF
as="unshare --user --map-user=1000 --map-group=1000 --"
for host in h0 ${HOSTS//,/ }; do
  mkdir -p "$C/$host/spool" "$C/$host/execute"
  runs=STARTD; [ "$host" != h0 ] || runs="COLLECTOR, NEGOTIATOR, SCHEDD"
  echo "DAEMON_LIST = MASTER, $runs" >"$C/$host/config"
  if [ "$host" = h0 ]; then $as condor_master
  else "$RSH" "$host" "CONDOR_CONFIG=$CONDOR_CONFIG $as /usr/sbin/condor_master" </dev/null
  fi || { cat "$C/$host"/*Log >&2; die "condor_master does not start on $host"; }
done
up() { [ "$(condor_status -af Name 2>/dev/null | wc -l)" -ge "$1" ]; }
n=$((3 * $(tr , '\n' <<<"$HOSTS" | wc -l)))
for ((k = 0; k < 300; k++)); do up $n && break; sleep 0.1; done
up $n || { condor_status >&2; tail -5 "$C"/*/*Log >&2; die "the hosts did not come up"; }
export USER=tester LOGNAME=tester
$as "$@"
