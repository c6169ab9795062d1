//go:build !linux

package proc

// Here a machine has one set of pids, and everybody sees all processes.

func Namespace() string { return "" }

func Hides() bool { return false }

func Blind() string { return "" }

const BlindHint = ""

// SameNumbers reports whether the process pid shares our PID namespace.
func SameNumbers(int) bool { return true }

func nested(int) bool { return false }

func processOf(pid int) int { return pid }

func find(o Owner) (s Sight, where string) {
	if s = lookAt(Process{o.PID, o.StartTime}); s == Unseen {
		where = "that cannot be looked at"
	}
	return s, where
}

func findOfOtherBoot(Owner) (s Sight, where string) { return Gone, "" }

func hiddenBeside(Owner) bool { return false }

// HoldsLock reports whether the process pid may hold a lock on the file at path.
func HoldsLock(pid int, _ string) bool {
	_, err := statOf(pid)
	return err == nil
}

// EnvironOf returns nil: the variables cannot be told with certainty.
func EnvironOf(int) []string { return nil }
