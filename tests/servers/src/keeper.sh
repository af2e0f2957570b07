# Keeps one server: starts it, prints its process id, and waits for its end.
#
# When the standard input ends, because the program that started us let go of it or is no more, the server is
# ended and its folder removed. That is why this is a process of its own: it outlives whatever happens to its
# parent. A server that ends by itself leaves its folder; the exit code is the server's.
#
# usage: keeper.sh FOLDER SIGNAL COMMAND…; COMMAND has to stay one process and lead a process group.
folder=$1 signal=$2
shift 2
exec 3<&0
"$@" </dev/null 3<&- >>"$folder/log" 2>&1 &
server=$!
# The reader may be gone by now, and the server has to end all the same.
trap '' PIPE
echo "$server"
exec >/dev/null 2>&1

# PostgreSQL's processes lead groups of their own, so the group is not all of them.
children() {
    sed -n "s/^\([0-9]*\) (.*) [A-Za-z] $server .*/\1/p" /proc/[0-9]*/stat
}

{
    read -r _ <&3
    : >"$folder/ending"
    all="$server $(children)"
    # PostgreSQL itself waits five seconds for a process whose client says nothing.
    patience=100
    kill -s "$signal" -- "-$server" || kill -s "$signal" "$server"
    kill -s CONT $all
    while kill -0 "$server"; do
        [ "$patience" -gt 0 ] || kill -s KILL $all
        patience=$((patience - 1))
        sleep 0.1
    done
} &
watcher=$!

wait "$server"
status=$?
if [ -e "$folder/ending" ]; then
    wait "$watcher"
    # A child may take a moment longer, and write.
    patience=50
    until rm -rf "$folder" || [ "$patience" -eq 0 ]; do
        patience=$((patience - 1))
        sleep 0.1
    done
else
    kill "$watcher"
fi
exit "$status"
