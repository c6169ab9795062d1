package rpc

import (
	"errors"
	"fmt"
	"io/fs"
	"net"
	"os"
	"strings"
	"sync/atomic"
	"testing"
	"unsafe"

	"github.com/Microsoft/go-winio"
	"golang.org/x/sys/windows"

	"runtimed/internal/testkit"
)

var places atomic.Int32

// place is where a test may listen.
func place(testing.TB) string {
	return fmt.Sprintf(`\\.\pipe\runtimed-test-%d-%d`, os.Getpid(), places.Add(1))
}

func ourSID(t *testing.T) *windows.SID {
	t.Helper()
	user, err := windows.GetCurrentProcessToken().GetTokenUser()
	testkit.Check(t, err)
	return user.User.Sid
}

// The descriptor is read back from both ends of a connection, since each end is an object that others might open.
func TestAPipeIsItsUsersAlone(t *testing.T) {
	path, me := place(t), ourSID(t)
	ln, err := Listen(path)
	testkit.Check(t, err)
	defer ln.Close()
	accepted := make(chan net.Conn, 1)
	go func() {
		nc, err := ln.Accept()
		if err != nil {
			t.Error(err)
		}
		accepted <- nc
	}()
	client, err := winio.DialPipe(path, nil)
	testkit.Check(t, err)
	defer client.Close()
	server := <-accepted
	defer server.Close()
	for end, nc := range map[string]any{"client": client, "server": server} {
		sd, err := windows.GetSecurityInfo(windows.Handle(nc.(pipeConn).Fd()), windows.SE_KERNEL_OBJECT,
			windows.OWNER_SECURITY_INFORMATION|windows.DACL_SECURITY_INFORMATION)
		testkit.Check(t, err)
		if owner, _, err := sd.Owner(); err != nil || !owner.Equals(me) {
			t.Errorf("%s: the owner is %v, not %v: %v", end, owner, me, err)
		}
		control, _, err := sd.Control()
		if err != nil || control&windows.SE_DACL_PRESENT == 0 || control&windows.SE_DACL_PROTECTED == 0 {
			t.Errorf("%s: control is %x, %v", end, control, err)
		}
		dacl, _, err := sd.DACL()
		if err != nil || dacl == nil || dacl.AceCount != 1 {
			t.Fatalf("%s: %v in %s", end, err, sd)
		}
		var ace *windows.ACCESS_ALLOWED_ACE
		testkit.Check(t, windows.GetAce(dacl, 0, &ace))
		who := (*windows.SID)(unsafe.Pointer(&ace.SidStart))
		if ace.Header.AceType != windows.ACCESS_ALLOWED_ACE_TYPE || ace.Header.AceFlags != 0 || !who.Equals(me) {
			t.Errorf("%s: type %d with flags %x for %v", end, ace.Header.AceType, ace.Header.AceFlags, who)
		}
	}
}

func TestAPipeOfAnotherUserIsNotSpokenTo(t *testing.T) {
	path := place(t)
	// System owns it, and lets us in.
	ln, err := winio.ListenPipe(path, &winio.PipeConfig{SecurityDescriptor: "O:SYD:P(A;;GA;;;WD)"})
	if errors.Is(err, windows.ERROR_INVALID_OWNER) {
		t.Skip("only a privileged user may make a pipe of somebody else's")
	}
	testkit.Check(t, err)
	defer ln.Close()
	enter(path)
	got := make(chan []byte, 2)
	go func() {
		for {
			nc, err := ln.Accept()
			if err != nil {
				return
			}
			data := make([]byte, 100)
			n, _ := nc.Read(data)
			nc.Close()
			got <- data[:n]
		}
	}()
	_, err = Dial(t.Context(), path, ClientOptions{})
	if KindOf(err) != KindUntrusted || !strings.Contains(err.Error(), "S-1-5-18") ||
		!strings.Contains(err.Error(), path) {
		t.Errorf("got %v", err)
	}
	if data := <-got; len(data) > 0 {
		t.Errorf("the stranger was sent %q", data)
	}
	if _, err := Listen(path); !errors.Is(err, ErrSocketInUse) || !strings.Contains(err.Error(), "another user") {
		t.Errorf("listening there: %v", err)
	}
}

func TestListenSaysThatAPipeIsNotAPlaceInAFileSystem(t *testing.T) {
	if _, err := Listen(`C:\runt\a.sock`); err == nil || !strings.Contains(err.Error(), "not the name of a pipe") {
		t.Errorf("got %v", err)
	}
}

func TestAnEndedListenerLeavesNoPipe(t *testing.T) {
	path := place(t)
	for range 3 {
		ln, err := Listen(path)
		testkit.Check(t, err)
		ln.Close()
		if err := inUse(path); !errors.Is(err, fs.ErrNotExist) {
			t.Errorf("got %v", err)
		}
	}
}
