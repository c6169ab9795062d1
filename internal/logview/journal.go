package logview

import (
	"bufio"
	"context"
	"errors"
	"io"
	"os"
	"os/exec"
	"slices"
	"strconv"
	"strings"
	"time"

	"runtimed/internal/failure"
	"runtimed/service"
)

// Journal is the log of a daemon that systemd runs.
type Journal struct {
	cursor string    // of the last entry that was read
	began  time.Time // when we looked, where there was none
}

// journalctl asks for the entries of the user's own service.
func journalctl(ctx context.Context, args ...string) *exec.Cmd {
	args = append([]string{"--output=json", "--all", "--quiet", "--no-pager"}, args...)
	args = append(args, service.JournalMatches(os.Getuid())...)
	cmd := exec.CommandContext(ctx, "journalctl", args...)
	cmd.WaitDelay = time.Second
	return cmd
}

// Last reads from the end, so that a filter can be ours: the level may be in the text alone.
func (j *Journal) Last(ctx context.Context, n int, filter Filter) ([][]byte, error) {
	j.began = time.Now()
	args := []string{"--reverse"}
	if !filter.Since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(filter.Since.Unix(), 10))
	}
	if filter.Least == 0 {
		args = append(args, "--lines="+strconv.Itoa(max(n, 1)))
	}
	var lines [][]byte
	err := j.read(ctx, args, func(line []byte, cursor string) bool {
		if j.cursor == "" {
			j.cursor = cursor
		}
		if len(lines) < n && filter.keeps(line) {
			lines = append(lines, line)
		}
		return len(lines) < n
	})
	slices.Reverse(lines)
	return lines, err
}

func (j *Journal) Follow(ctx context.Context, out *Printer) error {
	args := []string{"--follow", "--no-tail"}
	if j.cursor != "" {
		args = append(args, "--after-cursor="+j.cursor)
	} else {
		args = append(args, "--since=@"+strconv.FormatInt(j.began.Unix(), 10))
	}
	err := j.read(ctx, args, func(line []byte, _ string) bool {
		if out.Filter.keeps(line) {
			out.Print(line)
		}
		return out.err == nil
	})
	if ctx.Err() != nil {
		return nil
	}
	return err
}

// read gives each entry to take, until that has enough.
func (j *Journal) read(ctx context.Context, args []string, take func(line []byte, cursor string) bool) error {
	reading, cancel := context.WithCancel(ctx)
	defer cancel()
	cmd := journalctl(reading, args...)
	var said strings.Builder
	cmd.Stderr = &said
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return failure.New("reading the journal: %v", err).WithHint("see for yourself with: journalctl --user-unit=runtimed.service")
	}
	in, enough := bufio.NewReader(pipe), false
	for !enough {
		raw, err := in.ReadBytes('\n')
		if line, cursor, ok := journalLine(raw); ok {
			enough = !take(line, cursor)
		}
		if err != nil {
			if !errors.Is(err, io.EOF) {
				cancel()
			}
			break
		}
	}
	if enough {
		cancel()
	}
	if err := cmd.Wait(); err != nil && !enough && ctx.Err() == nil {
		f := failure.New("reading the journal: %v", err)
		f.Output = said.String()
		return f
	}
	return nil
}
