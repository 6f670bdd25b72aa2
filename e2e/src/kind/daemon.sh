# Process 1 of the lab's processes. It takes in what containers leave behind, and when it ends the kernel ends all of them, and
# with them their mounts and networks. A daemon of this machine's own is not to be found from here.
for other in /run/containerd /run/docker; do
    if [ -d "$other" ]; then mount -t tmpfs tmpfs "$other"; fi
done
dockerd --config-file "$1" &
wait $!
