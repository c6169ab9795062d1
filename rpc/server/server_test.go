package server

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"go.uber.org/zap"
	"go.uber.org/zap/zaptest/observer"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/rpc"
)

func TestASurplusConnectionIsToldSoAndClosed(t *testing.T) {
	b := start(t, func(b *bench) { b.mostConns, b.silenceTime = 2, 50*time.Millisecond })
	one, two := b.dial(t), b.dial(t)
	one.askOne(req("1", rpc.MethodPing) + "\n")
	two.askOne(req("1", rpc.MethodPing) + "\n")

	if got := decode(t, b.dial(t).askOne(req(`"x"`, rpc.MethodPing)+"\n")); string(got.ID) != `"x"` ||
		got.Error == nil || got.Error.Data.Kind != rpc.KindOverloaded {
		t.Errorf("got %+v", got)
	}
	three := b.dial(t)
	three.send("[" + req("1", rpc.MethodPing) + "," + req("2", rpc.MethodPing) + "]\n" + req("3", rpc.MethodPing) +
		"\n")
	if got := three.rest(); strings.Count(got, "-32006") != 2 || got[0] != '[' {
		t.Errorf("got %s", got)
	}
	if got := b.dial(t).rest(); got != "" {
		t.Errorf("a silent one got %q", got)
	}
	if n := b.Connections(); n != 2 {
		t.Errorf("%d connections", n)
	}
	one.Close()
	eventually(t, "there is room again", func() bool { return b.Connections() == 1 })
	if got := decode(t, b.dial(t).askOne(req("1", rpc.MethodPing)+"\n")); got.Error != nil {
		t.Errorf("got %v", got.Error)
	}
}

// shortListener has no descriptors for a while.
type shortListener struct {
	net.Listener
	short atomic.Int32
}

func (l *shortListener) Accept() (net.Conn, error) {
	if l.short.Add(-1) >= 0 {
		return nil, &net.OpError{Op: "accept", Err: os.NewSyscallError("accept4", errShort)}
	}
	return l.Listener.Accept()
}

func TestTheServerSurvivesAShortageOfDescriptorsAndSaysSoOnce(t *testing.T) {
	core, logs := observer.New(zap.InfoLevel)
	b := newBench()
	b.log = zap.New(core)
	b.path = place(t)
	ln, err := rpc.Listen(b.path)
	testkit.Check(t, err)
	short := &shortListener{Listener: ln}
	short.short.Store(5)
	served := make(chan error, 1)
	go func() { served <- b.Serve(short) }()
	b.dial(t).askOne(req("1", rpc.MethodPing) + "\n")
	if n := logs.FilterLevelExact(zap.WarnLevel).Len(); n != 1 {
		t.Errorf("%d warnings: %v", n, logs.All())
	}
	b.Shutdown(t.Context())
	if err := <-served; err != nil {
		t.Error(err)
	}
}

func TestShutdownAnswersWhatRunsAndRefusesWhatComes(t *testing.T) {
	b := start(t)
	w, idle := b.dial(t), b.dial(t)
	idle.askOne(req("1", rpc.MethodPing) + "\n")
	w.send(req("1", "wait") + "\n")
	eventually(t, "it runs", func() bool { return b.waiting.Load() == 1 })
	down := make(chan error, 1)
	go func() { down <- b.Shutdown(t.Context()) }()
	eventually(t, "it stops", b.stopping.Load)
	for _, one := range []*wire{w, idle} {
		if got := decode(t, one.askOne(req("2", rpc.MethodPing)+"\n")); got.Error == nil ||
			got.Error.Data.Kind != rpc.KindShuttingDown {
			t.Errorf("got %+v", got)
		}
	}
	if _, err := dialBare(b.path); err == nil {
		t.Error("still listening")
	}
	close(b.release)
	if got := w.rest(); got != `{"jsonrpc":"2.0","id":1,"result":{}}`+"\n" {
		t.Errorf("got %q", got)
	}
	if err := <-down; err != nil {
		t.Error(err)
	}
	if got := idle.rest(); got != "" {
		t.Errorf("got %q", got)
	}
	if err := b.Shutdown(t.Context()); err != nil {
		t.Errorf("a second time: %v", err)
	}
	if _, err := os.Lstat(b.path); err != nil && statedir.SocketIsFile {
		t.Errorf("the file is the lock holder's to remove: %v", err)
	}
}

