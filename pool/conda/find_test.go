package conda

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"go.uber.org/zap"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestTheFirstToolThatWorksIsTaken(t *testing.T) {
	const onPath, named, installed = "it is on PATH", "conda.path in the configuration names it",
		"it is where installers put it"
	for _, c := range []struct {
		name             string
		cfg              Config
		tools, elsewhere string // what is on PATH, in the folder BIN; what is beside it, in ELSEWHERE
		environ          string
		want             builder.Tool
	}{
		{"all of them", Config{}, "conda mamba micromamba", "", "",
			builder.Tool{Name: ProviderMicromamba, Version: "2.3.1", Path: "BIN/micromamba", Why: onPath}},
		{"mamba", Config{ProviderAuto, ""}, "conda mamba", "", "",
			builder.Tool{Name: ProviderMamba, Version: "2.3.1", Path: "BIN/mamba", Why: onPath}},
		{"conda", Config{ProviderAuto, ""}, "conda", "", "",
			builder.Tool{Name: ProviderConda, Version: "26.7.0", Path: "BIN/conda", Why: onPath}},
		{
			"none", Config{}, "", "", "",
			builder.Tool{Name: ProviderRattler, Version: RattlerVersion(),
				Path: "STATE/tools/rattler-" + RattlerVersion() + "/bin/python",
				Why:  "no micromamba, mamba or conda that works was found"},
		},
		{
			"beside PATH", Config{}, "conda", "micromamba", "",
			builder.Tool{Name: ProviderMicromamba, Version: "2.3.1", Path: "ELSEWHERE/micromamba", Why: installed},
		},
		{
			"MAMBA_EXE", Config{}, "micromamba", "micromamba", "MAMBA_EXE=ELSEWHERE/micromamba",
			builder.Tool{Name: ProviderMicromamba, Version: "2.3.1", Path: "ELSEWHERE/micromamba",
				Why: "MAMBA_EXE names it"},
		},
		{
			"MAMBA_EXE of another", Config{ProviderMamba, ""}, "mamba micromamba", "", "MAMBA_EXE=BIN/micromamba",
			builder.Tool{Name: ProviderMamba, Version: "2.3.1", Path: "BIN/mamba", Why: onPath},
		},
		{
			"CONDA_EXE", Config{}, "", "conda", "CONDA_EXE=ELSEWHERE/conda",
			builder.Tool{Name: ProviderConda, Version: "26.7.0", Path: "ELSEWHERE/conda", Why: "CONDA_EXE names it"},
		},
		{
			"one in particular", Config{ProviderConda, ""}, "conda mamba micromamba", "", "",
			builder.Tool{Name: ProviderConda, Version: "26.7.0", Path: "BIN/conda", Why: onPath},
		},
		{
			"rattler", Config{ProviderRattler, "BIN/micromamba"}, "micromamba", "", "",
			builder.Tool{Name: ProviderRattler, Version: RattlerVersion(),
				Path: "STATE/tools/rattler-" + RattlerVersion() + "/bin/python",
				Why:  "conda.provider in the configuration names it"},
		},
		{
			"a path", Config{ProviderAuto, "ELSEWHERE/conda"}, "micromamba", "conda", "",
			builder.Tool{Name: ProviderConda, Version: "26.7.0", Path: "ELSEWHERE/conda", Why: named},
		},
		{
			"a path of that kind", Config{ProviderMamba, "BIN/micromamba"}, "mamba micromamba", "", "",
			builder.Tool{Name: ProviderMamba, Version: "2.3.1", Path: "BIN/micromamba", Why: named},
		},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newCondaStandin(t, "", strings.Fields(c.tools)...)
			other := newCondaStandin(t, "", strings.Fields(c.elsewhere)...)
			names := strings.NewReplacer("BIN", s.Bin, "ELSEWHERE", other.Bin)
			// and nothing of this machine
			environ := []string{"PATH=" + s.Bin, "HOME=" + t.TempDir(), names.Replace(c.environ)}
			c.cfg.Path = names.Replace(c.cfg.Path)
			s.conda = New(s.State, c.cfg, s.conda.uv, environ, zap.NewNop())
			s.conda.Elsewhere = []string{other.Bin}
			if _, err := s.conda.provider(t.Context(), ""); err != nil {
				t.Fatal(err)
			}
			c.want.Path = strings.Replace(names.Replace(c.want.Path), "STATE", s.State, 1)
			got, ok := s.conda.Tool()
			if diff := cmp.Diff(c.want, got); diff != "" || !ok {
				t.Error(diff)
			}
		})
	}
}

