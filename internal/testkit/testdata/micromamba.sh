#!/bin/sh
# A stand-in for micromamba and for mamba 2. It does as the files beside it say: fail.STEP holds what it prints to stderr before it fails
# at that step (solve, offline, online), and fail.STEP.json its answer. What it makes, conda.sh makes.
here=${0%/*}
name=${0##*/}
if [ "$*" = --version ]; then
	[ -e "$here/$name.version" ] && read -r line < "$here/$name.version" || line=2.3.1
	[ "$line" != none ] || { echo "$name: command not found in any of these versions: 3.12" >&2; exit 127; }
	echo "$line"
	exit 0
fi
echo "$name $*" >> "$here/calls"
env > "$here/env"
pwd > "$here/cwd"

usage() {
	printf 'The following argument was not expected: %s\nRun with --help for more information.\n' "$1" >&2
	exit 109
}
[ "$1" = create ] || usage "$1"
shift
step=online dir= json= yes= file= specs= channels=
while [ $# -gt 0 ]; do
	case "$1" in
	--no-env | --override-channels | --strict-channel-priority) ;;
	-y) yes=1 ;;
	--json) json=1 ;;
	--offline) step=offline ;;
	-p) dir=$2; shift ;;
	-c) channels=1; shift ;;
	-r | --repodata-ttl | --lock-timeout) shift ;;
	--log-level) [ "$2" = error ] || usage "$2"; shift ;;
	--file) file=$2; shift ;;
	-*) usage "$1" ;;
	*) specs="$specs $1" ;;
	esac
	shift
done
[ -n "$file" ] || step=solve
[ -n "$json" ] && [ -n "$yes" ] && [ -n "$channels" ] && [ -n "$file$specs" ] || usage nothing
if [ -e "$dir" ]; then
	printf 'error    libmamba Non-conda folder exists at prefix\ncritical libmamba Aborting.\n' >&2
	exit 1
fi
if [ -e "$here/fail.$step" ]; then
	mkdir -p "$dir/half"
	cat "$here/fail.$step" >&2
	[ ! -e "$here/fail.$step.json" ] || cat "$here/fail.$step.json"
	exit 1
fi
if [ -e "$here/interrupted" ]; then # as seen: it ends well
	mkdir -p "$dir/conda-meta"
	exit 0
fi
sh "$here/conda.sh" prefix "$dir" "$file" || { echo "critical libmamba Not an explicit list" >&2; exit 1; }
printf '{\n    "actions": {\n        "FETCH": [],\n        "LINK": [],\n        "PREFIX": "%s"\n    },\n    "dry_run": false,\n    "prefix": "%s",\n    "success": true\n}\n' "$dir" "$dir"
