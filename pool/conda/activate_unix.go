//go:build unix

package conda

import (
	"path/filepath"

	"runtimed/internal/proc"
	"runtimed/internal/tool"
	"runtimed/pool/uv"
)

const (
	activationScripts = "*.sh"
	// activateScript runs packages' scripts as conda's own activation does. What they print is not part of the
	// answer.
	activateScript = `for f in "$1"/etc/conda/activate.d/*.sh; do [ -e "$f" ] && . "$f" >&2; done; exec env -0`
	// activationEnd follows each variable that activateScript prints.
	activationEnd = "\x00"
)

// shellOwn are variables of the shell itself.
var shellOwn = []string{"_", "PWD", "OLDPWD", "SHLVL", proc.MarkEnv}

// condaBins are the folders that go before PATH.
func condaBins(dir string) []string { return []string{filepath.Join(dir, "bin")} }

// runScripts is the command line that runs the scripts of the environment at dir and prints the variables.
func (c *Builder) runScripts(dir string) ([]string, error) {
	shell := []string{"bash", "--noprofile", "--norc"}
	bash := uv.OnPath(append(filepath.SplitList(tool.Lookup(c.environ, "PATH")), "/bin", "/usr/bin"), "bash")
	if len(bash) > 0 {
		shell[0] = bash[0]
	} else {
		shell = []string{"/bin/sh"} // enough for most scripts
	}
	return append(shell, "-c", activateScript, "sh", dir), nil
}
