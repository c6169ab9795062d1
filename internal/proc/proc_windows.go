package proc

import (
	"errors"
	"os"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"unsafe"

	"golang.org/x/sys/windows"
	"golang.org/x/sys/windows/registry"

	"runtimed/internal/safefile"
)

// BootID names this boot by the start time of the oldest process, the kernel's. That survives a change of the clock.
// (A machine with fast startup keeps it over a shutdown, but then it loses no writes either.)
var BootID = sync.OnceValue(func() string {
	oldest := int64(0)
	for size := uint32(1 << 20); size <= 1<<28; size *= 2 {
		buf := make([]uint64, size/8) // aligned for the records
		err := windows.NtQuerySystemInformation(windows.SystemProcessInformation, unsafe.Pointer(&buf[0]), size, nil)
		if errors.Is(err, windows.STATUS_INFO_LENGTH_MISMATCH) {
			continue
		}
		if err != nil {
			return ""
		}
		for at := uintptr(0); ; {
			p := (*windows.SYSTEM_PROCESS_INFORMATION)(unsafe.Add(unsafe.Pointer(&buf[0]), at))
			if p.CreateTime > 0 && (oldest == 0 || p.CreateTime < oldest) {
				oldest = p.CreateTime
			}
			if p.NextEntryOffset == 0 {
				return strconv.FormatInt(oldest, 10)
			}
			at += uintptr(p.NextEntryOffset)
		}
	}
	return ""
})

// MachineID names this machine: several may share a home folder, and do not see each other's processes.
var MachineID = sync.OnceValue(func() string {
	key, err := registry.OpenKey(registry.LOCAL_MACHINE, `SOFTWARE\Microsoft\Cryptography`,
		registry.QUERY_VALUE|registry.WOW64_64KEY)
	if err != nil {
		return ""
	}
	defer key.Close()
	id, _, err := key.GetStringValue("MachineGuid")
	if err != nil {
		return ""
	}
	return id
})

// openProcess calls f with a handle to the process. It returns false if none can be opened.
func openProcess(pid int, access uint32, f func(windows.Handle) bool) bool {
	if pid <= 0 {
		return false
	}
	h, err := safefile.Patiently(func() (windows.Handle, error) {
		return windows.OpenProcess(access, false, uint32(pid))
	})
	if err != nil {
		return false
	}
	defer windows.CloseHandle(h)
	return f(h)
}

func lookAt(p Process) Sight {
	if now, err := statOf(p.PID); err == nil && now.start == p.start {
		return Living
	}
	return Gone
}

// statOf returns errEnded for a process that we may not look at: it was never an owner.
func statOf(pid int) (stat, error) {
	var start uint64
	const access = windows.PROCESS_QUERY_LIMITED_INFORMATION | windows.SYNCHRONIZE
	lives := openProcess(pid, access, func(h windows.Handle) bool {
		var began, ended, kernel, user windows.Filetime
		if windows.GetProcessTimes(h, &began, &ended, &kernel, &user) != nil {
			return false
		}
		start = uint64(began.HighDateTime)<<32 | uint64(began.LowDateTime)
		event, err := windows.WaitForSingleObject(h, 0)
		return err == nil && event == uint32(windows.WAIT_TIMEOUT)
	})
	if !lives {
		return stat{}, errEnded
	}
	return stat{Process: Process{pid, start}}, nil
}

// isOurs reports whether the process runs as the daemon's user.
func isOurs(pid int) bool {
	return openProcess(pid, windows.PROCESS_QUERY_LIMITED_INFORMATION, func(h windows.Handle) bool {
		var token windows.Token
		if windows.OpenProcessToken(h, windows.TOKEN_QUERY, &token) != nil {
			return false
		}
		defer token.Close()
		its, err := token.GetTokenUser()
		if err != nil {
			return false
		}
		ours, err := windows.GetCurrentProcessToken().GetTokenUser()
		return err == nil && its.User.Sid.Equals(ours.User.Sid)
	})
}

// maxWatches bounds the threads that wait for owners. For more the reaper's regular look finds an end, seconds later.
const maxWatches = 64

