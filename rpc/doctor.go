package rpc

// Check is what one look of runt doctor found. It never travels on the socket: the daemon's program prints a list of them, which runt
// reads and adds to.
type Check struct {
	Name    string `json:"name"`
	Status  string `json:"status"` // one of the Check constants
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`  // the next step
	Fixed   string `json:"fixed,omitempty"` // what was repaired
}

// The verdicts of a [Check].
const (
	CheckOK      = "ok"
	CheckWarning = "warning"
	CheckProblem = "problem"
)
