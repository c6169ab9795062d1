package server

import (
	"bufio"
	"bytes"
	"context"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"math"
	"os"
	"path/filepath"
	"reflect"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"testing"
	"testing/iotest"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/internal/testkit"
	"runtimed/rpc"
)

// text is a string of a vector: as it stands, or a list whose objects repeat.
type text string

func (s *text) UnmarshalJSON(b []byte) error {
	var parts []json.RawMessage
	if b[0] != '[' {
		b = slices.Concat([]byte("["), b, []byte("]"))
	}
	if err := json.Unmarshal(b, &parts); err != nil {
		return err
	}
	for _, part := range parts {
		var one string
		var many struct{ Repeat []any }
		if json.Unmarshal(part, &one) == nil {
			*s += text(one)
		} else if err := json.Unmarshal(part, &many); err == nil && len(many.Repeat) == 2 {
			*s += text(strings.Repeat(many.Repeat[0].(string), int(many.Repeat[1].(float64))))
		} else {
			return fmt.Errorf("no text: %s", part)
		}
	}
	return nil
}

func readVectors[V any](t *testing.T, name string) []V {
	t.Helper()
	f, err := os.Open("../../testdata/wire/" + name)
	testkit.Check(t, err)
	defer f.Close()
	var all []V
	sc := bufio.NewScanner(f)
	sc.Buffer(nil, 1<<20)
	for n := 1; sc.Scan(); n++ {
		var v V
		dec := json.NewDecoder(bytes.NewReader(sc.Bytes()))
		dec.DisallowUnknownFields()
		if err := dec.Decode(&v); err != nil {
			t.Fatalf("%s:%d: %v", name, n, err)
		}
		all = append(all, v)
	}
	return all
}

func TestPathsAreThoseOfTheVectors(t *testing.T) {
	for _, v := range readVectors[struct {
		Name, Platform string
		Env            map[string]text
		Home, Path     text
		Folders        []string
		Links          map[string]string
		Mountinfo      []string
		Error          *struct {
			Names    string
			Contains []string
		}
	}](t, "paths.jsonl") {
		if runtime.GOOS == "windows" && v.Platform != "windows" {
			continue // folders here have other names
		}
		t.Run(v.Platform+" "+v.Name, func(t *testing.T) {
			root := statedir.RealPath(shortDir(t))
			here := strings.NewReplacer("$ROOT", root, "$UID", strconv.Itoa(os.Geteuid())).Replace
			for _, folder := range v.Folders {
				testkit.Check(t, os.MkdirAll(filepath.Join(root, folder), 0o700))
			}
			for at, to := range v.Links {
				testkit.Check(t, os.Symlink(here(to), filepath.Join(root, at)))
			}
			mounts := filepath.Join(root, "mountinfo")
			if v.Mountinfo != nil { // else it cannot be read
				testkit.Check(t, os.WriteFile(mounts, []byte(here(strings.Join(v.Mountinfo, "\n")+"\n")), 0o600))
			}
			got, err := rpc.SocketPathBy(v.Platform, func(name string) string {
				value := here(string(v.Env[name]))
				if name == "HOME" {
					return statedir.Home(value, func() string { return string(v.Home) })
				}
				return value
			}, mounts)
			if v.Error == nil {
				if want := here(string(v.Path)); err != nil || got != want {
					t.Errorf("got %q, %v, want %q", got, err, want)
				}
				return
			}
			if err == nil {
				t.Fatalf("got %q, want an error", got)
			}
			for _, want := range append(v.Error.Contains, v.Error.Names) {
				if !strings.Contains(err.Error(), want) {
					t.Errorf("%q does not hold %q", err, want)
				}
			}
		})
	}
}

type wantReply struct {
	ID     text
	Result json.RawMessage
	Error  json.RawMessage
	Batch  []wantReply
}

