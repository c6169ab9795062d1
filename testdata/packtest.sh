#!/bin/sh
# Makes what pip, uv and npm install on this machine, twice; checks, installs, uses and removes it in an empty home.
# Nothing is published, so all of it comes from the folder where it was made.
# sh testdata/packtest.sh [DIR]       with what is made into DIR, to keep
set -eu
cd "$(dirname "$0")/.."
root=$PWD

fail() {
    echo "packtest: $*" >&2
    exit 1
}
skip() {
    [ -z "${CI:-}" ] || fail "$1: where CI is set, nothing may be skipped"
    echo "packtest: skipped: $1"
    exit 0
}
python=$(python3 -c 'import sys, venv, ensurepip; print(sys.executable)' 2>/dev/null) ||
    skip "there is no python3 with venv and pip"
for tool in node npm; do
    command -v $tool >/dev/null || skip "there is no $tool"
done
client=$root/clients/python/.venv/bin/python
$client -c 'import jupyter_client, packaging' || fail "clients/python is not set up; run: go run ./task setup:python"

base=$(mktemp -d /tmp/packtest.XXXXXX)
dist=${1:-$base/dist}
home=$base/home
mkdir -m 700 "$home"
cache=$HOME/.cache/runtimed-tests # downloads are expensive
clean=$(env | sed -n 's/^\(\(RUNTIMED\|XDG\|VIRTUAL\|CONDA\|PYTHON\|JUPYTER\|npm\)[A-Za-z_]*\)=.*/-u \1/p')
# A user with Python, Node and how to reach the indexes, and nothing else. No folder of ours is on PATH.
as_user() {
    # shellcheck disable=SC2086
    env $clean HOME="$home" TMPDIR="$base" PATH="$(dirname "$python"):$(dirname "$(command -v node)"):/usr/bin:/bin" \
        UV_CACHE_DIR="$cache/uv-cache" PIP_CACHE_DIR="$cache/pip-cache" \
        PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_FIND_LINKS= \
        npm_config_cache="$base/npm-cache" RUNTIMED_UV_POOL_SIZE=1 RUNTIMED_CONDA_POOL_SIZE=0 "$@"
}
runt= # the one that can stop the daemon
cleanup() {
    [ ! -x "$runt" ] || as_user "$runt" daemon stop >/dev/null 2>&1 || true
    rm -rf "$base"
}
trap cleanup EXIT
trap 'exit 1' INT TERM

step() { echo "== $*"; }
same() { [ "$1" = "$2" ] || fail "$3: $1, and not $2"; }
program_of_daemon() { as_user "$runt" daemon info --json | sed -n 's/.*"program": *"\([^"]*\)".*/\1/p'; }

step "make everything twice: the same bytes"
go run ./packaging -platforms host "$dist"
go run ./packaging -platforms host "$base/again" >/dev/null 2>&1
for made in "$base"/again/*; do
    cmp "$made" "$dist/${made##*/}"
done
$client testdata/wheelcheck.py "$dist"
version=$(go run ./packaging -version)
wheel=$(echo "$dist"/runtimed_bin-*.whl)

step "pip, in one line"
as_user "$python" -m venv "$base/v"
files() { (cd "$1" && find . -type f ! -name '*.pyc' -exec cksum {} + | LC_ALL=C sort -k 3); }
files "$base/v" >"$base/bare"
as_user "$base/v/bin/pip" install -q --no-index --find-links "$dist" 'runtimed-client[bin]'
# What it needs is on an index.
runt=$base/v/bin/runt
files "$base/v" >"$base/installed"
for program in "runt version" "runtimed --version"; do
    same "$(as_user "$base"/v/bin/$program | cut -d ' ' -f 2)" "$version" "$program tells another version"
done
as_user "$base/v/bin/python" -c '
from runtimed_client import Client
with Client(autostart=True) as c, c.acquire(wait=120) as env: print("acquired", env.python)'
same "$(program_of_daemon)" "$base/v/bin/runtimed" "the daemon is another program"

step "doctor finds nothing to warn of, neither as pip installed it nor as a clone has it beside that"
CGO_ENABLED=0 go build -o "$base/clone/" ./cmd/...
for from in "$base/v/bin" "$base/clone"; do
    as_user "$from/runt" doctor --json >"$base/doctor.json" || true # as where an index cannot be reached
    "$python" - "$base/doctor.json" <<'PYTHON'
import json, sys
ours = {"programs", "daemon", "service", "pools", "environment", "config", "conda", "channels", "kernelspecs"}
checks = [c for c in json.load(open(sys.argv[1]))["checks"] if c["name"] in ours]
assert len(checks) >= 7, checks
wrong = [c for c in checks if c["status"] in ("warning", "problem")]
assert not wrong, wrong
PYTHON
done

step "its kernel in Jupyter, whose Python is another one"
as_user env JUPYTER_PATH="$base/v/share/jupyter" $client - "$base" <<'PYTHON'
import json, subprocess, sys
from pathlib import Path
from jupyter_client.kernelspec import KernelSpecManager
from jupyter_client.manager import run_kernel