var watches atomic.Int32

// onExit calls f once the process has ended, unless stop is called first.
func onExit(pid int, f func()) (stop func()) {
	none := func() {}
	h, err := windows.OpenProcess(windows.SYNCHRONIZE, false, uint32(pid))
	if errors.Is(err, windows.ERROR_INVALID_PARAMETER) { // there is no such process
		go f()
		return none
	}
	if err != nil {
		return none
	}
	if watches.Add(1) > maxWatches {
		watches.Add(-1)
		_ = windows.CloseHandle(h)
		return none
	}
	var stopped atomic.Bool
	go func() {
		defer watches.Add(-1)
		defer windows.CloseHandle(h)
		for !stopped.Load() {
			event, err := windows.WaitForSingleObject(h, 1000) // ms; then it sees a stop
			if err != nil {
				return
			}
			if event == windows.WAIT_OBJECT_0 {
				f()
				return
			}
		}
	}()
	return func() { stopped.Store(true) }
}

// procs calls f with each process of this machine.
func procs(f func(pid int)) error {
	for size := 1024; ; size *= 2 {
		pids := make([]uint32, size)
		var bytes uint32
		if err := windows.EnumProcesses(pids, &bytes); err != nil {
			return err
		}
		n := int(bytes) / 4
		if n == size { // there may be more
			continue
		}
		for _, pid := range pids[:n] {
			f(int(pid))
		}
		return nil
	}
}

// tracesOf reads which files a process has loaded: its executable and its modules. (A venv's python.exe starts the
// base interpreter, which loads the extension modules.) Nothing else is told about others.
func tracesOf(p stat) (t traces) {
	name := make([]uint16, windows.MAX_LONG_PATH)
	tell := func(n uint32) { t.paths = append(t.paths, []byte(windows.UTF16ToString(name[:n]))) }
	openProcess(p.PID, windows.PROCESS_QUERY_LIMITED_INFORMATION, func(h windows.Handle) bool {
		n := uint32(len(name))
		if windows.QueryFullProcessImageName(h, 0, &name[0], &n) == nil {
			tell(n)
		}
		return true
	})
	openProcess(p.PID, windows.PROCESS_QUERY_INFORMATION|windows.PROCESS_VM_READ, func(h windows.Handle) bool {
		modules := make([]windows.Handle, 4096)
		room, need := uint32(len(modules))*uint32(unsafe.Sizeof(modules[0])), uint32(0)
		if windows.EnumProcessModulesEx(h, &modules[0], room, &need, windows.LIST_MODULES_ALL) != nil {
			return false
		}
		for _, module := range modules[:min(need, room)/uint32(unsafe.Sizeof(modules[0]))] {
			name[0] = 0
			if windows.GetModuleFileNameEx(h, module, &name[0], uint32(len(name))) == nil {
				tell(uint32(len(name)))
			}
		}
		return true
	})
	return t
}

// in calls f with the id of the environment that the path data is in.
func (s search) in(data []byte, _ string, _ int, f func(id string)) {
	if id, ok := idBelow(s.envs+string(os.PathSeparator), string(data)); ok {
		f(id)
	}
}

// idBelow returns the name that follows envs in path, if more of the path follows. Case does not matter.
func idBelow(envs, path string) (id string, ok bool) {
	if rest, long := strings.CutPrefix(path, `\\?\`); long { // what was loaded by such a path is told so
		path = rest
		if share, is := strings.CutPrefix(rest, `UNC\`); is {
			path = `\\` + share
		}
	}
	if len(path) <= len(envs) || !strings.EqualFold(path[:len(envs)], envs) {
		return "", false
	}
	id, _, ok = strings.Cut(path[len(envs):], string(os.PathSeparator))
	return strings.ToLower(id), ok && id != ""
}

// EndMarked does nothing: the job objects of builds end with their daemon.
func EndMarked(string, func(dir string) bool) int { return 0 }

// MarkOf is empty: the variables of a process cannot be read here.
func MarkOf(int, string) string { return "" }

// Marked finds nothing: the job objects of builds end with their daemon.
func Marked(string, func(dir string) bool) []int { return nil }
