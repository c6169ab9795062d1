# Runs the Go tests, with the race detector where a C compiler lets it. Those that may run side by side mostly wait: for uv, for a clock.
# Where one fails, the last lines say in short which and why: a log may be cut off at its beginning.
set -eu
lacks() {
    echo "$1"
    [ -z "${CI:-}" ] || exit 1
}
dir=$(mktemp -d)
trap 'rm -rf "$dir"' EXIT
python3 testdata/tools/conda_channel.py >/dev/null 2>"$dir/channel" & # made once, while the compiler works
channel=$!
[ "$(id -u)" = 0 ] && testdata/tools/with-systemd-user true 2>"$dir/systemd" ||
    lacks "no systemd, or not root: the tests of a real service are skipped"
race=
if CGO_ENABLED=1 go build -race -o /dev/null ./testdata/hasrace 2>/dev/null; then
    race=-race
else
    lacks "no C compiler: the Go tests run without -race"
fi
wait $channel || {
    [ -z "${CI:-}" ] || cat "$dir/channel"
    lacks "$(tail -n 1 "$dir/channel"): the tests that need one are skipped"
}
{ code=0; go test -tags e2e $race -parallel 3 -timeout 20m "$@" ./... || code=$?; echo "$code" >"$dir/code"; } | tee "$dir/out"
code=$(cat "$dir/code")
[ "$code" = 0 ] || awk '
    function show(line) { if (lines++ < 40) print substr(line, 1, 300) }
    BEGIN { print "\nFailed:" }
    /^ *--- (PASS|SKIP): / { of = 0 }
    /^ *--- FAIL: / { of = 1; told = 0; if (!seen[$3]++) show("  " $3) }
    /^(ok|FAIL)[ \t]+[^ \t]/ { of = 0; if ($1 == "FAIL") show($0); split("", seen) }
    /^(panic|fatal error): |^ *WARNING: DATA RACE/ { show("    " $0) }
    # what a test says of itself, and no command that it ran; what ran within it says the same twice
    of && (/^ *[A-Za-z0-9_]+\.go:[0-9]+: / && !/\.go:[0-9]+: (\$ |=== RUN )/ || /^ +FAIL: /) {
        sub(/^ +/, "")
        if (!seen[$0]++ && told++ < 5) show("    " $0)
    }' "$dir/out"
exit "$code"