func TestTheServerAnswersTheVectors(t *testing.T) {
	b := start(t, func(b *bench) { b.Server = New(offTable(), zap.NewNop()) })
	for _, v := range readVectors[struct {
		Name    string
		Send    text
		SendHex string `json:"send_hex"`
		Framing string
		Expect  []wantReply
		Closes  bool
	}](t, "server.jsonl") {
		t.Run(v.Name, func(t *testing.T) {
			t.Parallel()
			send := []byte(v.Send)
			if v.SendHex != "" {
				send, _ = hex.DecodeString(v.SendHex)
			}
			w := b.dial(t)
			w.send(string(send))
			switch {
			case v.Closes:
			case halfCloses:
				w.closeWrite()
			case messages(bytes.NewReader(send)) > messages(io.MultiReader(bytes.NewReader(send),
				iotest.ErrReader(io.ErrNoProgress))):
				t.Skip("its last message ends with a connection that is closed on both sides")
			default:
				match(t, v.Expect, split(t, v.Framing, w.r, len(v.Expect)))
				return
			}
			match(t, v.Expect, split(t, v.Framing, strings.NewReader(w.rest()), math.MaxInt))
		})
	}
}

// messages counts what a peer has sent, also what cannot be read on from.
func messages(r io.Reader) (n int) {
	f := newFramer(r)
	for {
		_, err := f.next()
		if err == nil || errors.As(err, new(*rpc.Error)) {
			n++
		}
		if err != nil {
			return n
		}
	}
}

// split reads to the end, or until it has the most replies.
func split(t *testing.T, framing string, r io.Reader, most int) (replies []json.RawMessage) {
	f := newFramer(r)
	for len(replies) < most {
		msg, err := f.next()
		if err != nil {
			break
		}
		replies = append(replies, slices.Clone(msg))
	}
	if f.started && f.headers != (framing == "headers") {
		t.Errorf("answered in the other framing: %q", replies)
	}
	return replies
}

// match finds each wanted reply once, in any order.
func match(t *testing.T, want []wantReply, got []json.RawMessage) {
	t.Helper()
	if len(want) != len(got) {
		t.Fatalf("got %d replies, want %d: %.2000s", len(got), len(want), got)
	}
	for _, w := range want {
		i := slices.IndexFunc(got, func(g json.RawMessage) bool { return fits(w, g) })
		if i < 0 {
			t.Fatalf("no reply like %.500s %s%s among %.2000s", w.ID, w.Result, w.Error, got)
		}
		got = slices.Delete(slices.Clone(got), i, i+1)
	}
}

func fits(want wantReply, got json.RawMessage) bool {
	if want.Batch != nil {
		var list []json.RawMessage
		if json.Unmarshal(got, &list) != nil || len(list) != len(want.Batch) {
			return false
		}
		for _, w := range want.Batch {
			i := slices.IndexFunc(list, func(g json.RawMessage) bool { return fits(w, g) })
			if i < 0 {
				return false
			}
			list = slices.Delete(list, i, i+1)
		}
		return true
	}
	var m struct {
		Version string `json:"jsonrpc"`
		ID      json.RawMessage
		Result  json.RawMessage
		Error   json.RawMessage
	}
	if json.Unmarshal(got, &m) != nil || m.Version != "2.0" ||
		!bytes.HasPrefix(got, []byte(`{"jsonrpc":"2.0","id":`+string(want.ID)+",")) {
		return false
	}
	if want.Error != nil {
		return m.Result == nil && holds(want.Error, m.Error)
	}
	return m.Error == nil && holds(want.Result, m.Result)
}

// holds says whether every member of want stands in got.
func holds(want, got json.RawMessage) bool {
	var w, g any
	return json.Unmarshal(want, &w) == nil && json.Unmarshal(got, &g) == nil && within(w, g)
}

func within(want, got any) bool {
	switch w := want.(type) {
	case map[string]any:
		g, ok := got.(map[string]any)
		for k := range w {
			v, there := g[k]
			ok = ok && there && within(w[k], v)
		}
		return ok
	case []any:
		g, ok := got.([]any)
		ok = ok && len(g) == len(w)
		for i := 0; ok && i < len(w); i++ {
			ok = within(w[i], g[i])
		}
		return ok
	}
	return reflect.DeepEqual(want, got)
}

