package testkit

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// unscripted are the stand-ins that this program is itself, under another name, as no system but Unix runs scripts.
// They do what uv.sh and python.sh do.
var unscripted = map[string]func(s standin) int{"uv.sh": standin.uv, "python.sh": standin.python}

// mark ends the files of stand-ins. A program that is only called uv or python is none.
const mark = "stand-in of testkit"

// init turns this program into a stand-in if it is a marked copy that is called uv or python. Both names may have more
// behind a dot or a version.
func init() {
	self, err := os.Executable()
	name := strings.TrimSuffix(filepath.Base(self), Exe)
	if uv := strings.HasPrefix(name, "uv"); err != nil || !uv && !strings.HasPrefix(name, "python") {
		return
	}
	data, err := os.ReadFile(self)
	s := standin{here: filepath.Dir(self), self: self, args: os.Args[1:]}
	switch {
	case err != nil || !bytes.HasSuffix(data, []byte(mark)):
	case strings.HasPrefix(name, "uv"):
		os.Exit(s.uv())
	default:
		os.Exit(s.python())
	}
}

const (
	Exe    = ".exe"               // what the name of a program ends in
	Python = "Scripts/python.exe" // in an environment
	Site   = "Lib/site-packages"  // in one that the stand-ins make
	Up     = "../../"             // from there to the environment
)

// script makes a stand-in. The first one is a copy, since nothing can remove a name of a program that runs. Others are
// second names of it.
func (k *Kit) script(name, from string) {
	k.Helper()
	if unscripted[from] == nil {
		k.Skip("its stand-in is a script of sh")
	}
	to := filepath.Join(k.Bin, name) + Exe
	_ = os.Remove(to)
	if others, _ := filepath.Glob(filepath.Join(k.Bin, "*"+Exe)); len(others) > 0 {
		Check(k.T, os.Link(others[0], to))
		return
	}
	data, err := os.ReadFile(Self(k.T))
	Check(k.T, err)
	Check(k.T, os.WriteFile(to, append(data, mark...), 0o700))
}

// environ are the variables that programs need besides PATH and HOME.
func environ(home string) []string {
	return []string{"USERPROFILE=" + home, "LOCALAPPDATA=" + filepath.Join(home, "Local"),
		"APPDATA=" + filepath.Join(home, "Roaming"), "PROGRAMDATA=" + filepath.Join(home, "All"),
		"SYSTEMROOT=" + os.Getenv("SYSTEMROOT"), "TEMP=" + os.TempDir()}
}

const usualPath = `C:\windows\system32`

func exitWith(t *testing.T, script string) *exec.Cmd {
	t.Helper()
	if !strings.HasPrefix(script, "exit ") {
		t.Skip("it is a script of sh")
	}
	return exec.CommandContext(t.Context(), "cmd", "/c", script)
}

// standin is a tool that does what the files beside it say.
type standin struct {
	here, self string
	args       []string
}

func (s standin) at(name string) string { return filepath.Join(s.here, name) }

func (s standin) has(name string) bool { return exists(s.at(name)) }

func (s standin) last() string { return s.args[len(s.args)-1] }

// fail ends the program at the first of these steps at which it is told to.
func (s standin) fail(steps ...string) {
	for _, step := range steps {
		if data, err := os.ReadFile(s.at("fail." + step)); err == nil {
			_, _ = os.Stderr.Write(data)
			os.Exit(2)
		}
	}
}

func must(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, "the stand-in:", err)
		os.Exit(3)
	}
}

func write(path, text string) {
	must(os.MkdirAll(filepath.Dir(path), 0o755))
	must(os.WriteFile(path, []byte(text), 0o666))
}

func add(path, text string) {
	f, err := os.OpenFile(path, os.O_APPEND|os.O_CREATE|os.O_WRONLY, 0o666)
	must(err)
	_, err = f.WriteString(text)
	must(err)
	must(f.Close())
}

// copyFile copies a file that may be absent.
func copyFile(from, to string) {
	if data, err := os.ReadFile(from); err == nil {
		write(to, string(data))
	}
}

