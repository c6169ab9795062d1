package main

import (
	"context"
	"io/fs"
	"os"
	"sync"
	"time"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/supervisor"
	"runtimed/rpc"
)

// plan is the list of parts. Each is made and started after those that it takes, and stopped before them.
var plan = fx.Options(
	fx.Provide(
		loadSettings, // the configuration in force
		findPaths,    // of the socket, the state directory, the log
		openLog, loggerOf,
		describe,                          // what it says of itself
		(*supervisor.Supervisor).Notifier, // to its service manager
		(*supervisor.Supervisor).Listener, // from its service manager
		takeLocks,                         // so that no second daemon runs
		newPools,                          // the environments
		newReloader,                       // of the configuration
		newMethods,                        // what clients may call
		newEndpoint,                       // the socket and daemon.json
	),
	fx.Invoke(feedWatchdog, endWhenIdle, showStatus),
	fx.NopLogger,
)

// exit takes the exit code of a part that ends the daemon. The first one counts.
type exit chan int

func (e exit) end(code int) {
	select {
	case e <- code:
	default:
	}
}

// hangups ask for the configuration to be read again.
type hangups chan os.Signal

// background runs something from the start to the stop of the daemon.
func background(lc fx.Lifecycle, run func(context.Context)) {
	ctx, cancel := context.WithCancel(context.Background())
	var work sync.WaitGroup
	lc.Append(fx.StartStopHook(
		func() { work.Go(func() { run(ctx) }) },
		func() { cancel(); work.Wait() },
	))
}

// about is what the daemon says of itself.
type about struct {
	startedAt time.Time
	startedBy string
	onDemand  bool
	program   program
}

func describe(sup *supervisor.Supervisor) about {
	return about{startedAt: time.Now(), startedBy: sup.StartedBy, onDemand: sup.OnDemand,
		program: thisProgram(os.Args[0])}
}

func findPaths(s *settings) (statedir.Paths, error) {
	if err := statedir.CheckHome(os.Getenv("HOME")); err != nil {
		return statedir.Paths{}, err
	}
	cfg := s.Load()
	return rpc.Paths(cfg.Socket, cfg.CacheDir)
}

// managedPatience is the longer patience under a service manager: it would start a daemon that ends at once again and
// again, and soon give up the socket, while the other one may only be stopping.
const managedPatience = 3 * time.Second

func takeLocks(lc fx.Lifecycle, at statedir.Paths, log *logbook, s *settings, a about,
	passed *supervisor.Listener) (*statedir.Locks, error) {
	patience := statedir.LockPatience
	if passed != nil {
		patience = managedPatience
	}
	locks, err := statedir.TakeLocks(at, patience, func() error {
		log.begin(s, at, a)
		log.explain(at)
		return at.Prepare(func(dir string, was fs.FileMode) {
			log.Info("the state directory was open to others and is closed now",
				zap.String("dir", dir), zap.Stringer("mode_was", was))
		})
	})
	if err == nil {
		lc.Append(fx.StopHook(locks.Free))
	}
	return locks, err
}
