#!/bin/sh
# docker, whose `run` returns when a node of kind has started. kind gives a node 30 seconds for that after `docker run`, and an emulated machine
# takes longer.
set -eu
PATH=${PATH#"$(dirname "$0"):"}
case "$1 $*" in
"run "*io.x-k8s.kind.role=*) ;;
*) exec docker "$@" ;;
esac
node=$(docker "$@")
echo "$node"
until docker logs "$node" 2>&1 | grep -q 'Reached target .*Multi-User System'; do
    # kind says what became of one that has ended.
    [ "$(docker inspect --format '{{.State.Running}}' "$node")" = true ] || exit 0
    sleep 2
done
