package main

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

	"runtimed/service"
)

// journal is the log of a daemon that systemd runs.
type journal struct {
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

// last reads from the end, so that a filter can be ours: the level may be in the text alone.
func (j *journal) last(a *app, n int, filter logFilter) ([][]byte, error) {
	j.began = time.Now()
	args := []string{"--reverse"}
	if !filter.since.IsZero() {
		args = append(args, "--since=@"+strconv.FormatInt(filter.since.Unix(), 10))
	}
	if filter.least == 0 {
		args = append(args, "--lines="+strconv.Itoa(max(n, 1)))
	}
	var lines [][]byte
	err := j.read(a, args, func(line []byte, cursor string) bool {
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

func (j *journal) follow(a *app, out *logText) error {
	args := []string{"--follow", "--no-tail"}
	if j.cursor != "" {
		args = append(args, "--after-cursor="+j.cursor)
	} else {
		args = append(args, "--since=@"+strconv.FormatInt(j.began.Unix(), 10))
	}
	err := j.read(a, args, func(line []byte, _ string) bool {
		if out.filter.keeps(line) {
			out.print(line)
		}
		return a.stdout.err == nil
	})
	if a.ctx.Err() != nil {
		return errEnough
	}
	return err
}

// read gives each entry to take, until that has enough.
func (j *journal) read(a *app, args []string, take func(line []byte, cursor string) bool) error {
	ctx, cancel := context.WithCancel(a.ctx)
	defer cancel()
	cmd := journalctl(ctx, args...)
	var said strings.Builder
	cmd.Stderr = &said
	pipe, err := cmd.StdoutPipe()
	if err == nil {
		err = cmd.Start()
	}
	if err != nil {
		return failed("reading the journal: %v", err).withHint("see for yourself with: journalctl --user-unit=runtimed.service")
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
	if err := cmd.Wait(); err != nil && !enough && a.ctx.Err() == nil {
		f := failed("reading the journal: %v", err)
		f.output = said.String()
		return f
	}
	return nil
}
