package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

// RunPurge has the daemon's program purge, by the daemon's own rules and under its locks.
func (d *Control) RunPurge(flags ...string) (purged rpc.Purged, err error) {
	program, err := Program()
	if err != nil {
		return purged, err
	}
	var errs bytes.Buffer
	cmd := exec.Command(program, append([]string{"purge"}, flags...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if json.Unmarshal(out, &purged) != nil {
		f := failure.New("%s cannot purge: %v", program, err).WithHint("install it anew, in the version of runt")
		f.Quote(rpc.Name, errs.String())
		return purged, f
	}
	switch {
	case purged.InUse:
		return purged, failure.New("%s", purged.Error).WithHint(inUseHint)
	case purged.Error != "":
		return purged, failure.New("%s", purged.Error).WithHint("nothing is removed")
	}
	return purged, nil
}

// CheckUnused fails if an environment is in use, as a running daemon knows, or the disk shows.
func (d *Control) CheckUnused() error {
	err := d.checkNotLeased()
	if rpc.KindOf(err) != rpc.KindUnreachable {
		return err
	}
	if purged, err := d.RunPurge("--check"); !purged.Held {
		return err
	}
	return d.checkNotLeased() // a daemon has just started
}

// Purge removes what a daemon keeps. A daemon that starts meanwhile is asked and stopped too.
func (d *Control) Purge() (whole bool, err error) {
	for try := 1; ; try++ {
		if err := d.stopAny(); err != nil {
			return false, err
		}
		purged, err := d.RunPurge()
		if purged.Held && try < 5 {
			if err := d.checkNotLeased(); err != nil && rpc.KindOf(err) != rpc.KindUnreachable {
				return false, err
			}
			continue
		}
		for _, s := range purged.Stays {
			d.Note("%s stays: %s", s.Path, s.Why)
		}
		return len(purged.Stays) == 0, err
	}
}

func (d *Control) checkNotLeased() error {
	c, _, err := d.Connect(nil)
	if rpc.KindOf(err) == rpc.KindUnreachable {
		return err
	}
	if err != nil {
		f := failure.Of(err)
		f.Message = "nobody tells whether an environment is in use, so nothing is removed: " + f.Message
		return f
	}
	defer c.Close()
	leased := rpc.EnvLeased
	raw, err := d.Call(c, rpc.MethodEnvList, rpc.EnvListParams{State: &leased}, 0)
	if err != nil {
		return err
	}
	var list rpc.EnvListResult
	if err := Decode(raw, &list); err != nil {
		return err
	}
	if len(list.Envs) == 0 {
		return nil
	}
	e := list.Envs[0]
	return failure.New("%d of the environments are in use (%s by %s), so nothing is removed",
		len(list.Envs), e.ID, LeaseText(e.Lease)).
		WithHint(inUseHint)
}

// LeaseText says who holds an environment.
func LeaseText(l *rpc.Lease) string {
	if l == nil {
		return "-"
	}
	text := fmt.Sprintf("pid %d", l.OwnerPID)
	if l.OwnerPID == 0 {
		text = "somebody unknown,"
	}
	switch {
	case l.Where != "":
		text += " " + l.Where
	case !l.Alive:
		text += ", gone"
	}
	if l.Label != "" {
		text += " (" + l.Label + ")"
	}
	return text
}

const inUseHint = "end who uses them; runt env list shows all; without --purge the service alone is taken away"
