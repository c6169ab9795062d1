// Package pool keeps Python environments warm and lends each of them to one owner, once.
//
// The disk is the database: an environment is what its manifest says, a lease is what its lease record says, and a
// folder with neither a manifest nor a build record is unmanaged. The daemon may be killed at any line; the next one
// reads the disk and goes on. An environment keeps its id from birth to end, and no id is used twice. All moves between
// states are in the table transitions (env.go):
//
//	warming   -> ready      its build was verified
//	warming   -> removing   its build failed, or is no longer wanted
//	ready     -> leased     an acquire was granted it; its lease is being written
//	ready     -> extending  an acquire asks for more packages, which are added to it
//	ready     -> removing   it is stale, surplus or damaged
//	extending -> ready      all was added, or it was checked and is as before
//	extending -> removing   the check failed
//	leased    -> leased     a session resumed, or the lease was adopted
//	leased    -> ready      it was reclaimed: its reply was never sent, or its lease could not be written
//	leased    -> removing   it was released, its owner has ended, or it is damaged
//
// One mutex guards all states, and nothing slow happens under it. Methods that need it end in Locked. Code takes it
// with Manager.update, which afterwards does what follows from the change: it grants leases and wakes whoever waits for
// a change.
package pool
