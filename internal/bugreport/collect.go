package bugreport

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/config"
	"runtimed/internal/daemon"
	"runtimed/internal/lazyregexp"
	"runtimed/internal/logview"
	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/rpc"
	"runtimed/service"
)

const (
	reportLines = 2000             // of the log
	doctorTime  = 20 * time.Second // for the doctor, who has 5 s
	reportNames = 5000             // of the state directory
	maxConfig   = 1 << 20          // bytes of a file that is read for the passwords in it
	serviceSize = 64 << 10         // of a service's file; ours are small
)

func (b *Report) collect(d *daemon.Control) {
	cfg, cfgErr := config.Load(config.Flags{}, d.Env)
	services := service.Files(d.Env)
	learn := append(services[:len(services):len(services)], config.SystemPath())
	if path, err := config.FilePath(config.Flags{}, d.Env); err == nil {
		learn = append(learn, path)
	}
	for _, path := range learn {
		if data, err := safefile.Read(path, maxConfig); err == nil {
			b.Learn(string(data)) // first: the log may have the passwords without their URL
		}
	}
	lines, logErr := b.log(d)

	b.add("system.txt", systemText(b.version))
	b.add("environment.txt", b.environment(slices.Sorted(slices.Values(os.Environ()))))
	stateDir := b.daemon(d)
	if cfgErr != nil {
		b.fail("the configuration", cfgErr)
	} else {
		cfg.Chosen, _ = statedir.ChosenPython(stateDir)
		var text bytes.Buffer
		cfg.Write(&text)
		b.add("config.txt", text.String())
	}
	b.doctor(d)
	if logErr != nil {
		b.fail("the log", logErr)
	} else {
		b.files = append(b.files, file{"log.jsonl", b.Lines(lines)})
	}
	for _, path := range services {
		if data, err := readSome(path, serviceSize); err != nil {
			b.fail(path, err)
		} else {
			b.add("service/"+filepath.Base(path), string(data))
		}
	}
	b.state(d, cfg, stateDir)
}

func (b *Report) daemon(d *daemon.Control) (stateDir string) {
	c, info, err := d.Dial(d.Ctx, nil) // of any version
	if err != nil {
		b.fail("the daemon", err)
		return ""
	}
	defer c.Close()
	for _, method := range []string{rpc.MethodInfo, rpc.MethodStatus, rpc.MethodEnvList} {
		raw, err := d.Call(c, method, rpc.None{}, 0)
		if err != nil {
			b.fail(method, err)
		} else {
			b.addJSON(method+".json", raw)
		}
	}
	return info.StateDir
}

func (b *Report) log(d *daemon.Control) ([][]byte, error) {
	src, err := d.LogSource()
	if err != nil {
		return nil, err
	}
	lines, err := src.Last(d.Ctx, reportLines, logview.Filter{})
	for _, line := range lines {
		b.Learn(string(line))
	}
	return lines, err
}

// doctor runs another runt: whatever that runs into leaves the report whole.
func (b *Report) doctor(d *daemon.Control) {
	self, err := os.Executable()
	if err != nil {
		return
	}
	ctx, cancel := context.WithTimeout(d.Ctx, doctorTime)
	defer cancel()
	cmd := exec.CommandContext(ctx, self, "doctor", "--json")
	cmd.WaitDelay = time.Second
	var out, said bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &said
	err = cmd.Run() // with 1 where it finds a problem
	if json.Valid(out.Bytes()) {
		b.addJSON("doctor.json", out.Bytes())
	} else {
		b.fail("the doctor", fmt.Errorf("%v: %s", err, strings.Join(redact.LastLines(said.String(), 3), "; ")))
	}
}

func systemText(version string) string {
	var t strings.Builder
	fmt.Fprintf(&t, "%s\n%s/%s, %d processors\n", version, runtime.GOOS, runtime.GOARCH, runtime.NumCPU())
	for _, path := range []string{"/etc/os-release", "/proc/version", "/proc/meminfo"} {
		data, _ := readSome(path, 4<<10)
		for line := range strings.Lines(string(data)) {
			if path == "/proc/version" || strings.HasPrefix(line, "PRETTY_NAME=") || strings.HasPrefix(line, "Mem") {
				t.WriteString(line)
			}
		}
	}
	switch runtime.GOOS {
	case "darwin":
		out, _ := exec.Command("sw_vers").Output()
		t.Write(out)
	case "windows":
		out, _ := exec.Command("cmd", "/c", "ver").Output()
		t.Write(bytes.TrimSpace(out))
		t.WriteByte('\n')
	}
	return t.String()
}

var matters = lazyregexp.New(`^(PATH|HOME|LANG|SHELL|TMPDIR|NETRC|NO_COLOR|LOCALAPPDATA|VIRTUAL_ENV|.*_PROXY|` +
	`(RUNTIMED_|XDG_|UV_|PIP_|CONDA_|MAMBA_|PYTHON|SSL_|REQUESTS_|CURL_|LC_).*)$`)

func (b *Report) environment(environ []string) string {
	var t strings.Builder
	for _, pair := range environ {
		name, value, _ := strings.Cut(pair, "=")
		if matters().MatchString(strings.ToUpper(name)) {
			fmt.Fprintf(&t, "%s=%s\n", name, b.Value(name, value))
		}
	}
	return t.String()
}

// state tells names and sizes in the daemon's folders, no deeper than where packages begin.
func (b *Report) state(d *daemon.Control, cfg *config.Config, answered string) {
	dirs := []string{answered}
	if own, err := rpc.StateDir(runtime.GOOS, d.Env); err == nil {
		dirs = append(dirs, own)
	}
	if log, err := d.LogFile(); err == nil {
		dirs = append(dirs, filepath.Dir(log))
	}
	if cfg != nil {
		dirs = append(dirs, cfg.CacheDir)
	}
	slices.Sort(dirs)
	var t strings.Builder
	for _, dir := range slices.Compact(dirs) {
		if dir == "" {
			continue
		}
		if data, err := readSome(filepath.Join(dir, statedir.StatusName), 64<<10); err == nil {
			b.addJSON(statedir.StatusName, data)
		}
		fmt.Fprintf(&t, "%s\n", dir)
		listing(&t, dir, 1)
	}
	b.add("state.txt", t.String())
}

var oursInState = lazyregexp.New(`^(envs|locks|tools|daemon\..*|runtimed.*)$`)

func listing(t *strings.Builder, dir string, depth int) {
	list, err := os.ReadDir(dir)
	if err != nil {
		fmt.Fprintf(t, "%*s%v\n", 2*depth, "", err)
	}
	for i, e := range list {
		if depth == 1 && !oursInState().MatchString(e.Name()) {
			continue // the folder may be others' too, if the socket was put elsewhere
		}
		if i == reportNames {
			fmt.Fprintf(t, "%*sand %d more\n", 2*depth, "", len(list)-i)
			return
		}
		size, mode, at := int64(0), fs.FileMode(0), "-"
		if info, err := e.Info(); err == nil {
			size, mode, at = info.Size(), info.Mode(), info.ModTime().UTC().Format(time.RFC3339)
		}
		fmt.Fprintf(t, "%*s%s %9d %s %s\n", 2*depth, "", mode, size, at, redact.Printable(e.Name()))
		if e.IsDir() && depth < 2 && !strings.Contains(e.Name(), ".") {
			listing(t, filepath.Join(dir, e.Name()), depth+1)
		}
	}
}

func readSome(path string, most int64) ([]byte, error) {
	f, err := safefile.Open(path)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	data, _ := io.ReadAll(io.LimitReader(f, most)) // what could be read is better than nothing
	return data, nil
}
