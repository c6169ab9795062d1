package main

import (
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"
)

type daemonLogsCmd struct {
	Follow bool `short:"f" help:"Go on printing as the log grows."`
	Lines  int  `short:"n" default:"50" help:"Begin with this many of the last lines (default: ${default})."`
}

func (daemonLogsCmd) Help() string {
	return "With --json the lines are printed as they are in the file."
}

// followEvery is how often a log that is followed is looked at.
const followEvery = 200 * time.Millisecond

// The log is read from its file, beside the socket: it has most to tell when no daemon answers.
func (c *daemonLogsCmd) Run(a *app) error {
	socket, err := a.socket()
	if err != nil {
		return err
	}
	path := filepath.Join(filepath.Dir(socket), "runtimed.log")
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) && !c.Follow {
		return failed("there is no log at %s yet", path).withHint("start a daemon with: runt daemon start")
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	var out io.Writer = a.stdout
	if !a.json {
		text := &logText{w: a.stdout}
		defer text.flush()
		out = text
	}
	if f != nil {
		if err := tail(out, f, max(0, c.Lines)); err != nil {
			f.Close()
			return err
		}
	}
	if c.Follow {
		return follow(a, out, path, f)
	}
	return f.Close()
}

// tail copies the last n lines and leaves f at its end.
func tail(w io.Writer, f *os.File, n int) error {
	end, err := f.Seek(0, io.SeekEnd)
	if err != nil {
		return err
	}
	start, err := lastLinesAt(f, end, n)
	if err != nil {
		return err
	}
	if _, err := f.Seek(start, io.SeekStart); err != nil {
		return err
	}
	_, err = io.Copy(w, f)
	return err
}

// lastLinesAt is where the last n lines before end begin.
func lastLinesAt(r io.ReaderAt, end int64, n int) (int64, error) {
	buf := make([]byte, 32<<10)
	for pos := end; pos > 0 && n > 0; {
		size := min(int64(len(buf)), pos)
		pos -= size
		if _, err := r.ReadAt(buf[:size], pos); err != nil {
			return 0, err
		}
		for i := size - 1; i >= 0; i-- {
			// The newline that ends the last line begins none.
			if buf[i] != '\n' || pos+i+1 == end {
				continue
			}
			if n--; n == 0 {
				return pos + i + 1, nil
			}
		}
	}
	if n > 0 {
		end = 0
	}
	return end, nil
}

// follow copies what is added, and goes over to the next file when the log is rotated. It ends with the context.
func follow(a *app, out io.Writer, path string, f *os.File) error {
	for a.stdout.err == nil {
		if f != nil {
			if _, err := io.Copy(out, f); err != nil {
				return err
			}
			if replaced(path, f) {
				io.Copy(out, f) // what came in between
				f.Close()
				f = nil
			}
		}
		if f == nil {
			if next, err := os.Open(path); err == nil {
				f = next
				continue
			}
		}
		select {
		case <-time.After(followEvery):
		case <-a.ctx.Done():
			return errEnough
		}
	}
	return nil
}

// replaced tells whether another file is at path by now, or this one was cut short.
func replaced(path string, f *os.File) bool {
	old, err := f.Stat()
	now, nerr := os.Stat(path)
	if err != nil || nerr != nil {
		return false
	}
	pos, _ := f.Seek(0, io.SeekCurrent)
	return !os.SameFile(old, now) || now.Size() < pos
}
