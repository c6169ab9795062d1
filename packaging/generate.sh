#!/bin/sh
# Writes the man pages, completion and notices that packages and archives hold, in build/share:
# sh packaging/generate.sh VERSION EPOCH
set -eu
cd "$(dirname "$0")/.."
version=$1
export SOURCE_DATE_EPOCH="$2" # the date in the man pages: the same source gives the same bytes
out=build/share
written=$(go run ./packaging -version)
[ "$version" = "$written" ] || {
    echo "this release is $version, and its source says $written: give them one version" >&2
    exit 1
}
rm -rf build
mkdir -p $out/man.gz $out/completion

CGO_ENABLED=0 go build -o build/bin/ ./cmd/...
python3 packaging/man.py build/bin $out/man
for page in "$out"/man/*; do
    gzip -9n <"$page" >"$out/man.gz/${page##*/}.gz" # packages want them compressed, archives and Homebrew do not
done
for shell in bash zsh fish; do
    build/bin/runt completion $shell >$out/completion/runt.$shell
done
build/bin/runt completion powershell >$out/completion/runt.ps1

sh packaging/notices.sh >$out/NOTICES
gzip -9n <$out/NOTICES >$out/NOTICES.gz