func TestShutdownCutsOffWhatDoesNotEnd(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(req("1", "wait") + "\n")
	eventually(t, "it runs", func() bool { return b.waiting.Load() == 1 })
	ctx, cancel := context.WithTimeout(t.Context(), 20*time.Millisecond)
	defer cancel()
	if err := b.Shutdown(ctx); !errors.Is(err, context.DeadlineExceeded) {
		t.Errorf("got %v", err)
	}
	if n := b.waiting.Load(); n != 0 {
		t.Errorf("%d still run", n)
	}
}

func TestFaultsOfAMethodAreTheCallersInKindAndTheLogsInDetail(t *testing.T) {
	core, logs := observer.New(zap.DebugLevel)
	b := start(t, func(b *bench) { b.log = zap.New(core) })
	w := b.dial(t)
	for what, logged := range map[string]string{"panic": "on purpose", "plain": io.ErrNoProgress.Error()} {
		got := decode(t, w.askOne(`{"jsonrpc":"2.0","id":1,"method":"fail","params":{"text":"`+what+`"}}`+"\n"))
		if got.Error == nil || got.Error.Data.Kind != rpc.KindInternal || strings.Contains(got.Error.Message, logged) {
			t.Errorf("%s: got %+v", what, got.Error)
		}
		entries := logs.TakeAll()
		if len(entries) != 1 || !strings.Contains(entries[0].ContextMap()["error"].(string), logged) {
			t.Errorf("%s: logged %v", what, entries)
		}
	}
	got := decode(t, w.askOne(`{"jsonrpc":"2.0","id":1,"method":"fail","params":{"text":"ours"}}`+"\n"))
	if got.Error == nil || got.Error.Data.Kind != rpc.KindPoolOff || got.Error.Data.Hint != "set its size" ||
		logs.Len() != 0 {
		t.Errorf("got %+v, logged %v", got.Error, logs.All())
	}
	if got := w.askOne(req("2", rpc.MethodPing) + "\n"); !strings.Contains(got, `"result"`) {
		t.Errorf("got %s", got)
	}
}

func TestNothingIsNullInAResult(t *testing.T) {
	b := start(t)
	if got := b.dial(t).
		askOne(req("1", "echo") + "\n"); got != `{"jsonrpc":"2.0","id":1,"result":{"text":"","list":[],"map":{}}}` {
		t.Errorf("got %s", got)
	}
	got, err := encode(rpc.AcquireResult{Env: rpc.Env{Variables: map[string]*string{"PYTHONHOME": nil}}})
	const want = `"packages":[],"needs":[],"project":null,"variables":{"PYTHONHOME":null},"path_prepend":[]`
	if err != nil ||
		!strings.Contains(string(got), want) {
		t.Errorf("got %s, %v", got, err)
	}
}

func TestANotificationNeverAcquires(t *testing.T) {
	b := start(t)
	w := b.dial(t)
	w.send(`{"jsonrpc":"2.0","method":"pool.acquire"}` + "\n" + `{"jsonrpc":"2.0","method":"take"}` + "\n" +
		`[{"jsonrpc":"2.0","method":"pool.acquire"},{"jsonrpc":"2.0","method":"take"}]` + "\n")
	eventually(t, "all is undone", func() bool { return b.undone.Load() == 2 })
	w.Close()
	eventually(t, "it ends", func() bool { return b.Connections() == 0 })
	if taken, undone := b.taken.Load(), b.undone.Load(); taken != 2 || undone != 2 {
		t.Errorf("%d taken, %d undone", taken, undone)
	}
}

