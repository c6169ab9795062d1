//go:build unix

package config

// Where the configuration is, unless somebody names another place.
const (
	homeVariable = "HOME"
	inHome       = ".config/runt"
)
