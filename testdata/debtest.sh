#!/bin/sh
# Installs the deb on this machine, uses it, removes and purges it; only lists the rpm. Needs root and dpkg.
# sh testdata/debtest.sh [DEB RPM]    without them it makes both first
set -eu

fail() {
    echo "debtest: $*" >&2
    exit 1
}
skip() {
    [ -z "${CI:-}" ] || fail "$1: where CI is set, nothing may be skipped"
    echo "debtest: skipped: $1"
    exit 0
}
command -v dpkg >/dev/null || skip "there is no dpkg"
[ "$(id -u)" = 0 ] || skip "dpkg -i needs root"
for name in runt runtimed; do
    [ ! -e /usr/bin/$name ] || skip "/usr/bin/$name is there already, and this test would remove it"
done

base=$(mktemp -d /tmp/debtest.XXXXXX)
# The environment of a user who has just logged in.
as_user() { env -i HOME="$base/home" PATH=/usr/bin:/bin RUNTIMED_UV_POOL_SIZE=0 RUNTIMED_CONDA_POOL_SIZE=0 "$@"; }
# dpkg does not wait for its lock, which an upgrade in the background may hold. It needs sbin, which su leaves out.
pkg() {
    for _ in 1 2 3 4 5 6 7 8 9 10 11 12; do
        if PATH=$PATH:/usr/sbin:/sbin dpkg "$@" 2>"$base/stderr"; then
            return
        fi
        grep -q 'lock was locked' "$base/stderr" || break
        sleep 5
    done
    cat "$base/stderr" >&2
    return 1
}
cleanup() {
    [ ! -x /usr/bin/runt ] || as_user runt daemon stop >/dev/null 2>&1 || true
    systemctl --global disable runtimed.socket >/dev/null 2>&1 || true
    pkg -P runtimed >/dev/null 2>&1 || true
    rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 1' INT TERM
mkdir -m 700 "$base/home"
echo precious >"$base/home/mine"

if [ $# -eq 0 ]; then
    cd "$(dirname "$0")/.."
    epoch=$(git log -1 --format=%ct 2>/dev/null || date +%s)
    sh packaging/linux.sh "$(go run ./packaging -version)" "$epoch" "$base/packages" "$(go env GOARCH)"
    if command -v groff >/dev/null; then
        for page in build/share/man/*; do
            groff -man -ww -Tutf8 -z "$page" 2>"$base/stderr"
            [ ! -s "$base/stderr" ] || fail "groff says of $page: $(cat "$base/stderr")"
        done
    fi
    set -- "$base"/packages/*.deb "$base"/packages/*.rpm
fi
deb=$1 rpm=$2

ours() {
    find /usr /etc /var/lib/dpkg/info -xdev \( -name runt -o -name 'runt[-.]*' -o -name _runt -o -name 'runtimed*' \) |
        LC_ALL=C sort
}
there() { while read -r path; do [ ! -e "$path" ] || echo "$path"; done; }
dpkg-deb --fsys-tarfile "$deb" | tar -t | sed 's#^\.##; s#/$##; /^$/d' >"$base/list"
there <"$base/list" >"$base/list.before"
ours >"$base/ours.before"
for path in bin/runt bin/runtimed share/man/man1/runt.1.gz share/man/man1/runtimed.1.gz share/doc/runtimed/copyright \
    share/bash-completion/completions/runt share/zsh/vendor-completions/_runt \
    share/fish/vendor_completions.d/runt.fish lib/systemd/user/runtimed.service lib/systemd/user/runtimed.socket; do
    grep -qx "/usr/$path" "$base/list" || fail "the deb has no /usr/$path"
done
! grep -v '^/usr\(/\|$\)' "$base/list" || fail "the deb has something outside of /usr"

echo "== install"
pkg -i "$deb"
as_user runt version
as_user runtimed --version
version=$(as_user runt version | cut -d ' ' -f 2)
[ "$(as_user runtimed --version | cut -d ' ' -f 2)" = "$version" ] || fail "runt and runtimed tell different versions"
dpkg-query -W -f '${Version}\n' runtimed | grep -qxF "$version" ||
    fail "the package tells another version than runt"

echo "== use"
as_user runt daemon start
as_user runt daemon info
as_user runt pool status
info() { as_user runt daemon info --json | tr -d ' \n'; }
before=$(info)

echo "== upgrade under a running daemon"
pkg -i "$deb" >/dev/null
pid_of() { sed 's/.*"pid":"*\([0-9]*\).*/\1/'; }
[ "$(info | pid_of)" = "$(echo "$before" | pid_of)" ] || fail "another daemon answers after the upgrade"
info | grep -q '"replaced":true' || fail "the daemon does not tell that its program was replaced"

# The images of containers leave man pages out by a setting of dpkg.
if [ -e /usr/share/man/man1/runt.1.gz ] && command -v man >/dev/null; then
    for page in runt runtimed runtimed-config; do
        as_user man -w $page
        as_user man $page 2>&1 | grep -q '^NAME' || fail "man $page shows nothing"
    done
fi
# Each shell finds it by itself, where packages put it.
if [ -e /usr/share/bash-completion/bash_completion ]; then
    as_user bash -c '. /usr/share/bash-completion/bash_completion; _completion_loader runt; complete -p runt'
else
    as_user bash -c '. /usr/share/bash-completion/completions/runt; complete -p runt'
fi
if command -v zsh >/dev/null; then
    completer=$(as_user zsh -fc 'autoload -Uz compinit; compinit -D -u; print ${_comps[runt]}')
    [ "$completer" = _runt ] || fail "zsh does not find the completion"
fi
if command -v fish >/dev/null; then
    as_user fish -c 'complete -C "runt dae"' | grep -q '^daemon' || fail "fish does not complete"
fi

echo "== enabled for every user"
if command -v systemctl >/dev/null; then
    systemctl --global enable runtimed.socket
    for socket in "" "$base/other/socket"; do
        code=0
        env RUNTIMED_SOCKET="$socket" SD_HOME="$base/user" PATH=/usr/bin:/bin RUNTIMED_UV_POOL_SIZE=0 \
            RUNTIMED_CONDA_POOL_SIZE=0 "$(dirname "$0")/tools/with-systemd-user" sh "$(dirname "$0")/globaltest.sh" ||
            code=$?
        [ $code != 77 ] || [ -z "${CI:-}" ] || fail "where CI is set, nothing may be skipped"
        [ $code = 0 ] || [ $code = 77 ] || fail "enabled for every user, it does not do what it should: exit code $code"
        rm -rf "$base/user"
    done
    systemctl --global disable runtimed.socket
fi

echo "== remove and purge"
as_user runt daemon stop
state() { (cd "$base/home" && find . -type f -exec cksum {} + && find .) | LC_ALL=C sort; }
state >"$base/home.before"
grep -q runtimed.log "$base/home.before" || fail "the daemon left no state to look after"
pkg -r runtimed
pkg -P runtimed
there <"$base/list" | diff "$base/list.before" - || fail "these are left of the package's files"
ours | diff "$base/ours.before" - || fail "these are left on the system"
state | diff "$base/home.before" - || fail "the user's home was changed"
! dpkg-query -W runtimed 2>/dev/null || fail "dpkg still knows the package"

echo "== rpm"
if command -v rpm >/dev/null; then
    rpm -qpl "$rpm" | grep -x -e /usr/bin/runt -e /usr/bin/runtimed -e /usr/share/man/man1/runt.1.gz
else
    [ "$(od -An -N4 -tx1 "$rpm" | tr -d ' ')" = edabeedb ] || fail "$rpm is not an rpm"
    echo "no rpm to list it with: its header is right"
fi
if [ -z "${CI:-}" ] && command -v lintian >/dev/null; then
    echo "== lintian"
    lintian --allow-root --fail-on error,warning "$deb"
fi
echo "debtest: ok"
