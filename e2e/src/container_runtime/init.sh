# The first process of a machine that runs containerd, in namespaces of its own: $1 has the machine's files. A containerd that is killed is
# started again, as systemd would.
mount -t tmpfs tmpfs /run && mount --bind "$1/var-lib" /var/lib || exit 1
while :; do
    containerd --config "$1/config.toml"
    sleep 0.1
done
