package proc

import "testing"

func TestTheCallerIsTheLeaderOfTheGroupOrTheParent(t *testing.T) {
	parents := map[int]int{50: 40, 40: 30, 30: 20, 20: 1, 60: 1, 70: 0, 80: 80, 94: 93, 93: 92, 92: 91, 91: 90}
	theirs := map[int]bool{1: true, 90: true, 91: true}
	for _, tt := range []struct {
		name               string
		self, leader, want int
	}{
		{"typed into a shell with job control: runt leads its own group", 50, 50, 40},
		{"in $(runt … | jq): the subshell is gone at once, the shell leads", 50, 30, 30},
		{"in a script: the script leads", 50, 40, 40},
		{"the leader has ended, its number is a stranger's", 50, 99, 40},
		{"a leader beyond what can be seen", 50, 0, 40},
		{"init called us", 60, 60, 1},
		{"nobody can be seen", 70, 70, 0},
		{"below su in a script of another user's: what su started", 94, 90, 92},
		{"below su itself", 92, 90, 91},
		{"a circle, as a race of pids might make it", 80, 99, 80},
	} {
		if got := caller(tt.self, tt.leader, func(pid int) int { return parents[pid] },
			func(pid int) bool { return !theirs[pid] }); got != tt.want {
			t.Errorf("%s: got %d, want %d", tt.name, got, tt.want)
		}
	}
}

func TestAProcessThatBeganLaterIsNoParent(t *testing.T) {
	self := stat{Process: Process{PID: 50, start: 1000}}
	for start, younger := range map[uint64]bool{999: false, 1000: false, 1001: true} {
		if got := (stat{Process: Process{PID: 7, start: start}}).isYounger(self); got != younger {
			t.Errorf("begun at %d: %v", start, got)
		}
	}
}
