package conda

import (
	"path/filepath"
	"strings"

	"runtimed/internal/proc"
	"runtimed/pool/envdir"
)

const (
	activationScripts = "*.bat"
	activationEnd     = "\r\n" // cmd cannot print a value of two lines
	// activateScript takes the environment from CONDA_PREFIX: cmd misreads arguments with spaces or parentheses. It
	// goes into the folder, since call reads percent signs again; cd fails for a share.
	activateScript = `@echo off
chcp 65001 >nul
cd /d "%CONDA_PREFIX%\etc\conda\activate.d"
if /i not "%CD%"=="%CONDA_PREFIX%\etc\conda\activate.d" exit /b 1
for %%f in (*.bat) do call "%%f" 1>&2
set
`
)

// shellOwn are variables that cmd sets itself.
var shellOwn = []string{"PROMPT", "COMSPEC", "PATHEXT", proc.MarkEnv}

func condaBins(dir string) []string {
	path := []string{dir}
	for _, folder := range []string{`Library\mingw-w64\bin`, `Library\usr\bin`, `Library\bin`, "Scripts", "bin"} {
		path = append(path, filepath.Join(dir, folder))
	}
	return path
}

// runScripts keeps the script in a file: cmd cannot run several lines otherwise.
func (c *Builder) runScripts(string) ([]string, error) {
	path := filepath.Join(c.uv.Tools(), "activate.bat")
	err := envdir.Usable(c.dir, c.uv.Tools())
	if err == nil {
		err = envdir.WriteWhole(path, []byte(strings.ReplaceAll(activateScript, "\n", "\r\n")), c.uv.Tools())
	}
	return []string{path}, err
}
