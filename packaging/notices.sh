#!/bin/sh
# Prints the licences of what is linked in, which ask for their text to go with every copy: of all platforms, since each
# links something else.
set -eu
cd "$(dirname "$0")/.."
modules=$(for os in linux darwin windows; do
    GOOS=$os CGO_ENABLED=0 go list -deps \
        -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/... || exit 1
done)
echo "runtimed contains the work of others, under the licences below."
printf '\n==== the Go standard library and runtime\n\n'
cat "$(go env GOROOT)/LICENSE"
echo "$modules" | LC_ALL=C sort -u | while read -r path at dir; do
    printf '\n==== %s %s\n' "$path" "$at"
    found=
    for file in "$dir"/LICEN[SC]E* "$dir"/COPYING* "$dir"/NOTICE* "$dir"/PATENTS*; do
        [ -f "$file" ] || continue
        found=1
        echo
        cat "$file"
    done
    [ -n "$found" ] || {
        echo "$path has no licence file" >&2
        exit 1
    }
done
