#!/bin/sh
# enter.sh FRESH COMMAND...: runs ./dev COMMAND as root in FRESH.work, which begins as a copy of the tree FRESH, and
# where the files whose names come by standard input, each ending with a zero byte, become /root/dcached.
set -eu
fresh=$1
shift
root=$fresh.work
home=$root/root/dcached
trees=$home/build-trees

if [ ! -d "$root" ]; then
    rm -rf "$root.part"
    cp -a "$fresh" "$root.part"
    mv "$root.part" "$root"
fi
mkdir -p "$home" "$trees/$(basename "$fresh")"
find "$home" -mindepth 1 -maxdepth 1 ! -name 'build*' -exec rm -rf {} +
xargs -0 cp --parents -t "$home"

# Processes of its own, which end with this one; the network is that of this machine.
exec setpriv --pdeathsig KILL unshare --mount --pid --fork --kill-child sh -euc '
    fresh=$1 root=$2
    shift 2
    mount --make-rprivate /
    mount --bind "$root" "$root"
    mount -t proc proc "$root/proc"
    mount --rbind /sys "$root/sys"
    mount --rbind /dev "$root/dev"
    mount -t tmpfs -o mode=755 tmpfs "$root/run"
    mount -t tmpfs -o mode=1777 tmpfs "$root/tmp"
    mount --bind "$fresh" "$root/root/dcached/build-trees/$(basename "$fresh")"
    mkdir "$root/run/old"
    cd "$root"
    pivot_root . run/old
    cd /root/dcached
    umount -l /run/old
    rmdir /run/old
    exec env -u TMPDIR HOME=/root LANG=C.UTF-8 PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin \
        ./dev "$@"' sh "$fresh" "$root" "$@" </dev/null
