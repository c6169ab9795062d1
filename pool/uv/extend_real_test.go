//go:build e2e

package uv

import (
	"errors"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

// TestARealEnvironmentIsExtended needs what TestRealEnvironments needs.
func TestARealEnvironmentIsExtended(t *testing.T) {
	u := realUV(t)
	home := wanting("ipykernel", "pip")
	dir := filepath.Join(u.Dir, "envs", "uv-00000001")
	before, err := u.Build(t.Context(), home, dir, func(builder.Stage) {})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	more := wanting("ipykernel", "pip", "humanize", "rich>=13")
	more.Base = &home

	began := time.Now()
	version, err := u.Prepare(t.Context(), more, dir, time.Hour, func(builder.Stage) {})
	if err != nil || version != before.PythonVersion {
		t.Fatalf("%s, %+v", version, err)
	}
	prepared := time.Since(began)
	after, err := u.Extend(t.Context(), more, dir, func(builder.Stage) {})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	t.Logf("resolved in %s, extended in %s", prepared.Round(time.Millisecond),
		(time.Since(began) - prepared).Round(time.Millisecond))
	for _, p := range before.Packages {
		if !slices.Contains(after.Packages, p) {
			t.Errorf("%v was changed: %v", p, after.Packages)
		}
	}
	for _, name := range []string{"humanize", "rich"} {
		if !slices.ContainsFunc(after.Packages, func(p builder.Package) bool { return p.Name == name }) {
			t.Errorf("%s is not in %v", name, after.Packages)
		}
	}
	if out, err := exec.CommandContext(t.Context(), after.Python, "-I", "-c",
		"import humanize, rich, ipykernel_launcher").CombinedOutput(); err != nil {
		t.Errorf("%v: %s", err, out)
	}

	// Specifiers that the pool's Python satisfies lead to that one.
	more.Python = ">=3.9"
	if got, err := u.Prepare(t.Context(), more, dir, time.Hour, func(builder.Stage) {}); err != nil || got != version {
		t.Errorf("%s, %+v", got, err)
	}
	for cause, sp := range map[string]builder.Spec{
		builder.CausePackageNotFound: {Kind: builder.KindUV,
			Packages: []string{"ipykernel", "runtimed-has-no-such-package-zz"}, Base: &home},
		builder.CauseUnsatisfiable: {Kind: builder.KindUV,
			Packages: []string{"ipykernel", "humanize==4.9.0", "humanize==4.10.0"}, Base: &home},
		builder.CausePythonMissing: {Kind: builder.KindUV, Packages: home.Packages, Python: before.Python,
			RequiresPython: "<3", Base: &home},
	} {
		_, err := u.Prepare(t.Context(), sp, dir, time.Hour, func(builder.Stage) {})
		var b *builder.Error
		if !errors.As(err, &b) || b.Cause != cause || b.Hint == "" {
			t.Errorf("%s: %+v", cause, err)
		}
	}

	// What nobody has asked for in a long time is not kept for ever.
	locks := func() []string {
		found, _ := filepath.Glob(filepath.Join(u.Dir, "locks", "needs", "*.txt"))
		return found
	}
	if len(locks()) != 2 {
		t.Errorf("%q", locks())
	}
	past := time.Now().Add(-needsKept - time.Hour)
	testkit.Check(t, os.Chtimes(locks()[0], past, past))
	u.ForgetNeeds()
	if left := locks(); len(left) != 1 || strings.Contains(left[0], ".resolve") {
		t.Errorf("%q", left)
	}
}

// TestWhatSomebodyOnceInstalledIsNotTheNewest needs what TestRealEnvironments needs.
func TestWhatSomebodyOnceInstalledIsNotTheNewest(t *testing.T) {
	t.Setenv("UV_CACHE_DIR", t.TempDir())
	u := realUV(t)
	home := wanting("six")
	for _, name := range []string{"humanize==4.6.0", "humanize"} {
		sp := more(home, name)
		if _, err := u.Prepare(t.Context(), sp, "-", time.Hour, func(builder.Stage) {}); err != nil {
			t.Fatalf("%+v", err)
		}
		b := &build{Builder: u, spec: sp, mark: "-", progress: func(builder.Stage) {}}
		testkit.Check(t, b.prepare(t.Context(), 0))
		data, err := os.ReadFile(b.path)
		if old := strings.Contains(string(data), "humanize==4.6.0"); err != nil || old != (name != "humanize") {
			t.Errorf("%s is %s, %v", name, data, err)
		}
	}
}
