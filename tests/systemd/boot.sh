#!/bin/sh
# boot.sh BASE LOWER KEPT...: the root file system LOWER with everything written going to memory, and a systemd as
# process 1. Called in namespaces of its own (machine.py). BASE is an empty folder; each KEPT folder is the real
# one, writable.
set -eu
base=$1
lower=$2
shift 2

mount --make-rprivate /
mount -t tmpfs -o mode=755 tmpfs "$base"
mkdir "$base/upper" "$base/work" "$base/root"
mount -t overlay -o "lowerdir=$lower,upperdir=$base/upper,workdir=$base/work" overlay "$base/root"
root=$base/root
# What differs from the real root file system, for whoever looks for residue.
mount --bind "$base/upper" "$root/mnt"

mount -t proc proc "$root/proc"
mount -t sysfs -o ro sysfs "$root/sys"
mount -t cgroup2 cgroup2 "$root/sys/fs/cgroup"
mount -t tmpfs -o mode=755 tmpfs "$root/run"
mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
mount -t tmpfs -o mode=755 tmpfs "$root/dev"
for device in null zero full random urandom tty; do
    : >"$root/dev/$device"
    mount --bind "/dev/$device" "$root/dev/$device"
done
mkdir "$root/dev/pts" "$root/dev/shm"
mount -t devpts -o newinstance,ptmxmode=666 devpts "$root/dev/pts"
mount -t tmpfs -o mode=1777 tmpfs "$root/dev/shm"
ln -s pts/ptmx "$root/dev/ptmx"
ln -s /proc/self/fd "$root/dev/fd"
for kept in "$@"; do
    mkdir -p "$root$kept"
    mount --bind "$kept" "$root$kept"
done

# Not the first boot of a new machine, and nothing happens by itself.
[ -s "$root/etc/machine-id" ] || echo 0123456789abcdef0123456789abcdef >"$root/etc/machine-id"
ln -sf /dev/null "$root/etc/systemd/system/timers.target"
# The journal in memory, whole.
mkdir -p "$root/etc/systemd/journald.conf.d"
printf '[Journal]\nStorage=volatile\nRateLimitBurst=0\nReadKMsg=no\n' \
    >"$root/etc/systemd/journald.conf.d/test.conf"

mkdir "$root/run/old"
cd "$root"
pivot_root . run/old
cd /
umount -l /run/old
rmdir /run/old
# As a container manager leaves it: what systemd mounts for a service (credentials) is made in one namespace and
# seen in another.
mount --make-rshared /
exec env -i container=lxc PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
    /lib/systemd/systemd --unit=basic.target --log-target=journal
