package logview

import (
	"bufio"
	"context"
	"errors"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/internal/safefile"
)

const (
	followEvery = 200 * time.Millisecond // how often a log that is followed is looked at
	maxLog      = 64 << 20               // bytes; of a longer file only the end is read
)

// File is a log in a file, with older ones beside it.
type File struct {
	Path string
	f    *os.File // stands behind the lines that Last returned; nil while there is none
}

// Last reads the older files too, the newest first, until it has enough.
func (l *File) Last(_ context.Context, n int, filter Filter) ([][]byte, error) {
	older := older(l.Path)
	var lines [][]byte
	f, err := open(l.Path)
	if err == nil {
		l.f = f
		var ended int64
		if lines, ended, err = lastLines(f, n, filter); err == nil {
			_, err = f.Seek(ended, io.SeekStart)
		}
	}
	switch {
	case errors.Is(err, fs.ErrNotExist) && len(older) == 0:
		return nil, &NoLogError{l.Path}
	case err != nil && !errors.Is(err, fs.ErrNotExist): // else it is being rotated
		return nil, l.unreadable(err)
	}
	for _, path := range older {
		if len(lines) >= n {
			break
		}
		f, err := open(path)
		if err != nil {
			break // it was the oldest, and is deleted by now
		}
		more, _, err := lastLines(f, n-len(lines), filter)
		_ = f.Close()
		if err != nil {
			return nil, err
		}
		lines = append(more, lines...)
	}
	return lines, nil
}

func (l *File) unreadable(err error) error {
	show := "ls -ld"
	if runtime.GOOS == "windows" {
		show = "icacls"
	}
	return failure.New("reading the log: %v", err).WithHint("it should be a file of your own: %s %s", show, l.Path)
}

func open(path string) (*os.File, error) {
	f, err := safefile.OpenOwn(path, os.O_RDONLY, 0)
	if err != nil {
		return nil, err
	}
	if info, err := f.Stat(); err == nil && info.Size() > maxLog {
		_, _ = f.Seek(-maxLog, io.SeekEnd)
	}
	return f, nil
}

func older(path string) []string {
	ext := filepath.Ext(path)
	names, _ := fs.Glob(os.DirFS(filepath.Dir(path)), filepath.Base(strings.TrimSuffix(path, ext))+"-*"+ext)
	for i, name := range names {
		names[i] = filepath.Join(filepath.Dir(path), name)
	}
	slices.Reverse(names)
	return names
}

// lastLines returns the last n lines that the filter keeps, and where the last whole line ended. It reads from the
// front: a log's files are small, and a line may belong to the one before it.
func lastLines(r io.Reader, n int, filter Filter) (lines [][]byte, ended int64, err error) {
	if s, ok := r.(io.Seeker); ok {
		ended, _ = s.Seek(0, io.SeekCurrent)
	}
	in := bufio.NewReaderSize(r, 64<<10)
	for {
		line, err := in.ReadBytes('\n')
		if err != nil && err != io.EOF {
			return nil, 0, err
		}
		if err == nil {
			ended += int64(len(line))
			line = line[:len(line)-1]
		}
		if (err == nil || len(line) > 0) && n > 0 && filter.keeps(line) {
			if lines = append(lines, line); len(lines) >= 2*n+64 {
				lines = append(lines[:0], lines[len(lines)-n:]...)
			}
		}
		if err == io.EOF {
			return lines[max(0, len(lines)-n):], ended, nil
		}
	}
}

// Recent returns the last n lines of the log at path, for people. It returns none if nothing was written to it since
// then.
func Recent(path string, since time.Time, n int) string {
	f, err := open(path)
	if err != nil {
		return ""
	}
	defer f.Close()
	if info, err := f.Stat(); err != nil || info.ModTime().Before(since) {
		return ""
	}
	lines, _, _ := lastLines(f, n, Filter{})
	var b strings.Builder
	for _, line := range lines {
		b.WriteString(readable(line) + "\n")
	}
	return b.String()
}

// Follow goes on with the next file when the log is rotated.
func (l *File) Follow(ctx context.Context, out *Printer) error {
	for out.err == nil {
		if l.f != nil {
			if _, err := io.Copy(out, l.f); err != nil {
				return err
			}
			if replaced(l.Path, l.f) {
				_, _ = io.Copy(out, l.f) // what came in between
				out.end()
				_ = l.f.Close()
				l.f = nil
			}
		}
		if l.f == nil {
			if next, err := open(l.Path); err == nil {
				l.f = next
				continue
			}
		}
		select {
		case <-time.After(followEvery):
		case <-ctx.Done():
			return nil
		}
	}
	return nil
}

func replaced(path string, f *os.File) bool {
	old, err := f.Stat()
	now, nerr := os.Lstat(path)
	if err != nil || nerr != nil {
		return false
	}
	pos, _ := f.Seek(0, io.SeekCurrent)
	return !os.SameFile(old, now) || now.Size() < pos
}
