// Package pool keeps Python environments warm and lends them, each to one owner, once.
//
// The disk is the database: an environment is what its folder's manifest says, a lease is what its lease record says, and a
// folder with neither manifest nor build record is none of ours. The daemon may be killed at any line; the next one reads the
// disk and goes on. An environment passes through its states once, in this order, and its id is never used again:
//
//	          build verified           lease on disk          released, or owner gone
//	warming ------------------> ready ---------------> leased -----------------------> removing --> (.trash)
//	   |                        |   ^                     |                               ^
//	   |                        |   +---------------------+                               |
//	   |                        |    the reply never left                                 |
//	   +------------------------+---------------------------------------------------------+
//	     failed, dropped           stale, surplus, damaged
//
// Who asks for more than a pool gives gets an environment of the pool to which the rest is added: it is marked as used on disk, warms
// again under a new manifest, and goes the same way from there (extend.go, needs.go).
//
// One mutex guards all states and nothing slow happens under it: lock, decide, unlock, act, lock, record.
package pool