func TestToolsAreToldApartByWhatTheySay(t *testing.T) {
	for _, c := range []struct {
		tool, version string
		classic       bool
		want          string // the version, or the failure
	}{
		{"micromamba", "2.3.1", false, "2.3.1"},
		{"micromamba", "1.5.8", false, "1.5.8"},
		{"mamba", "2.0.5", false, "2.0.5"},
		{"mamba", "mamba 1.5.8", true, "1.5.8"},
		{"conda", "conda 24.1.2", true, "24.1.2"},
		{"conda", "conda 26.7.0.post3", true, "26.7.0.post3"},
		{"conda", "2.3.1", false, "it is micromamba, not conda"},
		{"micromamba", "conda 24.1.2", false, "it is conda, not micromamba"},
		{"micromamba", "hello", false, `it says "hello" where its version was asked for`},
		{"mamba", "Mamba test runner 0.11", false, `it says "Mamba test runner 0.11" where its version was asked for`},
		{"mamba", strings.Repeat("x", 1000), false,
			`it says "` + strings.Repeat("x", 100) + `" where its version was asked for`},
		{"mamba", "none", false, "exit status 127: mamba: command not found in any of these versions: 3.12"},
	} {
		s := newCondaStandin(t, "", c.tool)
		s.Write(c.tool+".version", c.version+"\n")
		program, got, err := s.conda.examine(t.Context(), "", filepath.Join(s.Bin, c.tool), c.tool)
		if err != nil {
			got = err.Error()
		}
		if got != c.want || program.classic != c.classic {
			t.Errorf("%s says %q: %q, %v", c.tool, c.version, got, program.classic)
		}
	}
}

func TestAToolThatOnlySaysItHasNoneIsPassedOver(t *testing.T) {
	s := newCondaStandin(t, "", "micromamba", "mamba")
	s.Write("micromamba.version", "none\n")
	if _, err := s.conda.provider(t.Context(), ""); err != nil {
		t.Fatal(err)
	}
	if got, _ := s.conda.Tool(); got.Name != ProviderMamba {
		t.Errorf("%+v", got)
	}
}

func TestAMissingToolIsToldWithTheWaysOut(t *testing.T) {
	for _, c := range []struct{ name, provider, tools, path, message, hint string }{
		{
			"it is not there", "mamba", "micromamba", "", "mamba was not found on PATH or where installers put it",
			`three ways out: install mamba, name one as conda.path in the configuration, or have conda.provider = ` +
				`"rattler" there`,
		},
		{
			"a shim", "micromamba", "micromamba", "",
			"no micromamba can be used: BIN/micromamba: exit status 127: micromamba: command not found in any of " +
				"these versions: 3.12", "",
		},
		{"no program", "", "micromamba", "/nowhere/conda",
			"conda.path names /nowhere/conda, which is not a program that can be run", ""},
		{"a path to a shim", "", "", "BIN/uv",
			"conda.path names BIN/uv, which cannot be used: it says \"\" where its version was asked for", ""},
		{"a path to another", "conda", "mamba", "BIN/mamba",
			"conda.path names BIN/mamba, which cannot be used: it is mamba, not conda", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			s := newCondaStandin(t, "", strings.Fields(c.tools)...)
			s.Write("micromamba.version", "none\n")
			names := strings.NewReplacer("BIN", s.Bin)
			environ := []string{"PATH=" + s.Bin, "HOME=" + t.TempDir()}
			s.conda = New(s.State, Config{c.provider, names.Replace(c.path)}, s.conda.uv, environ, zap.NewNop())
			s.conda.Elsewhere = nil
			_, err := s.conda.provider(t.Context(), "")
			var b *builder.Error
			if !errors.As(err, &b) || b.Cause != builder.CauseToolMissing || b.Message != names.Replace(c.message) ||
				b.Hint == "" {
				t.Fatalf("%+v", b)
			}
			if c.hint != "" && b.Hint != c.hint {
				t.Error(b.Hint)
			}
			if _, ok := s.conda.Tool(); ok {
				t.Error("it is taken")
			}
		})
	}
}

func TestAToolIsLookedForOnceUntilItIsGoneOrConfigured(t *testing.T) {
	s := newCondaStandin(t, "", "micromamba", "conda")
	// each look leaves a line
	testkit.WriteProgram(t, filepath.Join(s.Bin, "micromamba"),
		[]byte("#!/bin/sh\necho look >> "+s.Bin+"/looks\necho 2.3.1\n"))
	done := make(chan error)
	for range 4 {
		go func() {
			_, err := s.conda.provider(context.Background(), "")
			done <- err
		}()
	}
	for range 4 {
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
	if got := s.Took("looks"); got != "look\n" {
		t.Errorf("looked: %q", got)
	}
	testkit.Check(t, os.Chmod(filepath.Join(s.Bin, "micromamba"), 0o600))
	again := func(want string) {
		t.Helper()
		if _, err := s.conda.provider(t.Context(), ""); err != nil {
			t.Fatal(err)
		}
		if got, _ := s.conda.Tool(); got.Name != want {
			t.Errorf("%+v, not %s", got, want)
		}
	}
	again(ProviderConda)
	s.conda.Configure(Config{Provider: ProviderRattler})
	if _, ok := s.conda.Tool(); ok {
		t.Error("it is in use before it was looked for")
	}
	again(ProviderRattler)
}

func TestALookThatIsEndedFindsNothing(t *testing.T) {
	s := newCondaStandin(t, "")
	testkit.WriteProgram(t, filepath.Join(s.Bin, "micromamba"), []byte("#!/bin/sh\nsleep 600\n"))
	ctx, cancel := context.WithCancel(t.Context())
	cancel()
	if _, err := s.conda.provider(ctx, ""); !errors.Is(err, context.Canceled) {
		t.Errorf("%v", err)
	}
	if tool, ok := s.conda.Tool(); ok {
		t.Errorf("%+v", tool)
	}
}
