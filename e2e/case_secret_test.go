//go:build e2e && unix

package e2e

import (
	"encoding/json"
	"errors"
	"os"
	"strings"
	"testing"
	"time"

	"runtimed/internal/redact"
	"runtimed/rpc"
)

func TestNoSecretOfAToolReachesLogStatusOrErrors(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(at("'pip compile'", `cat >&2 <<'END'
GET /simple/ Authorization: Bearer geheim-1
UV_INDEX_X_PASSWORD=geheim-2
proxy user:geheim-3@proxy:3128
error: Failed to fetch: https://user:geheim/4@host/simple/
from https://host/x.whl?access=geheim-5
said the server: your proxy's geheim-6 and the index's geheim-7 are known
END
exit 2`))
	h.setenv("HTTPS_PROXY", "http://me:geheim-6@proxy.test:3128")
	h.configure("[uv]\nindex_url = \"https://me:geheim-7@index.test/simple\"\n[pools.uv]\nsize = 1\n")
	h.start()
	h.eventually(time.Minute, "the pool says that it fails", func() bool { return h.pool("uv").Error != nil })
	status, err := json.Marshal(h.pool("uv"))
	if err != nil {
		t.Fatal(err)
	}
	stdout, stderr, _ := h.runtEnds("", "pool", "status")
	var refused string
	h.eventually(time.Minute, "an acquire is told why", func() bool { // not while it tries again
		refused = h.refused(rpc.AcquireParams{WaitMS: new(int64(0))})
		return strings.Contains(refused, rpc.KindBuildFailed)
	})
	log, err := os.ReadFile(h.state("runtimed.log"))
	if err != nil {
		t.Fatal(err)
	}
	for what, text := range map[string]string{"status": string(status), "runt": stdout + stderr, "error": refused, "log": string(log)} {
		if strings.Contains(text, "geheim") || !strings.Contains(text, redact.Mask) && what != "runt" {
			t.Errorf("%s: %s", what, text)
		}
	}
	if !strings.Contains(string(log), "said the server") {
		t.Errorf("the log lacks what the tool said: %s", log)
	}
}

// refused is the error of an acquire, as it travels.
func (h *house) refused(p rpc.AcquireParams) string {
	h.t.Helper()
	c := h.dial()
	defer c.Close()
	err := c.Call(h.t.Context(), rpc.MethodAcquire, p, nil)
	var e *rpc.Error
	if !errors.As(err, &e) {
		h.t.Fatalf("the acquire ended with %v", err)
	}
	text, err := json.Marshal(e)
	if err != nil {
		h.t.Fatal(err)
	}
	return string(text)
}

func TestALabelThatTurnsTheLineIsShownAsWhatItIs(t *testing.T) {
	t.Parallel()
	h := newHouse(t).withStandIn(fastUV)
	h.configure(quickly + "1\n")
	h.start()
	h.filled("uv", time.Minute)
	h.acquire(rpc.AcquireParams{OwnerPID: new(os.Getpid()), Label: new("a\u202egpj.exe\u2066\u200b👩\u200d👧"), WaitMS: new(int64(10000))})
	got := h.runt("env", "list", "--state", "leased")
	if !strings.Contains(got, `a\u202egpj.exe\u2066\u200b`+"👩\u200d👧)") {
		t.Errorf("%q", got)
	}
}
