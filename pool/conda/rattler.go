package conda

import (
	"context"
	_ "embed"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/redact"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/envdir"
)

//go:embed solving.py
var solvingPart string

//go:embed helper.py
var mainPart string

var condaHelper = solvingPart + mainPart

// rattler makes conda environments without a conda tool: with py-rattler, in a venv of its own that uv makes.
type rattler struct {
	c     *Builder
	turns builder.Turns // to make the venv
	fetch time.Duration // bounds the answer of the channels
	stall time.Duration // bounds a pause in a download
}

func newRattler(c *Builder) *rattler {
	return &rattler{c: c, fetch: 300 * time.Second, stall: 120 * time.Second}
}

func (r *rattler) lockName() string { return "rattler.lock" }

func (r *rattler) compiles() bool { return false }

// Usable is true: the next build makes what is missing.
func (r *rattler) Usable() bool { return true }

// cache is the folder of packages and channel data.
func (r *rattler) cache() string { return filepath.Join(r.c.uv.Tools(), "rattler") }

func (r *rattler) create(ctx context.Context, dir string, job condaJob) error {
	if err := r.helper(ctx, dir, job, helperRequest{Prefix: dir}); err != nil {
		r.tidyPackages() // now: each try leaves more, and may fill the disk
		return err
	}
	if !tool.Executable(pythonOf(dir)) {
		return builder.Errorf(builder.CauseVerifyFailed, "see what the channels have as python",
			"the environment was built, but has no Python that can be run")
	}
	return nil
}

func (r *rattler) renew(ctx context.Context, mark string, job condaJob) error {
	return r.helper(ctx, mark, job, helperRequest{Renew: true})
}

// helperRequest goes to the helper's stdin, since channels may contain passwords.
type helperRequest struct {
	Prefix       string   `json:"prefix"` // empty: only the lock file
	Renew        bool     `json:"renew"`  // ask the channels again
	Channels     []string `json:"channels"`
	Specs        []string `json:"specs"`
	Extra        []string `json:"extra"`  // specs to be added without changing what the others lead to
	Kernel       bool     `json:"kernel"` // the same with ipykernel, if it can be
	Prefer       string   `json:"prefer"` // a lock file whose versions are preferred
	Pixi         *pixi    `json:"pixi"`   // in place of specs
	From         string   `json:"from"`
	To           string   `json:"to"`
	Cache        string   `json:"cache"`
	Copy         bool     `json:"copy"`
	FetchTimeout float64  `json:"fetch_timeout"`
	StallTimeout float64  `json:"stall_timeout"`
	Parent       int      `json:"parent"`
}

// helperEvent is a line of the helper's stdout.
type helperEvent struct {
	Event      string   `json:"event"` // stage, done or error
	Name       string   `json:"name"`  // of the stage
	Text       string   `json:"text"`
	Done       int      `json:"done"`
	Total      int      `json:"total"`
	Bytes      int64    `json:"bytes"`
	BytesTotal int64    `json:"bytes_total"`
	Type       string   `json:"type"`    // of the exception
	Missing    []string `json:"missing"` // packages in no channel
	Spec       string   `json:"spec"`    // that cannot be parsed

	condaAnswered // of done
}

// helper runs the helper, and repairs its venv if that is damaged.
func (r *rattler) helper(ctx context.Context, mark string, job condaJob, request helperRequest) error {
	err := r.c.uv.Folder(r.c.uv.Tools())
	if err == nil {
		err = r.c.uv.NoFile(r.cache())
	}
	if err == nil {
		err = statedir.MakeFolder(r.cache())
	}
	if err != nil {
		return envdir.DiskError(err)
	}
	for _, name := range []string{"pkgs", "repodata"} {
		if err := r.c.uv.NoFile(filepath.Join(r.cache(), name)); err != nil {
			return err
		}
	}
	request.Channels, request.Specs, request.From, request.To = withDefaults(job.channels), job.specs, job.from, job.to
	request.Extra, request.Kernel, request.Prefer, request.Pixi = job.extra, job.kernel, job.prefer, job.pixi
	request.Cache, request.Copy, request.Parent = r.cache(), r.c.uv.Config().Copy, os.Getpid()
	request.FetchTimeout, request.StallTimeout = r.fetch.Seconds(), r.stall.Seconds()
	input, err := json.Marshal(request)
	if err != nil {
		return err
	}
	for again := false; ; again = true {
		python, err := r.ready(ctx, mark, job.progress)
		if err != nil {
			return err
		}
		last, done, err := r.run(ctx, mark, python, input, job.progress)
		switch {
		case ctx.Err() != nil:
			// the caller knows why
			return builder.Errorf(builder.CauseTimeout, "", "the build was ended").Saying(plainLines(done.Output))
		case err == nil && last.Event == "done":
			if job.answered != nil {
				*job.answered = last.condaAnswered
			}
			return nil
		case !again && (last.Type == "ImportError" || last.Event == "" && r.damaged(ctx, mark)):
			r.c.log.Info("rattler's venv no longer works, and is made anew",
				zap.String("python", python), zap.String("text", last.Text), zap.Error(err))
			if err := r.repair(ctx, mark); err != nil {
				return err
			}
		default:
			return r.failed(last, plainLines(done.Output), err)
		}
	}
}

