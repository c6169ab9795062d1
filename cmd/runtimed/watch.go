package main

import (
	"context"
	"sync"
	"time"

	"runtimed/pool"
	"runtimed/rpc"
	"runtimed/rpc/server"
)

// watchInterval is the shortest time between two notifications about a pool.
const watchInterval = 100 * time.Millisecond

// watches has a function for each watching connection that ends its watch.
type watches struct {
	mu  sync.Mutex
	end map[*server.Conn]context.CancelFunc
}

func (m *methods) watch(ctx context.Context, _ rpc.None) (rpc.StatusResult, error) {
	conn := server.ConnFrom(ctx)
	watching, cancel := context.WithCancel(conn.Context())
	list, err := m.pools.Watch(watching, watchInterval, func(s pool.Status, gone bool) bool {
		return conn.Notify(rpc.NotifyPoolChanged, rpc.PoolChanged{Pool: statusOf(s), Gone: gone})
	})
	if err != nil {
		cancel()
		return rpc.StatusResult{}, err
	}
	m.watches.start(conn, cancel)
	return statusResult(list), nil
}

func (m *methods) unwatch(ctx context.Context, _ rpc.None) (rpc.None, error) {
	m.watches.stop(server.ConnFrom(ctx))
	return rpc.None{}, nil
}

// start replaces the watch of conn.
func (w *watches) start(conn *server.Conn, cancel context.CancelFunc) {
	w.mu.Lock() // held until the entry exists, for a connection that has just closed
	defer w.mu.Unlock()
	if w.end == nil {
		w.end = map[*server.Conn]context.CancelFunc{}
	}
	if before, ok := w.end[conn]; ok {
		before()
	}
	release := conn.Hold()
	unhook := context.AfterFunc(conn.Context(), func() { w.stop(conn) })
	w.end[conn] = func() { cancel(); release(); unhook() }
}

func (w *watches) stop(conn *server.Conn) {
	w.mu.Lock()
	defer w.mu.Unlock()
	if end, ok := w.end[conn]; ok {
		end()
		delete(w.end, conn)
	}
}