// offTable stands in for a daemon whose two pools have size 0.
func offTable() []Method {
	known := func(pool *string) *rpc.Error {
		if pool != nil && *pool != "uv" && *pool != "conda" {
			err := rpc.Errorf(rpc.KindUnknownPool, "there is no pool %q", *pool)
			err.Data.Pools = []string{"uv", "conda"}
			return err
		}
		return nil
	}
	orNil := func(err *rpc.Error) error {
		if err == nil {
			return nil
		}
		return err
	}
	none := func(context.Context, rpc.None) (rpc.None, error) { return rpc.None{}, nil }
	status := func(_ context.Context, p rpc.PoolParams) (r rpc.StatusResult, err error) {
		for _, name := range []string{"uv", "conda"} {
			if p.Pool == nil || *p.Pool == name {
				r.Pools = append(r.Pools, rpc.PoolStatus{Name: name, Kind: name, State: rpc.PoolOff})
			}
		}
		return r, orNil(known(p.Pool))
	}
	return []Method{
		NewMethod(rpc.MethodInfo, func(context.Context, rpc.InfoParams) (rpc.Info, error) {
			return rpc.Info{Name: rpc.Name, Protocol: rpc.Protocol}, nil
		}),
		NewMethod(rpc.MethodPing, none),
		NewMethod(rpc.MethodReload,
			func(context.Context, rpc.None) (rpc.ReloadResult, error) { return rpc.ReloadResult{}, nil }),
		NewMethod(rpc.MethodShutdown, none),
		NewMethod(rpc.MethodSetLogLevel,
			func(_ context.Context, p rpc.LogLevel) (rpc.LogLevel, error) { return p, nil }),
		NewMethod(rpc.MethodStatus, status),
		NewMethod(rpc.MethodLock, func(_ context.Context, p rpc.LockParams) (rpc.LockResult, error) {
			if err := known(p.Pool); err != nil {
				return rpc.LockResult{}, err
			}
			return rpc.LockResult{}, rpc.Errorf(rpc.KindPoolOff, "the pool is off")
		}),
		NewMethod(rpc.MethodAcquire, func(_ context.Context, p rpc.AcquireParams) (rpc.AcquireResult, error) {
			if err := known(p.Pool); err != nil {
				return rpc.AcquireResult{}, err
			}
			return rpc.AcquireResult{}, rpc.Errorf(rpc.KindPoolOff, "the pool is off")
		}),
		NewMethod(rpc.MethodRelease, func(context.Context, rpc.EnvParams) (rpc.None, error) {
			return rpc.None{}, rpc.Errorf(rpc.KindUnknownEnv, "no such environment")
		}),
		NewMethod(rpc.MethodFlush, func(_ context.Context, p rpc.PoolParams) (rpc.FlushResult, error) {
			return rpc.FlushResult{}, orNil(known(p.Pool))
		}),
		NewMethod(rpc.MethodWatch,
			func(context.Context, rpc.None) (rpc.StatusResult, error) { return rpc.StatusResult{}, nil }),
		NewMethod(rpc.MethodUnwatch, none),
		NewMethod(rpc.MethodEnvList, func(_ context.Context, p rpc.EnvListParams) (rpc.EnvListResult, error) {
			return rpc.EnvListResult{}, orNil(known(p.Pool))
		}),
		NewMethod(rpc.MethodAdopt, func(context.Context, rpc.AdoptParams) (rpc.AdoptResult, error) {
			return rpc.AdoptResult{}, rpc.Errorf(rpc.KindUnknownEnv, "no such environment")
		}),
		NewMethod(rpc.MethodGC,
			func(context.Context, rpc.GCParams) (rpc.GCResult, error) { return rpc.GCResult{}, nil }),
	}
}
