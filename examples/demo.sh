#!/usr/bin/env bash
# A server of its own on free ports for the length of this script, and what one asks of it: `make demo`.
set -euo pipefail
cd "$(dirname "$0")"

show() { # a command as one would type it, then what it prints
  local word
  printf '\n$'
  for word in "$@"; do
    [[ $word != *' '* ]] || word="'$word'"
    printf ' %s' "$word"
  done
  printf '\n'
  "$@"
}

fetch() { # what one would use curl for, which is not everywhere
  python -c 'import sys, urllib.request; sys.stdout.write(urllib.request.urlopen(sys.argv[1]).read().decode())' "$1"
}

read -r port admin_port http_port < <(python -c '
import socket
open_sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(3)]
print(*(each.getsockname()[1] for each in open_sockets))')
target=localhost:$port

log=$(mktemp)
echo "Starting a server on $target, metrics on localhost:$http_port ..."
gatehouse serve --port "$port" --admin-port "$admin_port" --http-port "$http_port" >"$log" 2>&1 &
server=$!
stop() {
  kill "$server" 2>/dev/null || true
  wait "$server" || true
  rm -f "$log"
}
trap stop EXIT

until fetch "http://localhost:$http_port/readyz" >/dev/null 2>&1; do
  kill -0 "$server" 2>/dev/null || { echo "The server did not start. It said:" >&2; cat "$log" >&2; exit 1; }
  sleep 0.2
done

show gatehouse models list --target "$target"
show gatehouse suggest 'how are you do' --target "$target"
show gatehouse suggest 'I would like to ' --json --target "$target"
show gatehouse sessions list --admin-target "localhost:$admin_port"
show gatehouse classify documents.jsonl -k 2 --target "$target"
show gatehouse evaluate keyboard sentences.txt --target "$target"
show gatehouse evaluate topics documents.jsonl --target "$target"

series='gatehouse_(request|online_compute|offline_compute)_seconds_(sum|count)'
printf '\n$ curl -s localhost:%s/metrics | grep -E "%s"\n' "$http_port" "$series"
fetch "http://localhost:$http_port/metrics" | grep -E "^$series"

printf '\nStopping the server ... '
kill "$server"
wait "$server" && status=0 || status=$?
echo "it drained and left with status $status."
exit "$status"
