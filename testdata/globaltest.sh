#!/bin/sh
# The package's units, enabled for every user, under the systemd of a user who did nothing. Called by debtest.sh.
set -eu
fail() {
    echo "globaltest: $*" >&2
    systemctl --user status runtimed.socket runtimed.service >&2 || true
    exit 1
}
is() { [ "$(systemctl --user show --property="$2" --value "$1")" = "$3" ] || fail "$2 of $1 is not $3"; }
listens() {
    is runtimed.socket ActiveState active
    is runtimed.service MainPID 0
}
exits() {
    want=$1 code=0
    shift
    "$@" >/tmp/globaltest.$$ 2>&1 || code=$?
    said=$(cat /tmp/globaltest.$$)
    rm /tmp/globaltest.$$
    [ $code = "$want" ] || fail "$*: exit code $code: $said"
}
says() { case $said in *"$1"*) ;; *) fail "it does not say \"$1\", but: $said" ;; esac; }

listens
[ -S "${RUNTIMED_SOCKET:-$HOME/.cache/runt/runtimed.sock}" ] || fail "nothing listens where clients look"
exits 0 runt service status
says "by the package, for every user"
says "on demand"
exits 0 runt service status --json
says '"package":true'
runt doctor >"$HOME/doctor" || true # an index may not answer
grep -q 'service .*the package.s, enabled for every user; the daemon starts when somebody first asks' "$HOME/doctor" ||
    fail "the doctor: $(cat "$HOME/doctor")"
listens # nothing of this has started a daemon

exits 0 runt pool status
exits 0 runt daemon info --json
says '"started_by":"service"'
exits 0 runt daemon restart

# It ends when nobody needs it, and comes back with whoever does.
mkdir -p "$HOME/.config/runt"
echo 'idle_exit = "1s"' >"$HOME/.config/runt/config.toml"
exits 0 runt daemon reload
for _ in $(seq 300); do
    [ "$(systemctl --user show --property=MainPID --value runtimed.service)" != 0 ] || break
    sleep 0.1
done
listens
rm -r "$HOME/.config/runt"
exits 0 runt pool status

exits 0 runt daemon stop
says "systemctl --user mask runtimed.socket"
is runtimed.socket ActiveState inactive
exits 3 runt daemon info
exits 0 runt service start
exits 0 runt daemon info
exits 0 runt service stop

# A service of one's own is put in front of it, and taken away again.
exits 0 runt service install --on-demand
exits 0 runt service status
says "Installed:  yes, up to date"
exits 0 runt pool status
exits 0 runt service uninstall
says "systemctl --user mask runtimed.socket"
exits 0 runt service status
says "by the package, for every user"
exits 0 systemctl --user start runtimed.socket # as at the next login
listens
exits 0 runt pool status
exits 0 runt service uninstall --purge
is runtimed.socket ActiveState inactive
[ ! -e "$HOME/.cache/runt" ] || fail "the state directory is left: $(ls -la "$HOME/.cache/runt")"

# Who does not want it has nothing of it.
systemctl --user mask runtimed.socket 2>/dev/null
exits 1 systemctl --user start runtimed.socket
exits 0 runt service status
says "Installed:  no"
