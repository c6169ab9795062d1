#!/bin/sh
# A stand-in for conda, and, called as "conda.sh prefix DIR EXPLICIT", what makes the environments of micromamba's stand-in. It does as
# the files beside it say: fail.STEP holds the JSON that it answers at that step (solve, offline, online) before it fails.
here=${0%/*}

# package NAME VERSION DIR NEEDS FILE...: the record of an installed package whose files are there.
package() {
	name=$1 version=$2 dir=$3 needs=$4
	shift 4
	files= paths=
	for f; do
		files="$files${files:+,}\"$f\""
		paths="$paths${paths:+,}{\"_path\":\"$f\",\"path_type\":\"hardlink\",\"size_in_bytes\":$(($(wc -c < "$dir/$f")))}"
	done
	cat > "$dir/conda-meta/$name-$version-0.json" <<JSON
{"name":"$name","version":"$version","build":"0","channel":"https://conda.example/forge","depends":[$needs],
"url":"https://conda.example/t/tk-1/forge/noarch/$name-$version-0.conda","md5":"md5-of-$name","sha256":"sha-of-$name",
"files":[$files],"paths_data":{"paths_version":1,"paths":[$paths]}}
JSON
}

prefix() {
	site=lib/python3.13/site-packages
	mkdir -p "$1/bin" "$1/conda-meta" "$1/share" "$1/$site/ipykernel" "$1/$site/zmq"
	: > "$1/conda-meta/history"
	cp "$here/python" "$1/bin/python"
	echo 1 > "$1/$site/ipykernel/__init__.py"
	echo 1 > "$1/$site/zmq/x.so"
	echo 1 > "$1/share/tz"
	package ipykernel 7.4 "$1" '"python >=3.10","pyzmq"' "$site/ipykernel/__init__.py"
	package pip 26.0 "$1" '"python"'
	package python 3.13.1 "$1" '"tzdata","pip","__glibc"' bin/python
	package pyzmq 27.1 "$1" '"python"' "$site/zmq/x.so"
	package tzdata 2026a "$1" '' share/tz
	[ ! -e "$here/without.python" ] || rm "$1/bin/python"
}

# explicit FILE: it is a list of packages, or there is none.
explicit() {
	[ -z "$1" ] || { grep -q '^@EXPLICIT$' "$1" && [ "$(grep -c '://.*#md5-of-' "$1")" = 5 ]; }
}

if [ "$1" = prefix ]; then
	explicit "$3" && prefix "$2"
	exit
fi
if [ "$*" = --version ]; then
	[ -e "$here/conda.version" ] && read -r line < "$here/conda.version" || line="conda 26.7.0"
	echo "$line"
	exit 0
fi
echo "conda $*" >> "$here/calls"
env > "$here/env"
pwd > "$here/cwd"
echo "Error loading a plugin: 401 Unauthorized, No space left on device" >&2

[ "$1" = create ] || { echo "conda: error: invalid choice: '$1'" >&2; exit 2; }
shift
step=online dir= json= file= specs=
while [ $# -gt 0 ]; do
	case "$1" in
	-y | --quiet | --override-channels | --no-default-packages | --no-shortcuts) ;;
	--json) json=1 ;;
	--offline) step=offline ;;
	-p) dir=$2; shift ;;
	-c) shift ;;
	--file) file=$2; shift ;;
	-*) echo "conda: error: unrecognized arguments: $1" >&2; exit 2 ;;
	*) specs="$specs $1" ;;
	esac
	shift
done
[ -n "$file" ] || step=solve
[ -n "$json$file$specs" ] || { echo "conda: error: nothing to do" >&2; exit 2; }
[ -e "$dir" ] && { echo '{"exception_name": "DirectoryNotACondaEnvironmentError", "message": "The target directory exists"}'; exit 1; }
if [ -e "$here/fail.$step" ]; then
	mkdir -p "$dir/half"
	cat "$here/fail.$step"
	exit 1
fi
explicit "$file" && prefix "$dir" || { echo '{"exception_name": "CondaValueError", "message": "no explicit list"}'; exit 1; }
printf '{\n  "actions": {\n    "FETCH": [],\n    "LINK": [{"name": "python"}],\n    "PREFIX": "%s"\n  },\n  "prefix": "%s",\n  "success": true\n}\n' "$dir" "$dir"
