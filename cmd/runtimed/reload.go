package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
	"slices"
	"sync"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/config"
	"runtimed/internal/supervisor"
)

// watchTime is how often the configuration file is looked at. A look costs a microsecond and notices what a watch on
// its folder would not: a folder that is made later, the target of a link, another machine's write to a network home.
const watchTime = time.Second

// reloader reads the configuration again when it is asked to: by daemon.reload, by SIGHUP, or by a change of the file.
type reloader struct {
	settings *settings
	pools    *pools
	log      *logbook
	notifier *supervisor.Notifier
	hangups  hangups

	mu sync.Mutex // one reload at a time
}

func newReloader(lc fx.Lifecycle, s *settings, p *pools, log *logbook, n *supervisor.Notifier, h hangups) *reloader {
	r := &reloader{settings: s, pools: p, log: log, notifier: n, hangups: h}
	background(lc, r.watch)
	return r
}

func (r *reloader) watch(ctx context.Context) {
	read := r.settings.first // what is in force
	before := files(r.settings.Load())
	wrong := false // what is in the files
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			now := files(r.settings.Load())
			settled := slices.EqualFunc(now, before, same) // editors write in several steps
			before = now
			if settled && (!slices.EqualFunc(now, read, same) || wrong && r.sound()) {
				read = now
				wrong = r.logged(ctx, "a file changed")
			}
		case <-r.hangups:
			read = files(r.settings.Load())
			before = read
			wrong = r.logged(ctx, "SIGHUP")
		}
	}
}

// files are the user's configuration file, the administrator's and the lock files that they name, as they are now; nil
// where there is none.
func files(cfg *config.Config) (list []fs.FileInfo) {
	paths := []string{cfg.Path, config.SystemPath()}
	for _, p := range cfg.Pools {
		if p.Lock != "" {
			paths = append(paths, p.Lock)
		}
	}
	for _, path := range paths {
		info, _ := os.Stat(path)
		list = append(list, info)
	}
	return list
}

// sound reports whether the configuration could be taken over now. What is in force says which files are watched, so a
// lock file that was missing may have come, or been corrected, without a change of those.
func (r *reloader) sound() bool {
	_, err := r.settings.read()
	return err == nil
}

// same also compares the modes, which decide whether the administrator's file counts.
func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime()) && a.Mode() == b.Mode()
}

// logged reports whether there are mistakes in the configuration.
func (r *reloader) logged(ctx context.Context, why string) (wrong bool) {
	_, err := r.reload(ctx)
	if err != nil && ctx.Err() == nil {
		r.log.Warn("the configuration is not taken over; the old one stays in force", zap.String("read_because", why),
			zap.Error(err))
	}
	return errors.As(err, new(config.Faults))
}

// reload reads the configuration and puts it in force, or changes nothing. It returns the changed pools.
func (r *reloader) reload(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.notifier.Reloading()()
	cfg, err := r.settings.read()
	if err != nil {
		return nil, err
	}
	changed, err := r.pools.configure(ctx, cfg)
	if err != nil {
		return nil, err
	}
	before := r.settings.Swap(cfg)
	if before.LogLevel != cfg.LogLevel {
		_ = r.log.level.UnmarshalText([]byte(cfg.LogLevel)) // config has checked it
	}
	if before.CacheDir != cfg.CacheDir {
		r.log.Warn("cache_dir takes effect at the next start", zap.String("now", r.pools.Dir()))
	}
	r.log.Info("configuration read", zap.String("path", cfg.Path), zap.Strings("changed_pools", changed))
	r.log.warnOf(cfg)
	return changed, nil
}
