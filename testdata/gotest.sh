# Runs the Go tests, with the race detector where a C compiler lets it. Those that may run side by side mostly wait: for uv, for a clock.
set -eu
if CGO_ENABLED=1 go build -race -o /dev/null ./testdata/hasrace 2>/dev/null; then
    exec go test -race -parallel 4 -timeout 20m "$@" ./...
fi
echo "no C compiler: the Go tests run without -race"
[ -z "${CI:-}" ] || exit 1
exec go test -parallel 4 -timeout 20m "$@" ./...
