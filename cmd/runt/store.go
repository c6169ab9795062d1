package main

import (
	"encoding/json"
	"io"
	"os"
	"os/exec"
	"strings"
	"time"

	"runtimed/internal/daemon"
	"runtimed/internal/failure"
	"runtimed/internal/safefile"
	"runtimed/rpc"
)

type storeCmd struct {
	Fill storeFillCmd `cmd:"" help:"Download what the uv pools are built from today, for all users of the store."`
}

type storeFillCmd struct {
	Dir string `arg:"" optional:"" type:"path" help:"The store (default: uv.store in the configuration)."`
}

func (storeFillCmd) Help() string {
	return "A store is a folder that its owner fills and that others read. Where uv.store in the configuration names " +
		"it, builds take wheels from it, by the hashes of their lock file, before they ask the package index, and a " +
		"first build takes over the lock file that the store has for its pool. So the next user's first environment " +
		"downloads nothing.\n\n" +
		"The command may be repeated, as by a timer every night: it downloads what is new, and removes nothing. Each " +
		"file appears whole or not at all, so it does not disturb who reads. It needs no daemon. The pools are those " +
		"of the configuration of whoever runs it."
}

// storeEnd is how long it may take to stop what is under way.
const storeEnd = 10 * time.Second

func (c *storeFillCmd) Run(a *app) error {
	program, err := daemon.Program()
	if err != nil {
		return err
	}
	args := []string{"store"}
	if c.Dir != "" {
		args = append(args, "--dir="+c.Dir)
	}
	var filled rpc.StoreFilled
	cmd := exec.CommandContext(a.Ctx, program, args...)
	cmd.Cancel = func() error { return cmd.Process.Signal(os.Interrupt) } // it removes its scratch folder
	cmd.WaitDelay = storeEnd
	cmd.Stderr = io.Discard
	if !a.json {
		cmd.Stderr = a.stderr
	}
	out, err := cmd.Output()
	switch {
	case a.Ctx.Err() != nil:
		return a.Ctx.Err()
	case json.Unmarshal(out, &filled) != nil:
		return failure.New("%s cannot fill a store: %v", program, err).
			WithHint("install it again, in the version of runt")
	case filled.Error != "":
		f := failure.New("%s", filled.Error).WithHint("%s", filled.Hint)
		f.Output = filled.Output
		return f
	}
	for _, name := range filled.Without {
		a.Note("%s has no wheel for this machine, so it is not in the store", name)
	}
	return a.show(filled, func() {
		a.printf("%s has %d wheels (%s) for %s\n", filled.Dir, filled.Wheels, safefile.Size(filled.Bytes),
			strings.Join(filled.Pools, ", "))
	})
}
