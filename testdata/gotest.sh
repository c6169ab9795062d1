# Runs the Go tests, with the race detector where a C compiler lets it. Those that may run side by side mostly wait: for uv, for a clock.
set -eu
lacks() {
    echo "$1"
    [ -z "${CI:-}" ] || exit 1
}
command -v strip >/dev/null || lacks "no strip: the tests that need a real conda channel are skipped"
command -v systemctl >/dev/null && command -v dbus-daemon >/dev/null && [ "$(id -u)" = 0 ] ||
    lacks "no systemd, or not root: the tests of a real service are skipped"
if CGO_ENABLED=1 go build -race -o /dev/null ./testdata/hasrace 2>/dev/null; then
    exec go test -race -parallel 4 -timeout 20m "$@" ./...
fi
lacks "no C compiler: the Go tests run without -race"
exec go test -parallel 4 -timeout 20m "$@" ./...
