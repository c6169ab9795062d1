package main

import (
	"context"
	"sync"
	"time"

	"runtimed/pool"
	"runtimed/rpc"
	"runtimed/rpc/server"
)

// watchInterval is the shortest time between two notifications about one pool.
const watchInterval = 100 * time.Millisecond

// watches are the connections that watch the pools; one that asks again begins anew.
type watches struct {
	mu  sync.Mutex
	end map[*server.Conn]context.CancelFunc
}

func (m *methods) watch(ctx context.Context, _ rpc.None) (rpc.StatusResult, error) {
	conn := server.ConnFrom(ctx)
	// a watch ends with its connection, whatever else is forgotten
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

// start ends what conn watched before, and notes how to end what it watches now.
func (w *watches) start(conn *server.Conn, cancel context.CancelFunc) {
	w.mu.Lock() // until the entry is there: a connection that has closed by now takes it out again only then
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
