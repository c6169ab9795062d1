//go:build e2e

package e2e

import (
	"bytes"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"runtimed/rpc"
)

// cluster is a Slurm of one node, which is this machine, and a user of it in a house.
type cluster struct {
	*house
	t        *testing.T
	dir      string // of the house
	user     string
	uid, gid uint32
}

const slurmConf = `
ClusterName=rtd
SlurmctldHost=%[1]s(127.0.0.1)
SlurmctldPort=%[3]d
SlurmdPort=%[4]d
SrunPortRange=64000-65500
SlurmUser=root
SlurmdUser=root
AuthType=auth/munge
AuthInfo=socket=%[2]s/munge/socket
StateSaveLocation=%[2]s/state
SlurmdSpoolDir=%[2]s/spool
SlurmctldPidFile=%[2]s/slurmctld.pid
SlurmdPidFile=%[2]s/slurmd.pid
SlurmctldLogFile=%[2]s/slurmctld.log
SlurmdLogFile=%[2]s/slurmd.log
ProctrackType=proctrack/cgroup
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SwitchType=switch/none
MpiDefault=none
ReturnToService=2
KillWait=2
Prolog=%[2]s/prolog.sh
NodeName=%[5]s NodeHostname=%[1]s NodeAddr=127.0.0.1 CPUs=2 State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES MaxTime=INFINITE State=UP
`

// newCluster starts munged, slurmctld and slurmd, which know nothing of any other Slurm of the machine.
func newCluster(t *testing.T) *cluster {
	t.Helper()
	if os.Getuid() != 0 {
		lacking(t, "only root can start slurmd")
	}
	for _, path := range []string{"/usr/sbin/munged", "/usr/sbin/slurmctld", "/usr/sbin/slurmd", "/usr/bin/srun"} {
		if !isThere(path) {
			lacking(t, "there is no "+path+", which slurmctld, slurmd, slurm-client and munge bring")
		}
	}
	h := newHouse(t).withUV()
	c := &cluster{house: h, t: t, dir: filepath.Dir(h.home), user: fmt.Sprintf("rtd-%d", os.Getpid())}
	check(t, os.Chmod(c.dir, 0o755))
	c.addUser()
	c.programs()

	for _, name := range []string{"munge", "state", "spool"} {
		check(t, os.Mkdir(filepath.Join(c.dir, name), 0o755))
	}
	key := make([]byte, 128)
	_, _ = rand.Read(key) // never fails
	check(t, os.WriteFile(filepath.Join(c.dir, "munge/key"), key, 0o600))
	munge := filepath.Join(c.dir, "munge")
	c.serve("/usr/sbin/munged", "--foreground", "--key-file="+munge+"/key", "--socket="+munge+"/socket",
		"--pid-file="+munge+"/pid", "--log-file="+munge+"/log", "--seed-file="+munge+"/seed")
	c.eventually(time.Minute, "munged listens", func() bool { return isThere(munge + "/socket") })

	host, err := os.Hostname()
	check(t, err)
	host, _, _ = strings.Cut(host, ".")
	conf := filepath.Join(c.dir, "slurm.conf")
	c.setenv("SLURM_CONF", conf)
	control := freePort(t, 61000)
	text := fmt.Sprintf(slurmConf, host, c.dir, control, freePort(t, control+1), c.user)
	check(t, os.WriteFile(conf, []byte(text), 0o644))
	groups := []byte("CgroupAutomount=no\nIgnoreSystemd=yes\n")
	check(t, os.WriteFile(filepath.Join(c.dir, "cgroup.conf"), groups, 0o644))
	t.Cleanup(c.removeGroups)
	c.serve("/usr/sbin/slurmctld", "-D", "-c")
	c.serve("/usr/sbin/slurmd", "-D", "-N", c.user)
	c.eventually(time.Minute, "the node is idle", func() bool {
		out, _ := c.as("sinfo", "--noheader", "--format=%T").Output()
		return strings.TrimSpace(string(out)) == "idle"
	})
	return c
}

