// Package statedir knows what lies below the state directory, which of it is the daemon's, and how it is removed.
package statedir
