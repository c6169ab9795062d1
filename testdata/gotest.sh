# Runs the Go tests, with the race detector where a C compiler lets it.
set -eu
if CGO_ENABLED=1 go build -race -o /dev/null ./testdata/hasrace 2>/dev/null; then
    exec go test -race -timeout 15m "$@" ./...
fi
echo "no C compiler: the Go tests run without -race"
[ -z "${CI:-}" ] || exit 1
exec go test -timeout 15m "$@" ./...
