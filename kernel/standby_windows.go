package kernel

import (
	"errors"
	"os"

	"runtimed/internal/command"
	"runtimed/internal/daemon"
	"runtimed/rpc"
)

func (*Kernel) listen() {}

func whyPlain(func(string) string) string { return "this system has no standby kernels" }

func (*Kernel) adopt(*daemon.Control, *rpc.Client, rpc.AcquireResult, rpc.ReleaseAt) error {
	return errors.ErrUnsupported
}

// plain is the kernel until that ends.
func (k *Kernel) plain(r rpc.AcquireResult, release rpc.ReleaseAt) error {
	script, err := k.script(map[string]any{"listeners": nil, "release": release})
	if err != nil {
		return err
	}
	argv := []string{r.Env.Python, "-c", script, "-f", k.File}
	return command.Become(r.Env.Python, append(argv, k.Args...), command.Environ(os.Environ(), r.Env), nil)
}
