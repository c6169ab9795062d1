package rpc

// Peer is the process at the other end of a connection, as the kernel names it.
// PID is 0 where it cannot be told: the process lives in another pid namespace.
type Peer struct{ UID, PID int }
