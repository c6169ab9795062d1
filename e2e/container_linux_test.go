//go:build e2e

package e2e

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"

	"runtimed/rpc"
)

// image is a home as the layers of an image have it.
type image struct {
	*house
	layer string
}

// built is the image whose builder has run a script of sh. Right after that its processes were killed. A layer has
// copies in place of hard links, and times of whole seconds.
func (h *house) built(t *testing.T, script string) *image {
	t.Helper()
	if out, err := h.apart(t, "sh", "-ec", script).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	i := &image{h, filepath.Join(filepath.Dir(h.home), "layer")}
	check(t, os.Mkdir(i.layer, 0o755))
	const copied = `tar -C "$1" --format=ustar --hard-dereference -cf - . | tar -C "$2" -xpf -`
	if out, err := exec.Command("sh", "-c", copied, "sh", h.home, i.layer).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	return i
}

// container is what makes one differ from the one that built its image.
type container struct {
	elsewhere bool   // another machine runs it
	before    string // what the platform does first: a script of sh
	uid       int    // of its processes, in the group 0
}

// other gives a container the names of another machine and boot.
const other = `hostname other
name() { [ ! -e "$2" ] || { echo "$1" >"$DIR/$1"; mount --bind "$DIR/$1" "$2"; }; }
name 01234567-89ab-cdef-0123-456789abcdef /proc/sys/kernel/random/boot_id
name 0123456789abcdef0123456789abcdef /etc/machine-id
`

// run runs a script of sh as the first process of a container, whose home is an overlay of the image.
func (i *image) run(t *testing.T, c container, script string) (out string) {
	t.Helper()
	setup := `mount -t tmpfs tmpfs "$DIR"
mkdir "$DIR/upper" "$DIR/work"
mount -t overlay overlay -o "lowerdir=$LAYER,upperdir=$DIR/upper,workdir=$DIR/work" "$HOME"
`
	if c.elsewhere {
		setup += other
	}
	setup += c.before + "\ncd /\n"
	as := `exec sh -ec "$1"`
	if c.uid != 0 {
		as = fmt.Sprintf(`exec setpriv --reuid %d --regid 0 --clear-groups sh -ec "$1"`, c.uid)
	}
	cmd := i.apart(t, "unshare", "--uts", "sh", "-ec", setup+as, "sh", script)
	cmd.Env = append(i.env, "DIR="+t.TempDir(), "LAYER="+i.layer)
	var said strings.Builder
	cmd.Stderr = &said
	text, err := cmd.Output()
	if err != nil {
		t.Fatalf("%v: %s%s", err, text, &said)
	}
	return string(text)
}

// shipped is a house with a real uv and a pool, for an image.
func shipped(t *testing.T, pools string) *house {
	t.Helper()
	h := newHouse(t)
	h.apart(t, "true") // or skips
	h.withUV()
	h.setenv("PATH", filepath.Dir(runtProgram)+":"+h.env[len(h.env)-1][len("PATH="):])
	h.configure(pools)
	return h
}

// What the builder leaves beside the ready environments: a lease, a build that was killed, a socket, a lock file.
const (
	fill  = "runt pool fill --wait\n"
	loose = `runt pool acquire --owner-pid $$ >/dev/null
until runt pool status --json | grep -q '"warming":1'; do :; done
chgrp -R 0 "$HOME"; chmod -R g=u "$HOME"; chmod 755 "$HOME/.."
`
)

