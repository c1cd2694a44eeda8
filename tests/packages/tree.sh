#!/bin/sh
# tree.sh RELEASE FOLDER: a fresh Debian, as small as one with systemd is. What Redis and dcached need there is
# fetched and not installed: apt finds it without a network. A folder that is there already is taken as it is.
set -eu
release=$1
folder=$2
part=$folder.part

[ ! -d "$folder" ] || exit 0
rm -rf "$part"
mkdir -p "$part"
debootstrap --variant=minbase --include=systemd-sysv "$release" "$part" >"$folder.log" 2>&1 || {
    tail -n 20 "$folder.log"
    exit 1
}
[ -e "$part/etc/hosts" ] || printf '127.0.0.1 localhost\n::1 localhost ip6-localhost\n' >"$part/etc/hosts"
chroot "$part" sh -ec '
    apt-get clean
    apt-get -qq update
    apt-get -qq install --no-install-recommends --download-only redis-server libhiredis-dev libinih-dev \
        libmicrohttpd-dev libuv1-dev' >>"$folder.log" 2>&1
mv "$part" "$folder"