func TestRPCDiscoverIsTheTable(t *testing.T) {
	table := offTable()
	s := New(table, zap.NewNop())
	raw, err := s.methods[rpc.MethodDiscover].call(t.Context(), nil)
	testkit.Check(t, err)
	var doc struct {
		OpenRPC string `json:"openrpc"`
		Info    struct{ Title, Version string }
		Methods []struct {
			Name   string
			Params []struct {
				Name     string
				Required bool
				Schema   json.RawMessage
			}
			Result struct{ Schema json.RawMessage }
		}
		Components struct{ Schemas map[string]json.RawMessage }
	}
	testkit.Check(t, json.Unmarshal(raw, &doc))
	var names []string
	for _, m := range doc.Methods {
		names = append(names, m.Name)
		if m.Name == rpc.MethodAdopt &&
			(len(m.Params) != 2 || !m.Params[0].Required || m.Params[1].Name != "owner_pid" ||
				string(m.Params[1].Schema) != `{"type":"integer"}`) {
			t.Errorf("%+v", m)
		}
		if m.Name == rpc.MethodAcquire && (len(m.Params) != 14 || m.Params[0].Required) {
			t.Errorf("%+v", m)
		}
	}
	var want []string
	for _, m := range table {
		want = append(want, m.Name)
	}
	if want = append(want, rpc.MethodDiscover); !slices.Equal(names, want) || doc.Info.Version != rpc.Version() ||
		doc.OpenRPC == "" {
		t.Errorf("got %v, want %v", names, want)
	}
	for _, ref := range strings.Split(string(raw), "#/components/schemas/")[1:] {
		if name, _, _ := strings.Cut(ref, `"`); doc.Components.Schemas[name] == nil {
			t.Errorf("no schema of %s", name)
		}
	}
	if s := string(doc.Components.Schemas["EnvListed"]); !strings.Contains(s, `"size_bytes"`) ||
		!strings.Contains(s, `"path_prepend"`) || !strings.Contains(s, `"null"`) {
		t.Errorf("EnvListed: %s", s)
	}
}

func TestEverythingComesBackAfterALoad(t *testing.T) {
	b := start(t)
	first := b.dial(t)
	first.askOne(req("1", rpc.MethodPing) + "\n")
	first.Close()
	eventually(t, "no connection", func() bool { return b.Connections() == 0 })
	before, files := runtime.NumGoroutine(), openFiles(t)

	var open []*wire
	for i := range 300 {
		w := b.dial(t)
		if i%3 == 0 {
			w.send(`{"jsonrpc":"2.0","id":1,"meth`)
		}
		if i%3 == 1 {
			w.send(req("1", "wait") + "\n" + strings.Repeat(" ", 1000))
		}
		open = append(open, w)
	}
	var served atomic.Int32
	done := make(chan bool)
	for range 4 {
		go func() {
			for range 500 {
				c, err := rpc.Dial(t.Context(), b.path, rpc.ClientOptions{})
				if err == nil {
					if c.Call(t.Context(), rpc.MethodPing, nil, nil) == nil {
						served.Add(1)
					}
					c.Close()
				}
			}
			done <- true
		}()
	}
	for range 4 {
		<-done
	}
	if n := served.Load(); n != 2000 {
		t.Errorf("%d of 2000 were served", n)
	}
	eventually(t, "300 connections", func() bool { return b.Connections() == 300 })
	for _, w := range open {
		w.Close()
	}
	eventually(t, "no connection", func() bool { return b.Connections() == 0 })
	eventually(t, "goroutines end", func() bool { return runtime.NumGoroutine() <= before })
	if runtime.GOOS == "linux" {
		eventually(t, "descriptors come back", func() bool { return openFiles(t) <= files })
	}
	var m runtime.MemStats
	runtime.GC()
	if runtime.ReadMemStats(&m); m.HeapAlloc > 64<<20 {
		t.Errorf("%d bytes are still in use", m.HeapAlloc)
	}
}

func openFiles(t *testing.T) int {
	names, err := os.ReadDir("/proc/self/fd")
	if err != nil && runtime.GOOS == "linux" {
		t.Fatal(err)
	}
	return len(names)
}

func BenchmarkRoundTripOverANewConnection(b *testing.B) {
	s := start(b)
	times := make([]time.Duration, 0, 1<<16)
	for b.Loop() {
		begun := time.Now()
		c, err := rpc.Dial(b.Context(), s.path, rpc.ClientOptions{})
		if err == nil {
			err = c.Call(b.Context(), rpc.MethodInfo, nil, nil)
		}
		times = append(times, time.Since(begun))
		testkit.Check(b, err)
		c.Close()
	}
	slices.Sort(times)
	b.ReportMetric(float64(times[len(times)/2].Microseconds()), "p50-µs")
	b.ReportMetric(float64(times[len(times)*99/100].Microseconds()), "p99-µs")
}
