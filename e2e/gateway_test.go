//go:build e2e && unix

package e2e

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

const frontEndTools = "../testdata/tools/front_ends"

// versioned is a name with a sum of files among the tools of front-ends, which say what is in the folder of that name.
func versioned(t *testing.T, name string, files ...string) string {
	t.Helper()
	sum := sha256.New()
	for _, file := range files {
		data, err := os.ReadFile(filepath.Join(frontEndTools, file))
		check(t, err)
		sum.Write(data)
	}
	return name + "-" + hex.EncodeToString(sum.Sum(nil)[:4])
}

// services is a folder with services.js and what that needs, made once and kept.
func services(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"node", "npm"} {
		if _, err := exec.LookPath(program); err != nil {
			lacking(t, "there is no "+program+" on PATH (Debian: apt-get install "+program+")")
		}
	}
	files := []string{"package.json", "package-lock.json", "services.js"}
	dir, err := keptDir(versioned(t, "services", files...), func(made string) error {
		for _, file := range files {
			data, err := os.ReadFile(filepath.Join(frontEndTools, file))
			if err == nil {
				err = os.WriteFile(filepath.Join(made, file), data, 0o644)
			}
			if err != nil {
				return err
			}
		}
		install := exec.Command("npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--prefix", made)
		if out, err := install.CombinedOutput(); err != nil {
			return fmt.Errorf("npm ci: %w: %s", err, out)
		}
		return nil
	})
	check(t, err)
	return dir
}

// enterpriseGateway starts a server whose kernels are those of the house, and returns its URL.
func (h *house) enterpriseGateway(t *testing.T) string {
	t.Helper()
	requirements := filepath.Join(frontEndTools, "gateway.txt")
	python, err := keptVenv(versioned(t, "gateway", "gateway.txt"), "--require-hashes", "-r", requirements)
	check(t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	url := "http://" + ln.Addr().String() + "/"
	_, port, _ := net.SplitHostPort(ln.Addr().String())
	check(t, ln.Close())
	server := exec.Command(python, "-m", "enterprise_gateway", "--port="+port, "--port_retries=0")
	server.Dir = h.home
	server.Env = append(h.env, "RUNTIMED_NO_START=1", "EG_LIST_KERNELS=True",
		"EG_UNAUTHORIZED_USERS=nobody", // the default is root, who may run the tests
		"EG_PORT_RANGE=31000..32500")   // for kernels; other tests' front-ends have those below
	var said bytes.Buffer
	server.Stdout, server.Stderr = &said, &said
	check(t, server.Start())
	t.Cleanup(func() {
		_ = server.Process.Signal(os.Interrupt)
		late := time.AfterFunc(20*time.Second, func() { _ = server.Process.Kill() })
		_ = server.Wait()
		late.Stop()
		if t.Failed() {
			t.Logf("the gateway and its kernels: %s", said.Bytes()[max(0, said.Len()-8000):])
		}
	})
	h.eventually(time.Minute, "the gateway answers", func() bool {
		answer, err := (&http.Client{Timeout: 5 * time.Second}).Get(url + "api/kernelspecs")
		if err != nil {
			return false
		}
		defer answer.Body.Close()
		var specs struct{ Kernelspecs map[string]any }
		return json.NewDecoder(answer.Body).Decode(&specs) == nil && specs.Kernelspecs["runtimed-uv"] != nil
	})
	return url
}

func TestJupyterLabsOwnClientRunsAWarmKernelBehindAGateway(t *testing.T) {
	t.Parallel()
	folder := services(t)
	h := newHouse(t).withUV()
	h.configure("[pools.uv]\nsize = 1\n")
	h.start()
	h.runt("kernelspec", "install")
	h.kernelspec("failing", "--pool", "nope")
	url := h.enterpriseGateway(t)
	h.filled("uv", 3*time.Minute)

	node := exec.Command("node", filepath.Join(folder, "services.js"), url, "runtimed-uv", "failing")
	node.Env, node.Dir = h.env, h.home
	var stderr bytes.Buffer
	node.Stderr = &stderr
	limit := time.AfterFunc(2*time.Minute, func() { _ = node.Process.Kill() })
	defer limit.Stop()
	out, err := node.Output()
	type cell struct{ Status, Ename, Said string }
	var saw struct {
		Sum, First, Second, Stopped, After, Failed cell
		Seconds                                    float64
	}
	if err == nil {
		err = json.Unmarshal(out, &saw)
	}
	if err != nil {
		t.Fatalf("%v: %s%s", err, out, stderr.Bytes())
	}
	t.Logf("1 + 1 is answered %.2f s after the click", saw.Seconds)
	var prefix [2]string
	var pid [2]int
	for i, c := range []cell{saw.First, saw.Second} {
		var seen string
		if _, err := fmt.Sscan(c.Said, &prefix[i], &pid[i], &seen); err != nil || seen != "False" {
			t.Errorf("start %d: %+v: %v", i+1, c, err)
		}
	}
	if saw.Sum.Said != "2" || !strings.HasPrefix(prefix[0], h.state("envs")) {
		t.Errorf("it is not a warm kernel: %+v, %+v", saw.Sum, saw.First)
	}
	if prefix[0] != prefix[1] || pid[0] == pid[1] {
		t.Errorf("after a restart the kernel is %+v, and was %+v", saw.Second, saw.First)
	}
	if saw.Stopped.Ename != "KeyboardInterrupt" || saw.After.Said != "on" {
		t.Errorf("interrupted, it says %+v, and then %+v", saw.Stopped, saw.After)
	}
	if saw.Failed.Ename != "RuntimedError" || !strings.Contains(saw.Failed.Said, "nope") {
		t.Errorf("a kernel that cannot be had says %+v", saw.Failed)
	}
	h.eventually(10*time.Second, "the lease has ended", func() bool { return len(h.leases()) == 0 })
}
