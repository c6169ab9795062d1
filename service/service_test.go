package service

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"runtimed/internal/testkit"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write the golden files anew")

// odd has everything that some syntax gives a meaning to.
const odd = `/home/zoë d'or/a b%h$HOME${x}"q\n`

func plain() Config {
	return Config{Program: "/home/u/.local/bin/runtimed", Socket: "/home/u/.cache/runt/runtimed.sock",
		Log: "/home/u/.cache/runt/runtimed.log"}
}

func strange() Config {
	return Config{
		Program: odd + "/runtimed", Socket: odd + "/runtimed.sock", Log: odd + "/runtimed.log",
		Vars: []Var{{"RUNTIMED_CONFIG", odd + "/c.toml"}, {"RUNTIMED_UV_POOL_SIZE", "0"}},
	}
}

func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		testkit.Check(t, os.WriteFile(path, []byte(got), 0o644))
	}
	want, err := os.ReadFile(path)
	testkit.Check(t, err)
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s is another (-want +got; -update writes it anew):\n%s", path, diff)
	}
}

// answers is a runner that knows what some commands say, by their beginning.
type answers map[string]Output

func (a answers) Run(_ context.Context, argv ...string) (Output, error) {
	line := strings.Join(argv, " ")
	for begin, out := range a {
		if strings.HasPrefix(line, begin) {
			return out, nil
		}
	}
	return Output{Code: 1, Stderr: "unexpected: " + line}, nil
}
