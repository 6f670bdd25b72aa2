#!/bin/sh
# debian.sh SUITE DIRECTORY PACKAGES: a root file system with these packages and only the services that a node of kind runs.
set -eu
suite=$1 root=$2 packages=$3
# The mirror that apt uses here, where it knows the suite; else debootstrap's own.
mirror=$(apt-get indextargets --format '$(REPO_URI)' 'Created-By: Packages' 'Label: Debian' "Codename: $suite" 2>/dev/null | head -n 1)
# shellcheck disable=SC2086 # no mirror is no argument
debootstrap --variant=minbase --include="$packages" "$suite" "$root" $mirror
cd "$root"
rm -rf var/cache/apt/* var/lib/apt/lists/* var/log/* usr/share/doc/* usr/share/man/* usr/share/locale/* usr/share/info/*
rm -f lib/systemd/system/multi-user.target.wants/* etc/systemd/system/*.wants/* lib/systemd/system/local-fs.target.wants/* \
    lib/systemd/system/sockets.target.wants/*udev* lib/systemd/system/sockets.target.wants/*initctl* \
    lib/systemd/system/basic.target.wants/* lib/systemd/system/sysinit.target.wants/systemd-tmpfiles-setup.service
echo ReadKMsg=no >>etc/systemd/journald.conf
ln -sfn /usr/lib/systemd/systemd sbin/init
