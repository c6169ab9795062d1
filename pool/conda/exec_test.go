package conda

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"runtimed/internal/proc"
	"runtimed/internal/project"
	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
	"runtimed/pool/uv"
)

const (
	micromambaLine = "create -y --json --no-env --log-level error -r STATE/tools/mamba -p ENV --override-channels " +
		"-c https://conda.example/forge --strict-channel-priority --repodata-ttl 86400 --lock-timeout 300"
	condaLine = "create -y --json --quiet -p ENV --override-channels -c https://conda.example/forge " +
		"--no-default-packages --no-shortcuts"
)

func TestEachToolIsRunAsDocumented(t *testing.T) {
	for _, c := range []struct{ tool, version, line string }{
		{"micromamba", "", "micromamba " + micromambaLine},
		{"mamba", "", "mamba " + micromambaLine},
		{"conda", "", "conda " + condaLine},
	} {
		t.Run(c.tool, func(t *testing.T) {
			s := newCondaStandin(t, c.tool, c.tool)
			dir, err := s.create(s.solved("numpy>=2"))
			testkit.Check(t, err)
			if got, want := s.Calls(dir), c.line+" python=3.13 numpy>=2"; got != want {
				t.Error(cmp.Diff(want, got))
			}
			if got := strings.TrimSpace(s.Took("cwd")); got != filepath.Join(s.State, "tools", "empty") {
				t.Errorf("it ran in %s", got)
			}
			env := strings.Split(s.Took("env"), "\n")
			if got := tool.Lookup(env, proc.MarkEnv); got != dir {
				t.Errorf("the mark is %q", got)
			}
			for name, want := range map[string]string{ // whatever the user's rc files say
				"CONDA_SUBDIR": project.CondaSubdir(), "CONDA_OFFLINE": "false", "MAMBA_DOWNLOAD_ONLY": "false",
				"CONDA_ALWAYS_SOFTLINK": "false",
			} {
				if got := tool.Lookup(env, name); got != want {
					t.Errorf("%s is %q, not %q", name, got, want)
				}
			}
			if got := tool.Lookup(env,
				"CONDA_REGISTER_ENVS"); got != map[bool]string{true: "false"}[c.tool == ProviderConda] {
				t.Errorf("CONDA_REGISTER_ENVS is %q", got)
			}
		})
	}
	s := newCondaStandin(t, "mamba")
	s.Script("mamba", "conda.sh")
	s.Write("conda.version", "mamba 1.5.8\n")
	dir, err := s.create(s.solved())
	if got, want := s.Calls(dir), "conda "+condaLine+" python=3.13"; err != nil || got != want {
		t.Errorf("mamba before 2.0: %v\n%s", err, got)
	}
}

func TestASecondBuildIsFromTheLockAndOffline(t *testing.T) {
	for tool, line := range map[string]string{"micromamba": "micromamba " + micromambaLine,
		"conda": "conda " + condaLine} {
		t.Run(tool, func(t *testing.T) {
			s := newCondaStandin(t, tool, tool)
			spec := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"},
				Channels: []string{"https://conda.example/forge"}}
			var stages []string
			build := func() string {
				t.Helper()
				dir := filepath.Join(s.State, "envs", "conda-"+filepath.Base(t.TempDir()))
				built, err := s.conda.Build(t.Context(), spec, dir,
					func(s builder.Stage) { stages = append(stages, s.Name) })
				if err != nil || len(built.Packages) != 5 {
					t.Fatalf("%+v, %v", built, err)
				}
				return s.Calls(dir)
			}
			if got, want := build(), line+" python ipykernel"; got != want {
				t.Error(cmp.Diff(want, got))
			}
			if got, want := build(), line+" --file LOCK --offline"; got != want {
				t.Error(cmp.Diff(want, got))
			}
			s.Write("fail.offline", "{}")
			if got, want := build(), line+" --file LOCK --offline\n"+line+" --file LOCK"; got != want {
				t.Error(cmp.Diff(want, got))
			}
			if got := strings.Join(stages,
				" "); got != "resolving verifying installing verifying installing downloading verifying" {
				t.Error(got)
			}
			locks, _ := filepath.Glob(filepath.Join(s.State, "locks", "*-"+project.CondaSubdir()+"-"+tool+".txt"))
			if len(locks) != 1 {
				t.Fatalf("locks: %v", locks)
			}
			data, _ := os.ReadFile(locks[0])
			want := "# platform: " + project.CondaSubdir() + "\n@EXPLICIT\n" // what is needed comes first
			for _, p := range []string{"tzdata-2026a", "python-3.13.1", "pyzmq-27.1", "ipykernel-7.4", "pip-26.0"} {
				name, _, _ := strings.Cut(p, "-")
				want += "https://conda.example/t/tk-1/forge/noarch/" + p + "-0.conda#md5-of-" + name + "\n"
			}
			info, _ := os.Stat(locks[0])
			if diff := cmp.Diff(string(uv.Sealed(locks[0], []byte(want))), string(data)); diff != "" ||
				info.Mode().Perm() != 0o600 {
				t.Errorf("%s%s", info.Mode(), diff)
			}
		})
	}
}

