#!/bin/sh
# Makes the deb and the rpm for each architecture, as Go names them, in DIR:
# sh packaging/linux.sh VERSION EPOCH DIR ARCH...
set -eu
cd "$(dirname "$0")/.."
export VERSION="$1" SOURCE_DATE_EPOCH="$2"
dir=$3
shift 3
sh packaging/generate.sh "$VERSION" "$SOURCE_DATE_EPOCH"
mkdir -p "$dir"
for ARCH in "$@"; do
    export ARCH
    CGO_ENABLED=0 GOOS=linux GOARCH=$ARCH go build -trimpath -buildvcs=false -ldflags "-s -w" \
        -o build/linux/ ./cmd/...
    for format in deb rpm; do
        go tool -modfile=packaging/nfpm.mod nfpm package -f packaging/nfpm.yaml -p $format -t "$dir"
    done
done
