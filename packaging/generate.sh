#!/bin/sh
# Writes what packages and archives hold beside the programs, into build/share: man pages, completion, the notices.
# sh packaging/generate.sh VERSION EPOCH
set -eu
cd "$(dirname "$0")/.."
version=$1
export SOURCE_DATE_EPOCH="$2" # the date in the man pages: the same source gives the same bytes
out=build/share
case $version in
*-dev*) ;; # a snapshot
*)
    clients=$(go run ./packaging -version)
    [ "$version" = "$clients" ] || {
        echo "this release is $version, and the clients are $clients: give them one version" >&2
        exit 1
    }
    ;;
esac
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

sh packaging/notices.sh >$out/NOTICES
gzip -9n <$out/NOTICES >$out/NOTICES.gz