func TestARenewedLockIsSolvedAnewAndServesOnWithoutTheNetwork(t *testing.T) {
	s := newCondaStandin(t, "micromamba", "micromamba")
	spec := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"}, Channels: []string{"forge"}}
	build := func(want string) {
		t.Helper()
		dir := filepath.Join(s.State, "envs", "conda-"+filepath.Base(t.TempDir()))
		if _, err := s.conda.Build(t.Context(), spec, dir, func(builder.Stage) {}); err != nil {
			t.Fatal(err)
		}
		var how []string
		for line := range strings.Lines(s.Calls(dir)) {
			how = append(how, strings.TrimSpace(line[strings.Index(line, "300 ")+4:]))
		}
		if got := strings.Join(how, ", "); got != want {
			t.Errorf("built %s, not %s", got, want)
		}
	}
	build("python ipykernel")
	testkit.Check(t, s.conda.Renew(t.Context(), spec, 0))
	s.Write("fail.solve", "critical libmamba Download error (6) Could not resolve hostname\n")
	build("python ipykernel, --file LOCK --offline")
	s.Remove("fail.solve")
	build("python ipykernel")
	build("--file LOCK --offline")
}

func TestALockIsInstalledWithTheNetworkOnlyWhereThatHelps(t *testing.T) {
	for _, c := range []struct {
		offline, online string // how these tries fail
		tries           int
		cause           string
	}{
		{"", "", 1, ""},
		{"critical libmamba it is Monday", "", 2, ""},
		{"critical libmamba it is Monday", "critical libmamba Download error (6) Could not resolve hostname", 2,
			builder.CauseNetwork},
		{"error    libmamba Could not write to file /x: No space left on device", "", 1, builder.CauseDiskFull},
		{"critical libmamba filesystem error: cannot create directory: Read-only file system [/x]", "", 1,
			builder.CausePermission},
	} {
		s := newCondaStandin(t, "micromamba", "micromamba")
		for step, text := range map[string]string{"offline": c.offline, "online": c.online} {
			if text != "" {
				s.Write("fail."+step, text+"\n")
			}
		}
		list := strings.Repeat("https://conda.example/x.conda#md5-of-x\n", 5)
		s.Write("lock", "@EXPLICIT\n"+list)
		dir, err := s.create(condaJob{from: filepath.Join(s.Bin, "lock")})
		if tries := strings.Count(s.Took("calls"), "--file"); builder.CauseOf(err) != c.cause || tries != c.tries {
			t.Errorf("%d tries, %v", tries, err)
		}
		if envdir.Exists(dir) != (c.cause == "") {
			t.Errorf("%s: what is at the place of the environment: %v", c.offline, envdir.Exists(dir))
		}
	}
}

func TestExitZeroAloneIsNoSuccess(t *testing.T) {
	for control, want := range map[string]string{
		"interrupted":    "other: micromamba ended without saying that it succeeded",
		"without.python": "other: micromamba says that it succeeded, and there is no python in the environment",
	} {
		s := newCondaStandin(t, "micromamba", "micromamba")
		s.Write(control, "")
		dir, err := s.create(s.solved())
		if got := condaSummary(err); got != want || envdir.Exists(dir) {
			t.Errorf("%s: %s, %v", control, got, envdir.Exists(dir))
		}
	}
	p := condaProgram{name: ProviderMicromamba}
	b := p.outcome(t.Context(), "/nowhere", tool.Result{Stdout: []byte("{\n    \"success\": false\n}\n")}, nil)
	if got := condaSummary(b); got != "other: micromamba says that it failed" {
		t.Error(got)
	}
}

