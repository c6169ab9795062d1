package daemon

import (
	"bytes"
	"encoding/json"
	"fmt"
	"os/exec"

	"runtimed/internal/failure"
	"runtimed/rpc"
)

// RunPurge has the daemon's program look or remove, by the daemon's own rules and under its locks.
func (d *Control) RunPurge(flags ...string) (said rpc.Purged, err error) {
	program, err := Program()
	if err != nil {
		return said, err
	}
	var errs bytes.Buffer
	cmd := exec.Command(program, append([]string{"purge"}, flags...)...)
	cmd.Stderr = &errs
	out, err := cmd.Output()
	if json.Unmarshal(out, &said) != nil {
		f := failure.New("%s cannot purge: %v", program, err).WithHint("install it anew, in the version of runt")
		f.Quote(rpc.Name, errs.String())
		return said, f
	}
	switch {
	case said.InUse:
		return said, failure.New("%s", said.Error).WithHint("end who uses them; runt env list shows all; without --purge the service alone is taken away")
	case said.Error != "":
		return said, failure.New("%s", said.Error).WithHint("nothing is removed")
	}
	return said, nil
}

// CheckUnused says what is in use: as a daemon that runs knows, else as the disk tells.
func (d *Control) CheckUnused() error {
	err := d.checkNotLeased()
	if rpc.KindOf(err) != rpc.KindUnreachable {
		return err
	}
	if said, err := d.RunPurge("--check"); !said.Held {
		return err
	}
	return d.checkNotLeased() // it has just started
}

// Purge removes what a daemon keeps; whole says that nothing stays. Where a daemon starts meanwhile, it is asked, and stopped too.
func (d *Control) Purge() (whole bool, err error) {
	for try := 1; ; try++ {
		if err := d.stopAny(); err != nil {
			return false, err
		}
		said, err := d.RunPurge()
		if said.Held && try < 5 {
			if err := d.checkNotLeased(); err != nil && rpc.KindOf(err) != rpc.KindUnreachable {
				return false, err
			}
			continue
		}
		for _, s := range said.Stays {
			d.Note("%s stays: %s", s.Path, s.Why)
		}
		return len(said.Stays) == 0, err
	}
}

// checkNotLeased asks the daemon that runs whether anything is leased.
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
	return failure.New("%d of the environments are in use (%s by %s), so nothing is removed", len(list.Envs), e.ID, LeaseText(e.Lease)).
		WithHint("end who uses them; runt env list shows all; without --purge the service alone is taken away")
}

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