base = Path(sys.argv[1])
specs = KernelSpecManager().get_all_specs()
for name, of in {"uv": ["--pool", "uv"], "conda": ["--pool", "conda"], "project": []}.items():
    ours = specs[f"runtimed-{name}"]["spec"]
    install = [base / "v/bin/runt", "kernelspec", "install", *of, "--prefix", base / "own"]
    subprocess.run(install, check=True, capture_output=True)
    folder = base / "own/share/jupyter/kernels" / f"runtimed-{name}"
    same = json.loads((folder / "kernel.json").read_text())
    assert same["argv"].pop(0) != ours["argv"].pop(0)
    del same["metadata"]["runtimed"]
    assert ours == {**ours, **same}, (ours, same)
    logo = Path(specs[f"runtimed-{name}"]["resource_dir"], "logo-svg.svg")
    assert (folder / "logo-svg.svg").read_bytes() == logo.read_bytes()
with run_kernel(kernel_name="runtimed-uv") as client:
    show = lambda message: print(message["content"].get("text", ""), end="")
    reply = client.execute_interactive("import sys; print(sys.prefix)", timeout=60, output_hook=show)
    assert reply["content"]["status"] == "ok", reply
PYTHON
as_user "$runt" daemon stop

step "pip: twice is the same, and what goes leaves nothing"
as_user "$base/v/bin/pip" install -q --no-index --find-links "$dist" --force-reinstall 'runtimed-client[bin]'
files "$base/v" | grep -v RECORD >"$base/again.list"
grep -v RECORD "$base/installed" | diff - "$base/again.list"
as_user "$base/v/bin/pip" install -q --no-index --no-deps --find-links "$dist" runtimed-jupyter # what it needs is on an index
as_user "$base/v/bin/pip" uninstall -q -y runtimed-bin runtimed-client runtimed-jupyter
files "$base/v" | diff "$base/bare" -

step "pip: beside a Jupyter, with what draws widgets, and with nothing of ours from an index"
as_user "$python" -m venv "$base/j"
as_user "$base/j/bin/pip" install -q --progress-bar off --log "$base/j.log" "$dist"/*.whl
as_user "$base/j/bin/pip" check
for extension in runtimed-status runtimed-new-menu @jupyter-widgets/jupyterlab-manager; do
    [ -e "$base/j/share/jupyter/labextensions/$extension/package.json" ] || fail "there is no $extension"
done
grep -q 'Getting page .*/jupyterlab-widgets/' "$base/j.log" || fail "pip's log does not say what it looks for"
! grep 'Getting page .*/runtimed' "$base/j.log" || fail "pip looks for ours on an index, where anybody may have the name"

step "uv: as a tool, and once without installing"
uv=$(echo "$home"/.cache/runt/tools/uv-*/bin/uv) # the daemon fetched it
told=$(as_user "$uv" tool run -q --offline --from "$wheel" runt version | cut -d ' ' -f 2)
same "$told" "$version" "uvx tells another version"
as_user "$uv" tool install -q --offline "$wheel"
runt=$home/.local/bin/runt
as_user "$runt" daemon start
same "$(basename "$(program_of_daemon)")" runtimed "the daemon is another program"
as_user "$runt" daemon stop
as_user "$uv" tool uninstall -q runtimed-bin
[ ! -e "$runt" ] || fail "uv left $runt"

step "npm, in one line"
mkdir "$base/n"
cd "$base/n"
as_user npm init -y >/dev/null
# Offline, since the packages of other platforms are nowhere to be found, or not ours.
as_user npm install --silent --offline "$dist"/runtimed-client-*.tgz "$dist"/runtimed-bin-*.tgz
runt=$base/n/node_modules/.bin/runt
same "$(as_user npx --no runt version | cut -d ' ' -f 2)" "$version" "npx runt tells another version"
cat >acquire.mjs <<'JS'
import { Client } from "runtimed-client";
await using client = await Client.connect({ autostart: true });
await using env = await client.acquire({ waitMs: 120_000 });
console.log("acquired", env.python);
JS
sed 's/await using/const/' acquire.mjs >plain.mjs # Node has it since 24
echo 'await env.release(); await client.close();' >>plain.mjs
as_user node plain.mjs
bin=$(echo node_modules/runtimed-bin-*)
same "$(program_of_daemon)" "$base/n/$bin/bin/runtimed" "the daemon is another program"

step "npm: exit codes, input and signals reach the program and its caller"
code() { "$@" >/dev/null 2>&1 && echo 0 || echo $?; }
same "$(code as_user "$runt" nonsense)" "$(code as_user "$bin/bin/runt" nonsense)" "another exit code"
same "$(echo hello | as_user "$runt" run -- cat)" hello "input"
as_user "$python" - "$runt" <<'PYTHON'
import signal, subprocess, sys
process = subprocess.Popen([sys.argv[1], "run", "--", "sh", "-c", "echo up; exec sleep 300"], stdout=subprocess.PIPE)
assert process.stdout.readline() == b"up\n"
process.send_signal(signal.SIGTERM)
assert process.wait(20) == -signal.SIGTERM, process.returncode
assert process.stdout.read() == b"" # nobody is left who could write there
PYTHON
as_user "$runt" daemon stop
runt=

step "npm: without the programs it says so, and goes without a trace"
rm -rf "$bin"
as_user node_modules/.bin/runt version 2>said && fail "runt runs without its package"
grep -q 'runt: hint: npm left out' said || fail "it said: $(cat said)"
as_user npm uninstall --silent --offline runtimed-client "${bin#node_modules/}"
[ -z "$(ls node_modules 2>/dev/null)" ] || fail "npm left $(ls node_modules)"
echo "packtest: ok"
