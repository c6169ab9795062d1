//go:build !linux

package proc

// Here all processes of a machine have numbers of one kind, and everybody sees which there are.

func Namespace() string { return "" }

func Hides() bool { return false }

func blind() string { return "" }

const blindHint = ""

// SameNumbers says whether the process pid has the same numbers for processes as this one.
func SameNumbers(int) bool { return true }

func nested(int) bool { return false }

// processOf is the process that a number belongs to: here threads have none of this kind.
func processOf(pid int) int { return pid }

func find(o Owner) (s Sight, where string) {
	if s = lookAt(Process{o.PID, o.StartTime}); s == Unseen {
		where = "that cannot be looked at"
	}
	return s, where
}

// findOfOtherBoot is what can be known of an owner of this machine whose boot has another name.
func findOfOtherBoot(Owner) (s Sight, where string) { return Gone, "" }

// hiddenBeside says whether somebody who is hidden from us is of an owner's process group.
func hiddenBeside(Owner) bool { return false }

// HoldsLock says whether the process pid may hold the lock on the file at path.
func HoldsLock(pid int, _ string) bool {
	_, err := statOf(pid)
	return err == nil
}
