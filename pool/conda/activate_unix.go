//go:build unix

package conda

import (
	"path/filepath"

	"runtimed/internal/proc"
	"runtimed/internal/tool"
	"runtimed/pool/uv"
)

const (

	// activationScripts are those of this system.
	activationScripts = "*.sh"
	// activateScript runs what packages bring for this, as conda's own activation does. What they print is no answer.
	activateScript = `for f in "$1"/etc/conda/activate.d/*.sh; do [ -e "$f" ] && . "$f" >&2; done; exec env -0`
	// activationEnd is what stands behind each variable that activateScript prints.
	activationEnd = "\x00"
)

// shellOwn are variables of the shell itself.
var shellOwn = []string{"_", "PWD", "OLDPWD", "SHLVL", proc.MarkEnv}

// condaBins are the folders that are put before PATH.
func condaBins(dir string) []string { return []string{filepath.Join(dir, "bin")} }

// runScripts is the command line that runs the scripts of the environment at dir, and prints what has become of the variables.
func (c *Builder) runScripts(dir string) ([]string, error) {
	shell := []string{"bash", "--noprofile", "--norc"}
	bash := uv.OnPath(append(filepath.SplitList(tool.Lookup(c.environ, "PATH")), "/bin", "/usr/bin"), "bash")
	if len(bash) > 0 {
		shell[0] = bash[0]
	} else {
		shell = []string{"/bin/sh"} // most of the scripts ask for no more
	}
	return append(shell, "-c", activateScript, "sh", dir), nil
}
