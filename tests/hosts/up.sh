#!/bin/bash
# Runs a command on a network of small "hosts" made of Linux namespaces, and takes it all away when the command ends.
#
#   up.sh HOSTS COMMAND [ARG...]
#
# The command runs on the host h0. h1 ... hN have networks (10.77.0.0/24, joined by a bridge on h0 with the ports port1 ...
# portN), names, boot ids, processes, /dev/shm, /run and /tmp of their own; all else they share. It finds:
#   HOSTS  h1,...,hN
#   RSH    a remote shell ("$RSH h1 command"); it speaks TCP over that network, so that a cut cable cuts it, too
#   NET    a folder with hN.pid, the number of the host's first process as h0 sees it: its end is the end of the host
# All hosts see usr of the folder UNPACKED, if that is set, as part of their /usr: programs that are not installed here.
# Needs root, iproute2, util-linux and python3.
set -u
here=$(dirname "$(readlink -f "$0")")
if [ "${1-}" != --inside ]; then
  exec unshare --fork --kill-child --pid --mount --net --uts --ipc --propagation private -- bash "$here/up.sh" --inside "$@"
fi
die() { echo "up.sh: $*" >&2; exit 99; }
n=$2; shift 2
directory=$PWD; case $directory in /tmp/*) die "the working directory must not lie under /tmp";; esac
mount -t tmpfs -o mode=755 hosts /mnt || die "cannot mount"
export NET=/mnt/net PYTHON=${PYTHON:-python3} SCRIPTS=$here; mkdir $NET
mount -t proc proc /proc && mount -t tmpfs -o mode=1777 tmp /tmp && mount -t tmpfs -o mode=1777 shm /dev/shm || die "cannot mount"
mount -t tmpfs -o mode=755 run /run
[ -z "${UNPACKED-}" ] || mount -t overlay -o "lowerdir=$UNPACKED/usr:/usr" usr /usr || die "cannot mount"
{ echo "127.0.0.1 localhost"; for ((i = 0; i <= n; i++)); do echo "10.77.0.$((i + 1)) h$i"; done; } >$NET/hosts
mount --bind $NET/hosts /etc/hosts || die "cannot mount"
hostname h0; ip link set lo up
# UCX does not take a bridge for an interface: h0 has one of its own, as the others.
ip link add switch type bridge && ip link set switch up && ip link add port0 type veth peer name eth0 &&
  ip link set port0 master switch up && ip addr add 10.77.0.1/24 dev eth0 && ip link set eth0 up || die "no bridge"
boot() { cat /proc/sys/kernel/random/uuid >"$NET/boot.$1" && mount --bind "$NET/boot.$1" /proc/sys/kernel/random/boot_id; }
export -f boot
for ((i = 1; i <= n; i++)); do
  unshare --fork --kill-child --pid --mount --net --uts --ipc --propagation private -- bash -c '
    mount -t proc proc /proc && mount -t tmpfs -o mode=1777 tmp /tmp && mount -t tmpfs -o mode=1777 shm /dev/shm || exit
    mount -t tmpfs -o mode=755 run /run; mkdir -m 755 /run/lock /run/munge
    boot "h$0"; hostname "h$0"; ip link set lo up
    exec "$PYTHON" "$SCRIPTS/rsh.py" serve "$NET/h$0.up"' "$i" &
  shell=$!
  for ((k = 0; k < 1000; k++)); do [ -e $NET/h$i.up ] && break; sleep 0.01; done
  [ -e $NET/h$i.up ] || die "host h$i did not start"
  pid=$(tr -d ' ' <"/proc/$shell/task/$shell/children"); echo "$pid" >$NET/h$i.pid
  ip link add "port$i" type veth peer name eth0 netns "$pid" && ip link set "port$i" master switch up &&
    nsenter -t "$pid" -n ip addr add "10.77.0.$((i + 1))/24" dev eth0 && nsenter -t "$pid" -n ip link set eth0 up ||
    die "no network"
done
boot h0; mkdir -p /run/lock /run/munge
printf '#!/bin/sh\nexec %s %s "$@"\n' "$PYTHON" "$SCRIPTS/rsh.py" >$NET/rsh; chmod 755 $NET/rsh
HOSTS=$(seq -s, -f 'h%g' 1 "$n"); export HOSTS RSH=$NET/rsh
cd "$directory" || die "cannot enter $directory"
"$@"
exit $?  # the end of this process is the end of every process on every host
