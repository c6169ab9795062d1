//go:build unix

package builder

import "path/filepath"

// setForService is how a service gets a variable.
const setForService = "in ~/.config/environment.d"

const SitesBelow = "lib/python*/site-packages" // in an environment

// Scripts is where an environment keeps its programs.
func Scripts(dir string) string { return filepath.Join(dir, "bin") }

func VenvPython(dir string) string { return filepath.Join(dir, "bin", "python") }

// ActivationPath is the PATH that packages' scripts see after the environment's own.
const ActivationPath = "/usr/local/bin:/usr/bin:/bin"
