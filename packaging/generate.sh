#!/bin/sh
# Writes what packages and archives hold beside the programs, into build/share: man pages, completion, the notices.
# sh packaging/generate.sh VERSION EPOCH
set -eu
cd "$(dirname "$0")/.."
version=$1
export SOURCE_DATE_EPOCH="$2" # the date in the man pages: the same source gives the same bytes
out=build/share
rm -rf build
mkdir -p $out/man $out/man.gz $out/completion

CGO_ENABLED=0 go build -trimpath -ldflags "-X runtimed/rpc.buildVersion=$version" -o build/runt ./cmd/runt
build/runt __man $out/man >/dev/null
for page in "$out"/man/*; do
    gzip -9n <"$page" >"$out/man.gz/${page##*/}.gz" # packages want them so, archives and Homebrew do not
done
for shell in bash zsh fish; do
    build/runt completion $shell >$out/completion/runt.$shell
done
build/runt completion powershell >$out/completion/runt.ps1

# The licences of what is linked in ask for their text to go with every copy. Each platform links its own: all that are released count.
modules=$(for os in linux darwin; do
    GOOS=$os CGO_ENABLED=0 go list -deps -f '{{with .Module}}{{if not .Main}}{{.Path}} {{.Version}} {{.Dir}}{{end}}{{end}}' ./cmd/... || exit 1
done)
{
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
} >$out/NOTICES
gzip -9n <$out/NOTICES >$out/NOTICES.gz
