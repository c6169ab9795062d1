//go:build e2e

package e2e

import (
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/windows"
)

const standInVersion = "3.12.0"

// deepest is below site-packages, as deep as the deepest file of a real environment.
const deepest = `debugpy\_vendored\pydevd\_pydevd_bundle\_debug_adapter\__pycache__` +
	`\__main__pydevd_gen_debug_adapter_protocol.pyc`

// init makes this program the uv or the Python that its name says: there is no script here that passes for a program.
func init() {
	self, err := os.Executable()
	if err != nil {
		return
	}
	switch filepath.Base(self) {
	case "uv.exe":
		err = standInUV(self, os.Args[1:])
	case "python.exe":
		err = standInPython(self, os.Args[1:])
	default:
		return
	}
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

// withStandIn puts this program in the place of uv and of Python.
func (h *house) withStandIn() *house {
	h.t.Helper()
	self, err := os.Executable()
	check(h.t, err)
	dir := filepath.Join(h.home, "standin")
	check(h.t, errors.Join(copyFile(self, filepath.Join(dir, "uv.exe")),
		copyFile(self, filepath.Join(dir, "base", "python.exe"))))
	h.setenv("PATH", dir+";"+os.Getenv("PATH"))
	return h
}

// copyFile copies, for a link to a program that runs cannot be removed.
func copyFile(from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	if err := os.MkdirAll(filepath.Dir(to), 0o700); err != nil {
		return err
	}
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	_, err = io.Copy(out, in)
	return errors.Join(err, out.Close())
}

// gate has the builds of a stand-in wait in their middle, until it is opened. They tell that they wait.
func (h *house) gate() { check(h.t, os.WriteFile(filepath.Join(h.home, "gate"), nil, 0o600)) }

func (h *house) openGate() { check(h.t, os.Remove(filepath.Join(h.home, "gate"))) }

// atTheGate are the processes of builds that wait, or have waited.
func (h *house) atTheGate() (pids []int) {
	h.t.Helper()
	found, err := filepath.Glob(filepath.Join(h.home, "waiting-*"))
	check(h.t, err)
	for _, path := range found {
		_, word, _ := strings.Cut(filepath.Base(path), "-")
		pid, err := strconv.Atoi(word)
		check(h.t, err)
		pids = append(pids, pid)
	}
	return pids
}

func standInUV(self string, args []string) error {
	switch command := strings.Join(args[:min(2, len(args))], " "); {
	case args[0] == "--version":
		fmt.Println("uv 0.0.0")
	case command == "python list":
		return json.NewEncoder(os.Stdout).Encode([]any{standInAnswer(filepath.Join(filepath.Dir(self), "base"),
			filepath.Join(filepath.Dir(self), "base", "python.exe"))})
	case command == "pip compile":
		return os.WriteFile(args[slices.Index(args, "--output-file")+1], []byte("ipykernel==7.0.0\n"), 0o600)
	case args[0] == "venv":
		dir := args[len(args)-1]
		if err := copyFile(self, filepath.Join(dir, `Scripts\python.exe`)); err != nil {
			return err
		}
		if err := waitAtGate(os.Getenv("USERPROFILE")); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, "pyvenv.cfg"), []byte("home = C:\\\n"), 0o600)
	case command == "pip sync":
		dir := filepath.Dir(filepath.Dir(args[3]))
		for path, text := range map[string]string{`ipykernel\__init__.py`: "x\n", `zmq\_zmq.pyd`: "y\n", deepest: "z\n",
			"last": "z\n", `ipykernel-7.0.0.dist-info\RECORD`: "ipykernel/__init__.py,,2\nzmq/_zmq.pyd,,2\n" +
				filepath.ToSlash(deepest) + ",,2\nlast,,2\n"} {
			path = filepath.Join(dir, `Lib\site-packages`, path)
			if err := errors.Join(os.MkdirAll(filepath.Dir(path), 0o700),
				os.WriteFile(path, []byte(text), 0o600)); err != nil {
				return err
			}
		}
	}
	return nil
}

func waitAtGate(home string) error {
	gate := filepath.Join(home, "gate")
	if !isThere(gate) {
		return nil
	}
	if err := os.WriteFile(filepath.Join(home, fmt.Sprint("waiting-", os.Getpid())), nil, 0o600); err != nil {
		return err
	}
	for isThere(gate) {
		time.Sleep(20 * time.Millisecond)
	}
	return nil
}

// standInAnswer is what a Python says of itself, to any question.
func standInAnswer(dir, python string) any {
	site := filepath.Join(dir, `Lib\site-packages`)
	return map[string]any{"path": python, "version": standInVersion, "implementation": "cpython", "variant": "default",
		"prefix": dir, "site_packages": site,
		"sentinels": []string{filepath.Join(site, `ipykernel\__init__.py`), filepath.Join(site, `zmq\_zmq.pyd`)}}
}

func standInPython(self string, args []string) error {
	switch {
	case len(args) == 0:
	case args[0] == "hold": // until somebody ends its input
		fmt.Println("holds", os.Getpid())
		_, err := io.Copy(io.Discard, os.Stdin)
		return err
	case args[0] == "exit":
		code, err := strconv.ParseUint(args[1], 0, 32)
		if err != nil {
			return err
		}
		return windows.TerminateProcess(windows.CurrentProcess(), uint32(code))
	case slices.Contains(args, "-c"):
		return json.NewEncoder(os.Stdout).Encode(standInAnswer(filepath.Dir(filepath.Dir(self)), self))
	}
	return nil
}

// stillRuns returns an error if the process has ended.
func stillRuns(handle uintptr) error {
	event, err := windows.WaitForSingleObject(windows.Handle(handle), 0)
	if err == nil && event == windows.WAIT_OBJECT_0 {
		err = os.ErrProcessDone
	}
	return err
}

// TestWindowsStandInMakesWhatLooksLikeAnEnvironment is about the tests themselves.
func TestWindowsStandInMakesWhatLooksLikeAnEnvironment(t *testing.T) {
	h, _ := warmHouse(t, "1")
	if got := len(h.folders()); got != 1 {
		t.Errorf("%d environments", got)
	}
}
