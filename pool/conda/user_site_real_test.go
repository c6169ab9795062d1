//go:build e2e

package conda

import (
	"errors"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

// userSite is a HOME in whose user site every Python finds a zmq that is broken.
func userSite(t *testing.T) string {
	t.Helper()
	home := t.TempDir()
	for minor := 9; minor < 16; minor++ {
		zmq := filepath.Join(home, ".local", "lib", fmt.Sprintf("python3.%d", minor), "site-packages", "zmq")
		testkit.Check(t, errors.Join(os.MkdirAll(zmq, 0o755),
			os.WriteFile(filepath.Join(zmq, "__init__.py"), []byte("raise ImportError('from the user site')\n"),
				0o644)))
	}
	return home
}

func TestTheUserSiteBreaksNoCondaEnvironmentAndIsSeenWhereItWould(t *testing.T) {
	r := realRattler(t, "HOME="+userSite(t), "PYTHONPATH=/decoy")
	st, err := envdir.Open(r.c.dir)
	testkit.Check(t, err)
	dir := st.Env("conda-00000001")
	sp := builder.Spec{Kind: builder.KindConda, Packages: []string{"ipykernel"},
		Channels: []string{"file://" + channelDir(t)}}
	built, err := r.c.Build(t.Context(), sp, dir, func(builder.Stage) {})
	if err != nil {
		t.Fatalf("%+v", err)
	}
	if v := built.Variables[builder.NoUserSite]; v == nil || *v != "1" {
		t.Errorf("%s: %v", builder.NoUserSite, v)
	}
	m := envdir.Manifest{
		Version: envdir.ManifestVersion, ID: "conda-00000001", Pool: "conda", Kind: builder.KindConda, SpecHash: "x",
		Python:    built.Python,
		Variables: built.Variables, PathPrepend: built.PathPrepend,
	}
	if _, err := st.WriteManifest(dir, m); err != nil {
		t.Fatal(err)
	}
	if err := r.c.Verify(t.Context(), m.Built(), dir); err != nil {
		t.Error(err)
	}

	// Verified is what is used: where a package has the user site read, the environment does not work, and that is
	// seen.
	m.Variables = maps.Clone(m.Variables)
	delete(m.Variables, builder.NoUserSite)
	if err := r.c.Verify(t.Context(), m.Built(), dir); builder.CauseOf(err) != builder.CauseVerifyFailed {
		t.Errorf("with the user site: %v", err)
	}
	// An environment of an earlier version, which did not say it, says it too.
	if _, err := st.WriteManifest(dir, m); err != nil {
		t.Fatal(err)
	}
	old, _, err := st.ReadManifest("conda-00000001")
	if v := old.Variables[builder.NoUserSite]; err != nil || v == nil || *v != "1" {
		t.Errorf("%v, %v", v, err)
	}
}
