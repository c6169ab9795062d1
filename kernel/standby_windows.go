package kernel

import (
	"encoding/json"
	"errors"
	"os"
	"slices"

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
	start := []string{"-m", "ipykernel_launcher"}
	if k.Banner != "" {
		line, err := json.Marshal(k.Banner) // a literal of Python's too
		if err != nil {
			return err
		}
		start = []string{"-c", "import runpy, sys\nfrom ipykernel.ipkernel import IPythonKernel\n" +
			"usual = IPythonKernel.banner\nIPythonKernel.banner = property(lambda self: " + string(line) +
			" + '\\n' + usual.__get__(self))\nsys.argv[0] = '-m'\n" +
			"runpy.run_module('ipykernel_launcher', run_name='__main__', alter_sys=True)"}
	}
	argv := slices.Concat([]string{r.Env.Python}, start, []string{"-f", k.File}, k.Args)
	return command.Become(r.Env.Python, argv, command.Environ(os.Environ(), r.Env), nil)
}
