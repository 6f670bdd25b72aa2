#!/bin/busybox sh
# PID 1 of a guest. In the initramfs: modules, then the host's root (9p, read-only) under an overlay in memory.
# After switch_root: what a booted system has, then the command by way of `sluice-vm guest`.

BB=/bin/busybox
TAB=$(printf '\t')

die() {
	echo "sluice-vm: $*" >/dev/console
	$BB poweroff -f
}

# overlay LOWER NAME TARGET: LOWER, with changes kept in memory, at TARGET
overlay() {
	$BB mkdir -p "/memory/$2/upper" "/memory/$2/work" "$3"
	$BB mount -t overlay -o "lowerdir=$1,upperdir=/memory/$2/upper,workdir=/memory/$2/work" "$2" "$3"
}

p9() {
	$BB mount -t 9p -o "trans=virtio,version=9p2000.L,msize=512000,$1" "$2" "$3"
}

in_initramfs() {
	$BB mkdir -p /proc /sys /dev /host /memory /root
	$BB mount -t proc proc /proc
	$BB mount -t sysfs sysfs /sys
	$BB mount -t devtmpfs devtmpfs /dev
	while read -r module; do
		$BB insmod "/modules/$module" || die "cannot load $module"
	done <boot-modules
	p9 ro,cache=loose root /host || die "cannot mount the host's root"
	$BB mount -t tmpfs -o mode=755,size=90% memory /memory
	overlay /host root /root || die "cannot make the overlay of the root"
	$BB mount -t tmpfs -o mode=755 run /root/run
	$BB mount -t tmpfs -o mode=1777 tmp /root/tmp
	$BB mkdir -p /root/run/sluice-vm /root/run/lock /root/run/netns
	$BB cp -r /bin/busybox /init /job.json /agent /load /disks /root/run/sluice-vm/
	$BB mount --move /dev /root/dev
	$BB mkdir -p /root/dev/shm /root/dev/pts
	$BB mount -t tmpfs -o mode=1777 shm /root/dev/shm
	n=0
	while IFS=$TAB read -r host guest; do
		n=$((n + 1))
		overlay "/host$host" "share$n" "/root$guest" || die "cannot show $host at $guest"
	done <shares
	while IFS=$TAB read -r tag guest; do
		$BB mkdir -p "/root$guest"
		p9 rw,cache=mmap "$tag" "/root$guest" || die "cannot mount the share $guest"
	done <writable-shares
	$BB mount --move /proc /root/proc
	$BB mount --move /sys /root/sys
	exec $BB switch_root /root /run/sluice-vm/busybox sh /run/sluice-vm/init booted
}

booted() {
	cd /run/sluice-vm || die "no /run/sluice-vm"
	BB=/run/sluice-vm/busybox
	export PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
	$BB mount -t devpts -o mode=620,ptmxmode=666 devpts /dev/pts
	$BB ln -s /proc/self/fd /dev/fd
	$BB ln -s fd/0 /dev/stdin
	$BB ln -s fd/1 /dev/stdout
	$BB ln -s fd/2 /dev/stderr
	$BB mount -t cgroup2 cgroup2 /sys/fs/cgroup
	$BB hostname sluice-vm
	$BB ip link set lo up
	while read -r module; do
		[ -z "$module" ] || modprobe "$module" 2>modprobe.log || die "cannot load the module $module: $($BB cat modprobe.log)"
	done <load
	while IFS=$TAB read -r disk guest; do
		$BB mkdir -p "$guest"
		$BB mount -t ext4 "/dev/$disk" "$guest" || die "cannot mount the disk $guest"
	done <disks
	"$($BB cat agent)" guest </dev/null >/dev/console 2>&1
	die "the guest side ended with status $?"
}

if [ "$1" = booted ]; then booted; else in_initramfs; fi
