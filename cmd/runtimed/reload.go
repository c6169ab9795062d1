package main

import (
	"context"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/config"
)

// watchTime is how often the configuration file is looked at. A look costs a microsecond and notices what a watch on
// its folder would not: a folder that is made later, the target of a link, another machine's write to a network home.
const watchTime = time.Second

// reloader reads the configuration again when it is asked to: by daemon.reload, by SIGHUP, or by a change of the file.
type reloader struct {
	d      *daemon
	pools  *pools
	ctx    context.Context
	cancel context.CancelFunc
	done   sync.WaitGroup
	mu     sync.Mutex // one reload at a time
}

func newReloader(d *daemon, p *pools) *reloader {
	r := &reloader{d: d, pools: p}
	r.ctx, r.cancel = context.WithCancel(context.Background())
	return r
}

func (r *reloader) start() { r.done.Go(r.loop) }

func (r *reloader) stop() {
	r.cancel()
	r.done.Wait()
}

func (r *reloader) loop() {
	read := r.look() // what is in force
	before := read
	tick := time.NewTicker(watchTime)
	defer tick.Stop()
	for {
		select {
		case <-r.ctx.Done():
			return
		case <-tick.C:
			now := r.look()
			settled := same(now, before) // editors write in several steps
			before = now
			if settled && !same(now, read) {
				read = now
				r.logged("its file changed")
			}
		case <-r.d.reload:
			read = r.look()
			before = read
			r.logged("SIGHUP")
		}
	}
}

// look is the configuration file as it is now; nil where there is none.
func (r *reloader) look() fs.FileInfo {
	info, err := os.Stat(r.d.cfg.Load().Path)
	if err != nil {
		return nil
	}
	return info
}

func same(a, b fs.FileInfo) bool {
	if a == nil || b == nil {
		return a == nil && b == nil
	}
	return os.SameFile(a, b) && a.Size() == b.Size() && a.ModTime().Equal(b.ModTime())
}

func (r *reloader) logged(why string) {
	if _, err := r.reload(r.ctx); err != nil && r.ctx.Err() == nil {
		r.d.log.Warn("the configuration is not taken over; the old one stays in force", zap.String("read_because", why),
			zap.Error(err))
	}
}

// reload reads the configuration and puts it in force, or changes nothing. It returns the pools that are another than
// before.
func (r *reloader) reload(ctx context.Context) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	defer r.d.notify.reloading()()
	cfg, err := config.Load(r.d.flags, os.Getenv)
	if err != nil {
		return nil, err
	}
	learnSecrets(cfg) // before any of it can be logged
	changed, err := r.pools.configure(ctx, cfg)
	if err != nil {
		return nil, err
	}
	before := r.d.cfg.Swap(cfg)
	if before.LogLevel != cfg.LogLevel {
		_ = r.d.book.level.UnmarshalText([]byte(cfg.LogLevel)) // config has checked it
	}
	if before.CacheDir != cfg.CacheDir {
		r.d.log.Warn("cache_dir takes effect at the next start", zap.String("now", r.pools.Dir()))
	}
	r.d.log.Info("configuration read", zap.String("path", cfg.Path), zap.Strings("changed_pools", changed))
	return changed, nil
}
