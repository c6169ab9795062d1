#!/bin/sh
# A stand-in for Python: in an environment it says what the import check says, and where the file "compiles" is beside the stand-in for uv, it
# writes .pyc files as Python does, and lists them there; elsewhere it tells its version, and fetches uv.
here=$(dirname "$0")

compile() {
	home=$(sed -n 's/^home = //p' "$env/pyvenv.cfg" 2> /dev/null)
	[ -e "$home/compiles" ] || return 0
	find "$site" -name '*.py' | while read -r source; do
		set -- $(stat -c '%Y %s' "$source" 2> /dev/null || stat -f '%m %z' "$source")
		numbers=$(printf '\\%03o' $(($1 & 255)) $(($1 >> 8 & 255)) $(($1 >> 16 & 255)) $(($1 >> 24 & 255)) $(($2 & 255)) $(($2 >> 8 & 255)) 0 0)
		name=${source##*/}
		cache=${source%/*}/__pycache__
		pyc=$cache/${name%.py}.cpython-313.pyc
		[ -d "$cache" ] || mkdir "$cache"
		printf "mag\n\0\0\0\0$numbers" > "$pyc.new"
		if [ -e "$pyc" ] && head -c 16 "$pyc" | cmp -s - "$pyc.new"; then
			rm "$pyc.new"
		else
			{ echo "compiled for $env"; cat "$source"; } >> "$pyc.new"
			mv -f "$pyc.new" "$pyc"
			echo "${source#"$site"/}" >> "$home/compiled"
		fi
	done
}

case "$*" in
"-I -m venv "*)
	[ -e "$here/fail.ensurepip" ] && { echo "The virtual environment was not created successfully because ensurepip is not available." >&2; exit 1; }
	mkdir -p "$4/bin"
	cp "$0" "$4/bin/python"
	[ -e "$here/fail.pip" ] && cp "$here/fail.pip" "$4/bin/"
	[ -e "$here/pip.config" ] && cp "$here/pip.config" "$4/bin/"
	[ -e "$here/uv.fetched" ] && cp "$here/uv.fetched" "$4/bin/"
	exit 0 ;;
"-m pip config list")
	[ -e "$here/pip.config" ] && cat "$here/pip.config"
	exit 0 ;;
"-m pip "*)
	env >> "${PIP_CACHE_DIR:-/dev/null}"
	[ -e "$here/fail.pip" ] && { cat "$here/fail.pip" >&2; exit 1; }
	target=$(dirname "$here")
	while [ $# -gt 0 ]; do
		[ "$1" = --target ] && target=$2
		shift
	done
	mkdir -p "$target/bin"
	printf '#!/bin/sh\n' > "$target/bin/uv"
	[ -e "$here/uv.fetched" ] && cat "$here/uv.fetched" > "$target/bin/uv"
	chmod +x "$target/bin/uv" ;;
*sys.version_info*ipykernel*|*ipykernel*)
	env="$(dirname "$here")"
	site="$env/lib/python3.13/site-packages"
	[ -e "$site/ipykernel/__init__.py" ] || { echo "ModuleNotFoundError: No module named 'ipykernel'" >&2; exit 1; }
	compile
	printf '{"version":"3.13.1","site_packages":"%s","sentinels":["%s/ipykernel/__init__.py","%s/zmq/x.so"]}' "$site" "$site" "$site" ;;
*version_info*)
	[ -e "$here/version" ] && cat "$here/version" || exit 1 ;;
esac