// freePort is a port that the system gives nobody by itself, for a kernel for one: those are below 61000.
func freePort(t *testing.T, from int) int {
	t.Helper()
	for port := from; port < 64000; port++ {
		ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
		if err == nil {
			check(t, ln.Close())
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

// addUser makes the user, whose home is that of the house.
func (c *cluster) addUser() {
	c.t.Helper()
	c.system("/usr/sbin/useradd", "--home-dir", c.home, "--no-create-home", "--shell", "/bin/sh", c.user)
	c.t.Cleanup(func() {
		c.eventually(time.Minute, "the user's last process has ended, and the user is removed", func() bool {
			return exec.Command("/usr/sbin/userdel", c.user).Run() == nil
		})
	})
	for option, id := range map[string]*uint32{"-u": &c.uid, "-g": &c.gid} {
		out, err := exec.Command("id", option, c.user).Output()
		check(c.t, err)
		n, err := strconv.ParseUint(strings.TrimSpace(string(out)), 10, 32)
		check(c.t, err)
		*id = uint32(n)
	}
	tmp := filepath.Join(c.dir, "t")
	check(c.t, os.Mkdir(tmp, 0o755))
	check(c.t, errors.Join(os.Chown(c.home, int(c.uid), int(c.gid)), os.Chown(tmp, int(c.uid), int(c.gid))))
	c.setenv("TMPDIR", tmp)
	c.setenv("UV_CACHE_DIR", filepath.Join(c.home, ".cache/uv"))
}

// programs copies what the user cannot reach where it is, and the example's Prolog.
func (c *cluster) programs() {
	c.t.Helper()
	bin := filepath.Join(c.dir, "bin")
	dir, err := realUV()
	check(c.t, err)
	check(c.t, os.Mkdir(bin, 0o755))
	c.system("cp", runtProgram, daemonProgram, filepath.Join(dir, "uv"), "../testdata/tools/front_end.py", bin)
	c.setenv("PATH", bin+":/usr/bin:/bin")
	// ipykernel is for the pool, which then finds it in the user's cache.
	packages := append([]string{"pip", "install", "--quiet", "--python", c.python(), "ipykernel"}, frontEndPackages...)
	for _, args := range [][]string{{"venv", "--quiet", "--no-project", "--python", "/usr/bin/python3",
		filepath.Join(c.home, "papermill")}, packages} {
		if out, err := c.as(filepath.Join(bin, "uv"), args...).CombinedOutput(); err != nil {
			c.t.Fatalf("uv %q: %v: %s", args, err, out)
		}
	}

	// The Prolog starts programs without variables, and here a network may be reached by these only.
	var exports strings.Builder
	for _, v := range c.env {
		if name, value, _ := strings.Cut(v, "="); name != "HOME" {
			fmt.Fprintf(&exports, "export %s='%s'\n", name, value)
		}
	}
	runt := filepath.Join(bin, "prolog-runt")
	check(c.t, os.WriteFile(runt, fmt.Appendf(nil, "#!/bin/sh\n%stest -e '%s' || exec runt \"$@\"\n", &exports,
		c.noProlog()), 0o755))
	text, err := os.ReadFile("../examples/slurm/prolog.sh")
	check(c.t, err)
	if bytes.Count(text, []byte("runt=/usr/bin/runt\n")) != 1 {
		c.t.Fatal("the Prolog does not name runt once")
	}
	text = bytes.Replace(text, []byte("runt=/usr/bin/runt\n"), []byte("runt="+runt+"\n"), 1)
	check(c.t, os.WriteFile(filepath.Join(c.dir, "prolog.sh"), text, 0o755))
}

// noProlog is a file that has the Prolog do nothing while it is there.
func (c *cluster) noProlog() string { return filepath.Join(c.dir, "no-prolog") }

// python is one of the user's, with papermill.
func (c *cluster) python() string { return filepath.Join(c.home, "papermill/bin/python") }

// system runs a command as root.
func (c *cluster) system(name string, args ...string) {
	c.t.Helper()
	if out, err := exec.Command(name, args...).CombinedOutput(); err != nil {
		c.t.Fatalf("%s %q: %v: %s", name, args, err, out)
	}
}

// as is a command of the user's, on the submitting side.
func (c *cluster) as(name string, args ...string) *exec.Cmd {
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = c.env, c.home
	cmd.SysProcAttr = &syscall.SysProcAttr{Credential: &syscall.Credential{Uid: c.uid, Gid: c.gid}}
	return cmd
}

// serve starts a program of Slurm's as root, and ends it with the test.
func (c *cluster) serve(name string, args ...string) {
	c.t.Helper()
	cmd := exec.Command(name, args...)
	cmd.Env, cmd.Dir = append(os.Environ(), c.env...), c.dir
	said, err := os.Create(filepath.Join(c.dir, filepath.Base(name)+".out"))
	check(c.t, err)
	defer said.Close()
	cmd.Stdout, cmd.Stderr = said, said
	check(c.t, cmd.Start())
	c.t.Cleanup(func() {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		timer := time.AfterFunc(20*time.Second, func() { _ = cmd.Process.Kill() })
		_ = cmd.Wait()
		if !timer.Stop() {
			c.t.Errorf("%s did not end", name)
		}
		if c.t.Failed() {
			text, _ := os.ReadFile(said.Name())
			log, _ := os.ReadFile(filepath.Join(c.dir, filepath.Base(name)+".log"))
			c.t.Logf("%s says:\n%s\n%s", name, text[max(0, len(text)-2000):], log[max(0, len(log)-4000):])
		}
	})
}

// runtAs is the answer to a command of the user's, which starts no daemon.
func runtAs[R any](c *cluster, args ...string) (r R, err error) {
	cmd := c.as(filepath.Join(c.dir, "bin/runt"), append(args, "--json")...)
	cmd.Env = append(slices.Clone(c.env), "RUNTIMED_NO_START=1")
	out, err := cmd.Output()
	if err == nil {
		err = json.Unmarshal(out, &r)
	}
	return r, err
}

// removeGroups removes the control groups of the node, which are empty.
func (c *cluster) removeGroups() {
	for _, pattern := range []string{"/sys/fs/cgroup/slurm_%s", "/sys/fs/cgroup/*/slurm_%s",
		"/sys/fs/cgroup/system.slice/%s_slurmstepd.scope"} {
		tops, _ := filepath.Glob(fmt.Sprintf(pattern, c.user))
		for _, top := range tops {
			_ = exec.Command("find", top, "-depth", "-type", "d", "-exec", "rmdir", "{}", "+").Run() // some may be gone
		}
	}
}

// job runs a command as a job, and returns what it prints.
func (c *cluster) job(args ...string) string {
	c.t.Helper()
	cmd := c.as("srun", append([]string{"--quiet"}, args...)...)
	var said strings.Builder
	cmd.Stderr = &said
	out, err := cmd.Output()
	if err != nil {
		c.t.Fatalf("srun %q: %v: %s", args, err, &said)
	}
	return string(out)
}

// daemon is the pid of the user's daemon, or 0.
func (c *cluster) daemon() int {
	info, err := runtAs[rpc.Info](c, "daemon", "info")
	if err != nil {
		return 0
	}
	return info.PID
}

// status is that of the pool uv.
func (c *cluster) status() (s rpc.PoolStatus) {
	r, err := runtAs[rpc.StatusResult](c, "pool", "status", "uv")
	if err == nil && len(r.Pools) == 1 {
		s = r.Pools[0]
	}
	return s
}

func (c *cluster) full() {
	c.t.Helper()
	c.eventually(3*time.Minute, "the pool is full", func() bool {
		s := c.status()
		return s.Target > 0 && s.Available == s.Target
	})
}

// inJob says whether a process is in a control group of the node's jobs.
func (c *cluster) inJob(pid int) bool {
	c.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/cgroup", pid))
	check(c.t, err)
	return strings.Contains(string(text), "/job_")
}

// frontEnd is one of the user's on the submitting side, with a kernelspec that has srun start runt kernel.
func (c *cluster) frontEnd() *jupyter {
	c.t.Helper()
	c.t.Cleanup(c.tellFrontEnds)
	dir := filepath.Join(c.home, ".local/share/jupyter/kernels/job")
	check(c.t, os.MkdirAll(dir, 0o755))
	text := `{"argv": ["srun", "--quiet", "--job-name=kernel", "runt", "kernel", "-f", "{connection_file}"],
"display_name": "job", "language": "python"}`
	check(c.t, os.WriteFile(filepath.Join(dir, "kernel.json"), []byte(text), 0o644))
	c.system("chown", "-R", c.user, filepath.Join(c.home, ".local"))
	return c.frontEndBy(func(string, ...string) *exec.Cmd {
		return c.as(c.python(), filepath.Join(c.dir, "bin/front_end.py"))
	}, c.env)
}

func TestTheNextJobOfSlurmFindsThePoolWarm(t *testing.T) {
	t.Parallel()
	c := newCluster(t)
	c.configure("[pools.uv]\nsize = 1\npackages = [\"ipykernel\"]\n")
	c.system("chown", "-R", c.user, filepath.Join(c.home, ".config"))
	t.Cleanup(func() { _ = c.as(filepath.Join(c.dir, "bin/runt"), "daemon", "stop").Run() })

	// Without the Prolog a job starts the daemon, which ends with it. What is ready stays for the next.
	check(t, os.WriteFile(c.noProlog(), nil, 0o644))
	const fills = `runt run --wait 5m -- true && cat /proc/self/cgroup && runt daemon info --json &&
		until runt pool status | grep -q 'Available: 1'; do sleep 0.1; done`
	said := c.job("sh", "-c", fills)
	groups, text, _ := strings.Cut(said, "{")
	var first rpc.Info
	check(t, json.Unmarshal([]byte("{"+text), &first))
	if !strings.Contains(groups, "/job_") {
		t.Fatalf("the job has no control group of its own: %s", groups)
	}
	c.gone(first.PID, time.Minute)
	j := c.frontEnd()
	k := j.do("start", step{"kernel": "job"})
	t.Logf("without the Prolog a kernel answers after %.2f s", k.Seconds)
	if s := c.status(); s.Counters.Hits != 1 || s.Counters.Misses != 0 || s.Standby.Why == "" {
		t.Errorf("without the Prolog the second job's daemon says %+v", s)
	}
	if pid := c.daemon(); pid == 0 || !c.inJob(pid) {
		t.Errorf("the daemon %d is not in the job", pid)
	}
	j.do("shutdown", nil)
	c.eventually(time.Minute, "the second job's daemon is gone", func() bool { return c.daemon() == 0 })

	// With it the daemon outlives the jobs.
	check(t, os.Remove(c.noProlog()))
	c.job("true")
	daemon := c.daemon()
	if daemon == 0 || c.inJob(daemon) {
		t.Fatalf("the Prolog has started daemon %d, in a job", daemon)
	}
	c.full()
	k = j.do("start", step{"kernel": "job"})
	t.Logf("with the Prolog a kernel answers after %.2f s", k.Seconds)
	pid, err := strconv.Atoi(strings.TrimSpace(j.cell("import os; print(os.getpid())")))
	check(t, err)
	if !c.inJob(pid) {
		t.Errorf("the kernel %d is not in the job", pid)
	}

	// The leases of a job end however it ends; that of a kernel waits for a restart.
	c.full()
	held := c.as("srun", "--quiet", "--job-name=held", "runt", "run", "--", "sleep", "600")
	check(t, held.Start())
	c.eventually(time.Minute, "both jobs have leases", func() bool { return len(c.living()) == 2 })
	check(t, c.as("scancel", "--signal=KILL", "--full", "--name=held").Run())
	check(t, c.as("scancel", "--name=kernel").Run())
	_ = held.Wait() // it was killed
	c.eventually(time.Minute, "the leases have ended", func() bool { return len(c.living()) == 0 })

	c.full()
	c.batch()
	c.full()
	if now, n := c.daemon(), c.status().Counters; now != daemon || n.Hits != 3 || n.Misses != 0 {
		t.Errorf("the daemon was %d and is %d, and counts %+v", daemon, now, n)
	}
}

// living are the leases whose owners have not ended.
func (c *cluster) living() []rpc.EnvListed {
	c.t.Helper()
	r, err := runtAs[rpc.EnvListResult](c, "env", "list", "--state", "leased")
	check(c.t, err)
	return slices.DeleteFunc(r.Envs, func(e rpc.EnvListed) bool { return e.Lease.KeptUntil != nil })
}

// batch has the example's script run a notebook.
func (c *cluster) batch() {
	c.t.Helper()
	check(c.t, c.as(filepath.Join(c.dir, "bin/runt"), "kernelspec", "install").Run())
	c.write("in.ipynb", `{"nbformat": 4, "nbformat_minor": 5, "metadata": {}, "cells": [
{"cell_type": "code", "id": "a", "metadata": {}, "outputs": [], "execution_count": null,
 "source": "import os; print(6 * 7, os.environ['SLURM_JOB_ID'])"}]}`)
	c.system("cp", "../examples/slurm/notebook.sbatch", c.home)
	submit := c.as("sbatch", "--parsable", "--output=batch.log", "notebook.sbatch", "in.ipynb", "out.ipynb")
	id, err := submit.Output()
	check(c.t, err)
	c.eventually(2*time.Minute, "the notebook has run", func() bool {
		text, _ := os.ReadFile(filepath.Join(c.home, "out.ipynb"))
		return strings.Contains(string(text), "42 "+strings.TrimSpace(string(id)))
	})
}