// link gives the program at from another name.
func link(from, to string) {
	must(os.MkdirAll(filepath.Dir(to), 0o755))
	_ = os.Remove(to)
	must(os.Link(from, to))
}

func (s standin) uv() int {
	line := strings.Join(s.args, " ")
	add(s.at("calls"), line+"\n")
	write(s.at("env"), strings.Join(os.Environ(), "\n")+"\n")
	cwd, err := os.Getwd()
	must(err)
	write(s.at("cwd"), cwd+"\n")
	offline := strings.Contains(line, "--offline")
	switch {
	case strings.HasPrefix(line, "python list"):
		s.fail("list")
		data, err := os.ReadFile(s.at("pythons"))
		must(err)
		_, _ = os.Stdout.Write(data)
	case strings.HasPrefix(line, "python install"):
		s.fail("install")
		must(os.Rename(s.at("pythons.fetched"), s.at("pythons")))
	case strings.HasPrefix(line, "pip compile"):
		s.compile(offline)
	case strings.HasPrefix(line, "venv"):
		s.fail("venv")
		if !s.has("venv.nothing") {
			must(os.MkdirAll(filepath.Join(s.last(), Site), 0o755))
			write(filepath.Join(s.last(), "pyvenv.cfg"), "home = "+s.here+"\n")
			link(s.at("python"+Exe), filepath.Join(s.last(), Python))
		}
	case strings.HasPrefix(line, "pip sync"):
		switch {
		case offline:
			s.fail("offline")
		case strings.Contains(line, "--reinstall"):
			s.fail("reinstall")
		default:
			s.fail("online")
		}
		if !s.has("sync.nothing") {
			s.sync(filepath.Join(filepath.Dir(filepath.Dir(s.args[3])), Site))
		}
	}
	return 0
}

func (s standin) compile(offline bool) {
	s.fail("compile")
	version := 2
	if offline {
		s.fail("compile.offline")
		if os.Getenv("RUST_LOG") != "" {
			data, _ := os.ReadFile(s.at("warn.offline"))
			_, _ = os.Stderr.Write(data)
		}
		version = 1
	} else {
		s.fail("compile.online")
	}
	var in, out string
	for i, arg := range s.args {
		if arg == "--output-file" {
			out = s.args[i+1]
		}
		if strings.HasSuffix(arg, ".in") {
			in = arg
		}
	}
	if info, err := os.Stat(out); err == nil && info.Size() > 0 {
		copyFile(out, s.at("preferred"))
	}
	data, err := os.ReadFile(in)
	must(err)
	write(out, fmt.Sprintf("%s# resolved %d\n", data, version))
}

func (s standin) sync(site string) {
	for name, text := range map[string]string{
		"ipykernel/__init__.py": "1\n", "zmq/x.so": "1\n",
		"ipykernel-7.4.dist-info/RECORD": "ipykernel/__init__.py,sha256=x,2\n" + `"` + Up + `bin/a,b",,` +
			"\nipykernel-7.4.dist-info/RECORD,,\n",
		"pyzmq-27.1.dist-info/RECORD": "zmq/x.so,sha256=x,2\n", "Some.Thing-1.0rc1.dist-info/RECORD": "",
	} {
		write(filepath.Join(site, name), text)
	}
	if s.has("sync.torn") {
		write(filepath.Join(site, "zmq/x.so"), "")
	}
	if !s.has("sync.times") {
		return
	}
	add(s.at("syncs"), "\n")
	write(filepath.Join(site, "zmq/a.py"), "one\n")
	write(filepath.Join(site, "zmq/b.py"), "two\n")
	times, err := os.ReadFile(s.at("syncs"))
	must(err)
	at := time.Date(2001, 1, 1, 0, len(times), 0, 0, time.Local)
	for _, name := range []string{"ipykernel/__init__.py", "zmq/a.py", "zmq/b.py"} {
		must(os.Chtimes(filepath.Join(site, name), at, at))
	}
	must(os.Chmod(filepath.Join(site, "zmq/b.py"), 0o444))
}

