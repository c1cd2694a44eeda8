#!/usr/bin/env bash
# Runs a command as a container of a pod would: process 1 of its own, with a root of its own that is read-only and
# has no /run, /tmp, /var or /etc/passwd, a user without a name, no capability, no way to gain any, and a filter of
# system calls. Called in mount and process namespaces of its own:
#
#     pod_root.sh ROOT BUILD SOCKETS SECRET UID GID GROUPS COMMAND...
#
# BUILD is seen as /build, SECRET as /secret, SOCKETS as /pod, and writable unless it ends in ":ro".
set -euo pipefail
root=$1 build=$2 sockets=$3 secret=$4 uid=$5 gid=$6 groups=$7
shift 7

mount -t tmpfs -o mode=755,size=1m none "$root"
for name in usr bin sbin lib lib64; do
    if [ -L "/$name" ]; then
        cp -P "/$name" "$root/$name"
    elif [ -d "/$name" ]; then
        mkdir "$root/$name"
        mount --bind "/$name" "$root/$name"
        mount -o remount,bind,ro "$root/$name"
    fi
done
mkdir "$root/dev" "$root/proc" "$root/build" "$root/pod" "$root/secret"
for name in null urandom; do
    touch "$root/dev/$name"
    mount --bind "/dev/$name" "$root/dev/$name"
done
mount -t proc -o nosuid,nodev,noexec proc "$root/proc"
mount --bind "$build" "$root/build"
mount -o remount,bind,ro "$root/build"
mount --bind "${sockets%:ro}" "$root/pod"
[ "$sockets" = "${sockets%:ro}" ] || mount -o remount,bind,ro "$root/pod"
mount --bind "$secret" "$root/secret"
mount -o remount,bind,ro "$root/secret"
mount -o remount,ro "$root"
exec chroot "$root" /usr/bin/setpriv --reuid "$uid" --regid "$gid" --groups "$groups" --no-new-privs \
    --bounding-set -all --inh-caps -all /build/tests/integration/pod_seccomp "$@"