func TestWhatWouldBeTakenForAFlagIsRefused(t *testing.T) {
	for _, job := range []condaJob{{specs: []string{"python", "--dry-run"}},
		{specs: []string{"python"}, channels: []string{"-x"}}} {
		s := newCondaStandin(t, "conda", "conda")
		if _, err := s.create(job); builder.CauseOf(err) != builder.CauseOther || s.Took("calls") != "" {
			t.Errorf("%v", err)
		}
	}
}

func TestAToolThatIsGoneIsLookedForAnew(t *testing.T) {
	s := newCondaStandin(t, "auto", "micromamba", "conda")
	if _, err := s.create(s.solved()); err != nil {
		t.Fatal(err)
	}
	testkit.WriteProgram(t, filepath.Join(s.Bin, "micromamba"), []byte("#!/nowhere/sh\n"))
	_, err := s.create(s.solved())
	if builder.CauseOf(err) != builder.CauseToolMissing ||
		!strings.HasPrefix(condaSummary(err), "tool_missing: micromamba cannot be run: ") {
		t.Errorf("%v", err)
	}
	if _, err := s.create(s.solved()); err != nil {
		t.Error(err)
	}
	if tool, _ := s.conda.Tool(); tool.Name != ProviderConda {
		t.Errorf("%+v", tool)
	}
}

func TestAToolThatIsEndedLeavesNothing(t *testing.T) {
	s := newCondaStandin(t, "micromamba", "micromamba")
	provider, err := s.conda.provider(t.Context(), "")
	testkit.Check(t, err)
	dir := filepath.Join(s.State, "env")
	testkit.WriteProgram(t, filepath.Join(s.Bin, "micromamba"), []byte("#!/bin/sh\nmkdir "+dir+"\nsleep 600\n"))
	ctx, cancel := context.WithTimeout(t.Context(), 200*time.Millisecond)
	defer cancel()
	err = provider.create(ctx, dir, s.solved())
	if got := condaSummary(err); got != "timeout: micromamba was ended" || envdir.Exists(dir) {
		t.Errorf("%s, %v", got, envdir.Exists(dir))
	}
}

func TestRecordsThatDoNotSayWhereAPackageCameFromMakeNoLock(t *testing.T) {
	for name, text := range map[string]string{
		"no address": `{"name":"x"}`, "no JSON": "{", "a line more": `{"name":"x","url":"https://h/x\nfile:///y"}`,
	} {
		dir := t.TempDir()
		testkit.Check(t, errors.Join(os.Mkdir(filepath.Join(dir, "conda-meta"), 0o700),
			os.WriteFile(filepath.Join(dir, "conda-meta", "x-1-0.json"), []byte(text), 0o600)))
		to := filepath.Join(dir, "lock")
		if err := (condaProgram{name: ProviderConda}).lock(dir, to); builder.CauseOf(err) != builder.CauseOther ||
			envdir.Exists(to) {
			t.Errorf("%s: %v", name, err)
		}
	}
}

func TestALockNamesWhatAPackageIsCheckedBy(t *testing.T) {
	dir := t.TempDir()
	err := os.Mkdir(filepath.Join(dir, "conda-meta"), 0o700)
	for name, record := range map[string]string{
		"a": `{"name":"a","url":"https://h/a.conda","sha256":"5a","depends":["c >1"]}`,
		"b": `{"name":"b","url":"https://h/b.conda","sha256":"5b","md5":"db","depends":["a"]}`,
		"c": `{"name":"c","url":"file:///c.conda","depends":["a"]}`, // a circle
	} {
		err = errors.Join(err, os.WriteFile(filepath.Join(dir, "conda-meta", name+"-1-0.json"), []byte(record), 0o600))
	}
	to := filepath.Join(dir, "lock")
	if err = errors.Join(err, condaProgram{name: ProviderConda}.lock(dir, to)); err != nil {
		t.Fatal(err)
	}
	data, err := os.ReadFile(to)
	want := "# platform: " + project.CondaSubdir() +
		"\n@EXPLICIT\nfile:///c.conda\nhttps://h/a.conda#sha256:5a\nhttps://h/b.conda#db\n"
	if diff := cmp.Diff(want, string(data)); diff != "" || err != nil {
		t.Error(diff, err)
	}
}
