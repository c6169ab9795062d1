package proc

import "fmt"

// OwnerOf describes the living process pid as the owner of a lease. The error is an *OwnerError.
func OwnerOf(pid int) (Owner, error) {
	if why := Blind(); why != "" {
		return Owner{}, &OwnerError{PID: pid, Says: "cannot be seen: " + why, Hint: BlindHint}
	}
	p, err := statOf(pid)
	switch {
	case err != nil && lookAt(Process{PID: pid}) == Unseen:
		return Owner{}, &OwnerError{
			PID: pid, Says: "cannot be seen: /proc hides it",
			Hint: "mount /proc without hidepid, or ask as the daemon's user",
		}
	case err != nil:
		return Owner{}, &OwnerError{PID: pid}
	}
	if p.kernel {
		return Owner{}, &OwnerError{PID: pid, Says: "is a part of the kernel"}
	}
	if whole := processOf(pid); whole != pid { // the lease would end with the thread
		says := fmt.Sprintf("is only a thread of the process %d", whole)
		return Owner{}, &OwnerError{PID: pid, Says: says, Hint: fmt.Sprintf("name the process: %d", whole)}
	}
	return Owner{
		PID: pid, StartTime: p.start, BootID: BootID(), MachineID: MachineID(), Namespace: Namespace(), Group: p.group,
		Terminal: p.terminal,
	}, nil
}

// Runs reports whether the process pid lives and can be seen.
func Runs(pid int) bool {
	_, err := OwnerOf(pid)
	return err == nil
}

// Named is OwnerOf for a pid that a client names: it must belong to the daemon's own user. The error is an
// *OwnerError.
func Named(pid int) (Owner, error) {
	owner, err := OwnerOf(pid)
	if err == nil && !isOurs(pid) {
		err = &OwnerError{PID: pid, Says: "is another user's"}
	}
	return owner, err
}

// Look reports what can be known of an owner. For one that cannot be seen, where says why: "in another PID
// namespace".
func (o Owner) Look() (s Sight, where string) {
	switch {
	case o.PID <= 0:
		return Unseen, "not known"
	case BootID() == "" || o.BootID == "":
		return Unseen, "of a boot that is not known here"
	case o.BootID == BootID(): // the same machine, even if its id has changed since
	case o.MachineID != MachineID():
		return Unseen, "on another machine"
	default:
		return findOfOtherBoot(o)
	}
	return find(o)
}

// Is reports whether both are the same process. Earlier versions did not write the namespace.
func (o Owner) Is(other Owner) bool {
	return o.PID == other.PID && o.StartTime == other.StartTime &&
		o.BootID == other.BootID && o.MachineID == other.MachineID &&
		(o.Namespace == other.Namespace || o.Namespace == "" || other.Namespace == "")
}

// OwnerError says why a process cannot own a lease.
type OwnerError struct {
	PID  int
	Says string // the rest of a sentence that begins with the process; empty if there is none
	Hint string // empty: name another process
}

func (e *OwnerError) Error() string {
	if e.Says == "" {
		return fmt.Sprintf("no process has the pid %d", e.PID)
	}
	return fmt.Sprintf("the process %d %s", e.PID, e.Says)
}

// Owner is the process that holds a lease. A pid is not enough: the kernel reuses it.
type Owner struct {
	PID int `json:"pid"`
	// clock ticks since boot (Linux), µs since 1970 (macOS), 100 ns since 1601 (Windows)
	StartTime uint64 `json:"start_time"`
	BootID    string `json:"boot_id"`
	MachineID string `json:"machine_id"`

	// Earlier versions did not write these.
	Namespace string `json:"pid_ns,omitempty"` // of the pid (Linux)
	Group     int    `json:"pgid,omitempty"`   // its process group when it became the owner; 0 if the system has none
	// its session, if that has a terminal, where each job is a group; else 0
	Terminal int `json:"tty_sid,omitempty"`
}

// Unknown reports whether the lease record could not be read. Such an owner never ends by itself.
func (o Owner) Unknown() bool { return o.PID == 0 }
