package proc

import "fmt"

// OwnerOf is the living process pid as the owner of a lease. The error is *OwnerError.
func OwnerOf(pid int) (Owner, error) {
	if why := blind(); why != "" {
		return Owner{}, &OwnerError{PID: pid, Says: "cannot be seen: " + why, Hint: blindHint}
	}
	p, err := statOf(pid)
	switch {
	case err != nil && lookAt(Process{PID: pid}) == Unseen:
		return Owner{}, &OwnerError{
			PID: pid, Says: "cannot be seen: /proc hides it", Hint: "mount /proc without hidepid, or ask as the daemon's user",
		}
	case err != nil:
		return Owner{}, &OwnerError{PID: pid}
	}
	if p.kernel {
		return Owner{}, &OwnerError{PID: pid, Says: "is a part of the kernel"}
	}
	if whole := processOf(pid); whole != pid { // the lease would end with the thread, under those that work on
		says := fmt.Sprintf("is only a thread of the process %d", whole)
		return Owner{}, &OwnerError{PID: pid, Says: says, Hint: fmt.Sprintf("name the process: %d", whole)}
	}
	return Owner{
		PID: pid, StartTime: p.start, BootID: BootID(), MachineID: MachineID(), Namespace: Namespace(), Group: p.group,
		Terminal: p.terminal,
	}, nil
}

// Named is the process pid, of the daemon's own user, as the owner of a lease that somebody else asks for. The error is *OwnerError.
func Named(pid int) (Owner, error) {
	owner, err := OwnerOf(pid)
	if err == nil && !isOurs(pid) {
		err = &OwnerError{PID: pid, Says: "is another user's"}
	}
	return owner, err
}

// Look is what can be known of an owner, and where it is if it cannot be seen: "in another PID namespace".
func (o Owner) Look() (s Sight, where string) {
	switch {
	case o.PID <= 0:
		return Unseen, "not known"
	case BootID() == "" || o.BootID == "":
		return Unseen, "of a boot that is not known here"
	case o.BootID == BootID(): // and so of this machine, whatever its id is by now
	case o.MachineID != MachineID():
		return Unseen, "on another machine"
	default:
		return findOfOtherBoot(o)
	}
	return find(o)
}

// Is says whether both are the same process. An earlier version did not note the namespace.
func (o Owner) Is(other Owner) bool {
	return o.PID == other.PID && o.StartTime == other.StartTime &&
		o.BootID == other.BootID && o.MachineID == other.MachineID &&
		(o.Namespace == other.Namespace || o.Namespace == "" || other.Namespace == "")
}

// OwnerError says why a process cannot own a lease.
type OwnerError struct {
	PID  int
	Says string // what follows its number in a sentence; empty: there is no such process
	Hint string // empty: name another
}

func (e *OwnerError) Error() string {
	if e.Says == "" {
		return fmt.Sprintf("no process has the pid %d", e.PID)
	}
	return fmt.Sprintf("the process %d %s", e.PID, e.Says)
}

// Owner is the process that a lease belongs to. A pid alone is nobody: the kernel gives it away again.
type Owner struct {
	PID       int    `json:"pid"`
	StartTime uint64 `json:"start_time"` // as the system counts it: clock ticks since boot (Linux), µs since 1970 (macOS), 100 ns since 1601 (Windows)
	BootID    string `json:"boot_id"`
	MachineID string `json:"machine_id"`

	// An earlier version did not write these.
	Namespace string `json:"pid_ns,omitempty"`  // the PID namespace that the numbers are of (Linux)
	Group     int    `json:"pgid,omitempty"`    // its process group when it became the owner; 0: the system has none
	Terminal  int    `json:"tty_sid,omitempty"` // its session, where that has a terminal, whose shell gives each job a group; 0: none
}

// Unknown says that nobody knows who it is: the lease record cannot be read. Such an owner never ends by itself.
func (o Owner) Unknown() bool { return o.PID == 0 }