func TestTheFirstEnvironmentOfAContainerIsReadyInItsImage(t *testing.T) {
	t.Parallel()
	h := shipped(t, "[pools.uv]\nsize = 2\npackages = [\"ipykernel\"]\n")
	i := h.built(t, fill+loose)
	for name, c := range map[string]container{
		"on the same machine":    {},
		"as any user of group 0": {elsewhere: true, uid: 1000680000},
		"with a read-only root and a volume that was filled from the image": {
			elsewhere: true,
			before: `mount -o remount,ro "$HOME"; mount -t tmpfs -o mode=0770 tmpfs "$HOME/.cache/runt"
cp -a "$LAYER/.cache/runt/." "$HOME/.cache/runt"`,
		},
	} {
		t.Run(name, func(t *testing.T) {
			out := i.run(t, c, `began=$(date +%s%N)
runt pool acquire --json --owner-pid $$
echo $((($(date +%s%N) - began) / 1000000))
cd "$HOME/.cache/runt/envs"
for id in uv-*; do ! runt pool release $id 2>/dev/null || until [ ! -e $id ]; do sleep 0.1; done; done
runt run --wait 5m -- python -c 'import ipykernel, os; print(os.environ["VIRTUAL_ENV"])'`)
			lines := strings.Split(strings.TrimSpace(out), "\n")
			var got rpc.AcquireResult
			if len(lines) < 3 || json.Unmarshal([]byte(lines[0]), &got) != nil {
				t.Fatalf("it says %s", out)
			}
			t.Logf("the first acquire took %s ms", lines[1])
			if got.Source != rpc.SourceReady || !isThere(filepath.Join(i.layer, ".cache/runt/envs", got.Env.ID)) {
				t.Errorf("the first environment is %s, and %s", got.Env.ID, got.Source)
			}
			if last := lines[len(lines)-1]; isThere(filepath.Join(i.layer, last[len(i.home):])) {
				t.Errorf("after all were released, the next is %s", last)
			}
		})
	}
}

func TestTheFirstProcessOfAContainerWaitsForOrphansAndPassesSignalsOn(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	h.setenv("PATH", filepath.Dir(runtProgram)+":"+h.env[len(h.env)-1][len("PATH="):])
	// A child of a child has ended once its parent reads the end of the pipe, and is nobody's but the first's.
	const orphans = `for i in 1 2 3; do sh -c 'sleep 0.1 &' | cat; done
until ! grep -q '^State:.Z' /proc/[0-9]*/status; do sleep 0.01; done
`
	for name, c := range map[string]struct {
		script string
		code   int
	}{
		"runt": {`exec runt run -- sh -c "$1 exit 7"`, 7},
		"runt, terminated": {
			`(until runt env list | grep -q sleep; do :; done; kill -TERM 1) & exec runt run -- sleep 60`, 143,
		},
		"a command that is killed": {`exec runt run -- sh -c 'kill -KILL $$'`, 137},
		"runtimed": {
			`(until runt daemon info; do :; done; eval "$1"; kill -TERM 1) >/dev/null 2>&1 & exec runtimed`, 0,
		},
	} {
		t.Run(name, func(t *testing.T) {
			cmd := h.apart(t, "sh", "-ec", c.script, "sh", orphans)
			out, _ := cmd.CombinedOutput()
			if code := cmd.ProcessState.ExitCode(); code != c.code {
				t.Errorf("exit code %d: %s", code, out)
			}
		})
	}
}

func TestWithoutProcTheErrorSaysWhatIsMissing(t *testing.T) {
	t.Parallel()
	h := newHouse(t)
	h.configure(off)
	const script = `mount -t tmpfs tmpfs /proc; exec "$@"`
	out, err := h.apart(t, "sh", "-c", script, "sh", runtProgram, "pool", "fill").CombinedOutput()
	if err == nil || !strings.Contains(string(out), "hint: on Linux, /proc must be mounted") {
		t.Errorf("%v: %s", err, out)
	}
}

func TestATerminalThatTheFirstProcessHasFromOutsideIsStillItsOwnersAfterwards(t *testing.T) {
	t.Parallel()
	if _, err := exec.LookPath("script"); err != nil {
		lacking(t, "there is no script(1)")
	}
	h := newHouse(t)
	h.configure(off)
	unshare := h.apart(t, runtProgram, "config", "path").Args
	cmd := exec.Command("script", "--quiet", "--return", "--command",
		"sh -c '"+strings.Join(unshare, " ")+"; read line; echo it is $line'", "/dev/null")
	cmd.Env, cmd.Dir = h.env, h.home
	in, err := cmd.StdinPipe()
	check(t, err)
	var said strings.Builder
	cmd.Stdout, cmd.Stderr = &said, &said
	check(t, cmd.Start())
	_, err = in.Write([]byte("theirs\n"))
	check(t, err)
	if err := cmd.Wait(); err != nil || !strings.Contains(said.String(), "config.toml") ||
		!strings.Contains(said.String(), "it is theirs") {
		t.Errorf("%v: %s", err, &said)
	}
}
