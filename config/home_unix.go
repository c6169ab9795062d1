//go:build unix

package config

const (
	homeVariable = "HOME"
	inHome       = ".config/runt"
)