// run runs the helper once. last is its final event: done or error.
func (r *rattler) run(
	ctx context.Context, mark, python string, input []byte, progress func(builder.Stage),
) (last helperEvent, done tool.Result, err error) {
	done, err = r.c.uv.Child(ctx, tool.Command{
		Argv: []string{python, "-I", "-c", condaHelper}, Env: r.c.ChildEnv(), Mark: mark, Input: input,
		Line: func(line []byte) {
			var e helperEvent
			_ = json.Unmarshal(line, &e) // other lines have no Event
			switch e.Event {
			case "stage":
				progress(e.stage())
			case "done", "error":
				last = e
			}
		},
	})
	return last, done, err
}

// stage is the stage for an event.
func (e helperEvent) stage() builder.Stage {
	s := builder.Stage{Name: e.Name, Message: redact.Text(e.Text)}
	switch {
	case e.Name == builder.StageDownloading && e.BytesTotal > 0:
		s.Message = fmt.Sprintf("%d of %d packages, %s of %s", e.Done, e.Total, safefile.Size(e.Bytes),
			safefile.Size(e.BytesTotal))
		s.Fraction = fraction(e.Bytes, e.BytesTotal)
	case e.Total > 0:
		s.Message, s.Fraction = fmt.Sprintf("%d of %d packages", e.Done, e.Total),
			fraction(int64(e.Done), int64(e.Total))
	}
	return s
}

func fraction(n, of int64) *float64 {
	f := float64(n) / float64(of)
	return &f
}

// eventLine is an event, or the end of one that was cut.
var eventLine = regexp.MustCompile(`": .*\}\s*$`)

// plainLines is what a helper printed beside its events.
func plainLines(output string) string {
	var lines []string
	for line := range strings.Lines(output) {
		if !eventLine.MatchString(line) {
			lines = append(lines, line)
		}
	}
	return strings.TrimSpace(strings.Join(lines, ""))
}

// Tidy removes what killed helpers and earlier versions left. No helper may run.
func (r *rattler) Tidy() {
	r.tidyPackages()
	r.removeFrom(r.cache(), func(e os.DirEntry) bool { return authForm.MatchString(e.Name()) && e.Type().IsRegular() })
	if err := statedir.TidyTools(r.c.uv.Tools(), VenvPrefix, filepath.Base(r.venv())); err != nil {
		r.c.log.Warn("an earlier rattler cannot be removed", zap.Error(err))
	}
}

// authForm are the files in which a helper passes on passwords.
var authForm = regexp.MustCompile(`^\.auth-[a-z0-9_]{8}$`)

// unpackForm are folders in which packages are unpacked: a dot, then name, version, build and some letters.
var unpackForm = regexp.MustCompile(`^\.[A-Za-z0-9_.-]+-[A-Za-z0-9_.!+]+-[A-Za-z0-9_.]+$`)

// tidyPackages removes half unpacked packages, which are never used again. Only one helper at a time fills the cache.
func (r *rattler) tidyPackages() {
	r.removeFrom(filepath.Join(r.cache(), "pkgs"), func(e os.DirEntry) bool {
		return unpackForm.MatchString(e.Name()) && e.IsDir()
	})
}

// removeFrom deletes the leftovers in a folder of rattler's, if that is ours.
func (r *rattler) removeFrom(dir string, leftover func(os.DirEntry) bool) {
	if envdir.Ours(r.c.dir, dir) != nil {
		return // nothing there, or a link
	}
	entries, err := os.ReadDir(dir)
	for _, e := range entries {
		if leftover(e) {
			err = errors.Join(err, envdir.RemoveFolder(filepath.Join(dir, e.Name())))
		}
	}
	if err != nil {
		r.c.log.Warn("what an earlier helper left cannot be removed", zap.Error(err))
	}
}
