# Runs a server that outlives nobody: when standard input ends, because it was closed or because the process that holds the
# other end is no more, the server is killed. Prints the server's process id, then ends with the server's status.
exec 3<&0
"$@" 3<&- </dev/null >&2 &
server=$!
echo "$server"
{ read -r _ <&3; kill -KILL "$server"; } 2>/dev/null &
watcher=$!
wait "$server"
status=$?
kill "$watcher" 2>/dev/null
exit "$status"
