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
func (k *Kernel) plain(r rpc.AcquireResult, _ rpc.ReleaseAt) error {
	argv := append([]string{r.Env.Python, "-m", "ipykernel_launcher", "-f", k.File}, k.Args...)
	return command.Become(r.Env.Python, argv, command.Environ(os.Environ(), r.Env), nil)
}
