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

// plan is the list of parts. Each is made after those that it takes, starts after them, and stops before them: so the
// locks come first, then the pools, then the socket.
var plan = fx.Options(
	fx.Provide(
		loadSettings,   // the configuration in force
		findPaths,      // where the daemon keeps its things
		openLog,        // its log,
		loggerOf,       // for those who only write to it
		describe,       // what it says of itself
		newNotifier,    // what its service manager hears
		passedListener, // the socket that a service manager passed, if one did
		takeLocks,      // so that it is the only one
		newBuilders,    // uv and conda
		newPools,       // the environments
		newReloader,    // of the configuration
		newMethods,     // what clients may call
		newServer,      // connections
		newEndpoint,    // the socket and daemon.json
		newWatchdog,    // tells the service manager that it still works
		newIdleTimer,   // ends it when nobody needs it
		newStatusLine,  // shows the pools to the service manager
	),
	fx.Invoke(func(*endpoint, *watchdog, *idleTimer, *statusLine) {}),
	fx.NopLogger,
)

// exit takes the exit code when a part ends the daemon; only the first one counts.
type exit chan int

func (e exit) end(code int) {
	select {
	case e <- code:
	default:
	}
}

// hangups are the signals to read the configuration again.
type hangups chan os.Signal

// background has run go on from the start to the stop of the daemon.
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
	program   program
}

func describe(sup *supervisor.Supervisor) about {
	return about{startedAt: time.Now(), startedBy: sup.StartedBy, program: thisProgram(os.Args[0])}
}

func findPaths(s *settings) (statedir.Paths, error) {
	if err := statedir.CheckHome(os.Getenv("HOME")); err != nil { // before anything is made
		return statedir.Paths{}, err
	}
	cfg := s.Load()
	return rpc.Paths(cfg.Socket, cfg.CacheDir)
}

func passedListener(sup *supervisor.Supervisor, at statedir.Paths) (*supervisor.Listener, error) {
	return sup.Listener(at.Socket)
}

func newNotifier(sup *supervisor.Supervisor, log *zap.Logger) *supervisor.Notifier {
	return sup.Notifier(log)
}

// managedPatience is how long the lock is tried for under a service manager, which would start a daemon that ends at
// once again at once, for whoever has connected meanwhile, and soon give the socket up. The other one may be stopping.
const managedPatience = 3 * time.Second

// takeLocks comes before all that touches anything. The log belongs to the daemon from here on.
func takeLocks(lc fx.Lifecycle, at statedir.Paths, log *logbook, s *settings, a about,
	passed *supervisor.Listener) (*statedir.Locks, error) {
	patience := statedir.LockPatience
	if passed != nil {
		patience = managedPatience
	}
	locks, err := statedir.TakeLocks(at, patience, func() error {
		log.begin(s, at, a)
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
