#!/bin/sh
# A stand-in for uv. It does as the files beside it say: fail.STEP holds what it prints to stderr before it fails at that step.
here=$(dirname "$0")
{ echo "$*"; } >> "$here/calls"
env > "$here/env"
pwd > "$here/cwd"

fail() {
	for step; do
		if [ -e "$here/fail.$step" ]; then cat "$here/fail.$step" >&2; exit 2; fi
	done
}
last() { for l; do :; done; echo "$l"; }

case "$1 $2" in
"python list")
	fail list
	cat "$here/pythons" ;;
"python install")
	fail install
	mv "$here/pythons.fetched" "$here/pythons" ;;
"pip compile")
	fail compile
	case "$*" in
	*--offline*) fail compile.offline; [ -n "$RUST_LOG" ] && [ -e "$here/warn.offline" ] && cat "$here/warn.offline" >&2; version=1 ;;
	*) fail compile.online; version=2 ;;
	esac
	while [ "$1" != --output-file ]; do shift; done
	out=$2
	[ -s "$out" ] && cp "$out" "$here/preferred"
	for l; do case $l in *.in) in=$l ;; esac; done
	{ cat "$in"; echo "# resolved $version"; } > "$out" ;;
venv*)
	fail venv
	[ -e "$here/venv.nothing" ] && exit 0
	dir=$(last "$@")
	mkdir -p "$dir/bin" "$dir/lib/python3.13/site-packages"
	echo "home = $here" > "$dir/pyvenv.cfg"
	cp "$here/python" "$dir/bin/python" ;;
"pip sync")
	case "$*" in
	*--offline*) fail offline ;;
	*--reinstall*) fail reinstall ;;
	*) fail online ;;
	esac
	[ -e "$here/sync.nothing" ] && exit 0
	site=$(dirname "$(dirname "$4")")/lib/python3.13/site-packages
	mkdir -p "$site/ipykernel" "$site/zmq" "$site/ipykernel-7.4.dist-info" "$site/pyzmq-27.1.dist-info" "$site/Some.Thing-1.0rc1.dist-info"
	echo 1 > "$site/ipykernel/__init__.py"
	echo 1 > "$site/zmq/x.so"
	printf 'ipykernel/__init__.py,sha256=x,2\n"../../../bin/a,b",,\nipykernel-7.4.dist-info/RECORD,,\n' > "$site/ipykernel-7.4.dist-info/RECORD"
	printf 'zmq/x.so,sha256=x,2\n' > "$site/pyzmq-27.1.dist-info/RECORD"
	: > "$site/Some.Thing-1.0rc1.dist-info/RECORD"
	[ -e "$here/sync.torn" ] && : > "$site/zmq/x.so"
	[ -e "$here/sync.then" ] && . "$here/sync.then"
	exit 0 ;;
esac
