package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/signal"
	"path/filepath"
	"slices"
	"syscall"

	"github.com/alecthomas/kong"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/redact"
	"runtimed/internal/statedir"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
	"runtimed/pool/uv"
	"runtimed/rpc"
)

// storeCommand is the daemon's part of `runt store fill`.
type storeCommand struct {
	Dir string `help:"The store to fill (default: uv.store of the configuration)."`
}

// AfterApply runs the command.
func (c storeCommand) AfterApply(k *kong.Kong) error {
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	tool.KeepFiles()
	result, err := c.fill(ctx, k.Stderr)
	if err != nil {
		result.Error = redact.Text(err.Error())
		if b, ok := errors.AsType[*builder.Error](err); ok {
			result.Error, result.Hint, result.Output = b.Message, b.Hint, b.Output
		}
	}
	enc := json.NewEncoder(k.Stdout)
	enc.SetEscapeHTML(false)
	k.Exit(code(enc.Encode(result) == nil && err == nil))
	return nil
}

func (c storeCommand) fill(ctx context.Context, say io.Writer) (filled rpc.StoreFilled, err error) {
	s, err := loadSettings(config.Flags{})
	if err != nil {
		return filled, err
	}
	cfg := s.Load()
	filled.Dir = cmp.Or(c.Dir, cfg.UV.Store)
	if !filepath.IsAbs(filled.Dir) {
		return filled, &builder.Error{Message: "no folder for the store is named",
			Hint: "name it, or set uv.store in the configuration"}
	}
	if err := statedir.CheckPlace(filled.Dir); err != nil {
		return filled, err
	}
	pools := map[string]builder.Spec{}
	for _, p := range poolConfig(cfg, statedir.Paths{}).Pools {
		if p.Spec.Kind == builder.KindUV && p.Size > 0 {
			pools[p.Name] = p.Spec
			filled.Pools = append(filled.Pools, p.Name)
		}
	}
	slices.Sort(filled.Pools)
	if len(pools) == 0 {
		return filled, &builder.Error{Message: "no uv pool is on, so the store needs nothing",
			Hint: "give one a size in the configuration"}
	}
	scratch, closeStore, err := uv.OpenStore(filled.Dir)
	if err != nil {
		return filled, fmt.Errorf("the store %s cannot be filled: %w", filled.Dir, err)
	}
	defer closeStore()
	from := uvConfig(cfg)
	from.Store = filled.Dir // for uv itself
	u := uv.New(scratch, from, os.Environ(), zap.NewNop())
	stocked, err := u.FillStore(tool.Urgently(ctx), filled.Dir, pools, func(line string) {
		fmt.Fprintln(say, redact.Line(line))
	})
	filled.Wheels, filled.Bytes, filled.Without = stocked.Wheels, stocked.Bytes, stocked.Without
	return filled, err
}