// say ends lines as Python does.
func say(data []byte) { _, _ = os.Stdout.Write(bytes.ReplaceAll(data, []byte("\n"), []byte("\r\n"))) }

func (s standin) python() int {
	line := strings.Join(s.args, " ")
	switch {
	case strings.HasPrefix(line, "-I -m venv "):
		if s.has("fail.ensurepip") {
			fmt.Fprintln(os.Stderr,
				"The virtual environment was not created successfully because ensurepip is not available.")
			return 1
		}
		bin := filepath.Join(s.args[3], "Scripts")
		link(s.self, filepath.Join(bin, "python"+Exe))
		for _, name := range []string{"fail.pip", "pip.config", "uv.fetched" + Exe} {
			copyFile(s.at(name), filepath.Join(bin, name))
		}
	case line == "-m pip config list":
		data, _ := os.ReadFile(s.at("pip.config"))
		say(data)
	case strings.HasPrefix(line, "-m pip "):
		if cache := os.Getenv("PIP_CACHE_DIR"); cache != "" {
			add(cache, strings.Join(os.Environ(), "\n")+"\n")
		}
		if data, err := os.ReadFile(s.at("fail.pip")); err == nil {
			_, _ = os.Stderr.Write(data)
			return 1
		}
		to := filepath.Join(filepath.Dir(s.here), "Scripts")
		for i, arg := range s.args {
			if arg == "--target" {
				to = filepath.Join(s.args[i+1], "bin")
			}
		}
		link(s.self, filepath.Join(to, "uv"+Exe))
	case strings.Contains(line, "ipykernel"):
		env := filepath.Dir(s.here)
		site := filepath.Join(env, Site)
		if !exists(filepath.Join(site, "ipykernel/__init__.py")) {
			fmt.Fprintln(os.Stderr, "ModuleNotFoundError: No module named 'ipykernel'")
			return 1
		}
		s.compiles(env, site)
		must(json.NewEncoder(os.Stdout).Encode(map[string]any{"version": "3.13.1", "site_packages": site,
			"sentinels": []string{filepath.Join(site, "ipykernel/__init__.py"), filepath.Join(site, "zmq/x.so")}}))
	case strings.Contains(line, "version_info"):
		data, err := os.ReadFile(s.at("version"))
		if err != nil {
			return 1
		}
		say(data)
	}
	return 0
}

// compiles writes .pyc files as Python does, and lists them beside the stand-in for uv.
func (s standin) compiles(env, site string) {
	cfg, _ := os.ReadFile(filepath.Join(env, "pyvenv.cfg"))
	home := strings.TrimSpace(strings.TrimPrefix(string(cfg), "home = "))
	if !exists(filepath.Join(home, "compiles")) {
		return
	}
	must(filepath.WalkDir(site, func(source string, d fs.DirEntry, err error) error {
		if err != nil || filepath.Ext(source) != ".py" {
			return err
		}
		info, err := d.Info()
		must(err)
		text, err := os.ReadFile(source)
		must(err)
		head := []byte("mag\n\x00\x00\x00\x00")
		head = binary.LittleEndian.AppendUint32(head, uint32(info.ModTime().Unix()))
		head = binary.LittleEndian.AppendUint32(head, uint32(info.Size()))
		pyc := filepath.Join(filepath.Dir(source), "__pycache__",
			strings.TrimSuffix(filepath.Base(source), ".py")+".cpython-313.pyc")
		if has, err := os.ReadFile(pyc); err == nil && bytes.HasPrefix(has, head) {
			return nil
		}
		write(pyc+".new", string(head)+"compiled for "+env+"\n"+string(text))
		_ = os.Chmod(pyc, 0o600)
		must(os.Rename(pyc+".new", pyc))
		below, err := filepath.Rel(site, source)
		must(err)
		add(filepath.Join(home, "compiled"), filepath.ToSlash(below)+"\n")
		return nil
	}))
}
