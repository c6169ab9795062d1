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

// workshop builds images with buildah, without a registry.
type workshop struct {
	t      *testing.T
	tool   []string // buildah, with its storage
	mounts []string
}

// hostFolders stand in for those of a base image.
var hostFolders = []string{"/usr/bin", "/usr/lib", "/usr/lib64", "/usr/share", "/etc/ssl", "/etc/alternatives",
	"/etc/resolv.conf"}

func newWorkshop(t *testing.T) *workshop {
	t.Helper()
	if _, err := exec.LookPath("buildah"); err != nil || os.Getuid() != 0 {
		lacking(t, "there is no buildah, or no root")
	}
	dir := t.TempDir()
	w := &workshop{t: t, tool: []string{"buildah", "--root", dir + "/storage", "--runroot", dir + "/run",
		"--storage-driver", "overlay"}}
	if w.command("images").Run() != nil { // as on an overlay
		w.tool[len(w.tool)-1] = "vfs"
	}
	t.Cleanup(func() {
		_ = w.command("rm", "--all").Run() // what stays keeps TempDir from being removed
		_ = w.command("rmi", "--all", "--force").Run()
		_ = exec.Command("umount", dir+"/storage/overlay").Run()
	})
	uv, err := realUV()
	check(t, err)
	w.mounts = []string{"--isolation", "chroot", "--volume", uv + "/uv:/opt/uv:ro"}
	for _, folder := range hostFolders {
		if isThere(folder) {
			w.mounts = append(w.mounts, "--volume", folder+":"+folder+":ro")
		}
	}
	return w
}

func (w *workshop) command(verb string, args ...string) *exec.Cmd {
	argv := append(w.tool[:len(w.tool):len(w.tool)], verb)
	return exec.Command(argv[0], append(argv[1:], args...)...)
}

func (w *workshop) do(verb string, args ...string) string {
	w.t.Helper()
	cmd := w.command(verb, args...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		w.t.Fatalf("buildah %s: %v: %s%s", verb, err, out, &said)
	}
	return strings.TrimSpace(string(out))
}

// base makes an image that has of a system what no mount has.
func (w *workshop) base() string {
	w.t.Helper()
	dir := w.t.TempDir()
	const made = `cd "$1"; mkdir -p etc tmp usr; chmod 1777 tmp
for name in bin lib lib64 sbin; do ln -s usr/$name $name; done
for name in passwd group ld.so.cache nsswitch.conf hosts; do [ ! -e /etc/$name ] || cp /etc/$name etc; done`
	if out, err := exec.Command("sh", "-ec", made, "sh", dir).CombinedOutput(); err != nil {
		w.t.Fatalf("%v: %s", err, out)
	}
	text := "FROM scratch\nCOPY . /\nENV PATH=/usr/local/bin:/usr/bin:/bin:/opt\n"
	for _, v := range newHouse(w.t).env { // how the index is reached
		name, value, _ := strings.Cut(v, "=")
		if !strings.Contains("HOME PATH TMPDIR UV_CACHE_DIR RUNTIMED_CONDA_POOL_SIZE GORACE", name) {
			text += fmt.Sprintf("ENV %s=%q\n", name, value)
		}
	}
	file := filepath.Join(w.t.TempDir(), "Base")
	check(w.t, os.WriteFile(file, []byte(text), 0o600))
	w.do("build", "--isolation", "chroot", "--file", file, "--tag", "base", dir)
	return "localhost/base"
}

func TestTheImageOfTheExampleIsBuiltAndItsContainersAreWarm(t *testing.T) {
	t.Parallel()
	w := newWorkshop(t)
	clone := t.TempDir()
	const copied = `mkdir "$1/bin"; cp "$2" "$1/bin/runt"; cp "$3" "$1/bin/runtimed"; mkdir "$1/examples"
cp -r ../examples/image "$1/examples"`
	if out, err := exec.Command("sh", "-ec", copied, "sh", clone, runtProgram,
		plainDaemon(t)).CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	w.do("build", append(w.mounts, "--build-arg", "BASE="+w.base(), "--tag", "warm",
		"--file", filepath.Join(clone, "examples/image/Containerfile"), clone)...)
	for name, user := range map[string]string{"root": "0:0", "any user of group 0": "1000680:0"} {
		t.Run(name, func(t *testing.T) {
			at := w.do("from", "--pull-never", "localhost/warm")
			// In this isolation nothing ends what is left.
			const script = `trap 'runt daemon stop >/dev/null' EXIT
began=$(date +%s%N)
runt pool acquire --json --owner-pid $$
echo $((($(date +%s%N) - began) / 1000000))
runt run -- python -c 'import ipykernel'`
			out := w.do("run", append(w.mounts, "--user", user, at, "--", "/bin/sh", "-ec", script)...)
			first, took, _ := strings.Cut(out, "\n")
			var got rpc.AcquireResult
			if err := json.Unmarshal([]byte(first), &got); err != nil || got.Source != rpc.SourceReady {
				t.Errorf("%v: %s", err, out)
			}
			t.Logf("the first acquire took %s ms", took)
		})
	}
}
