package config

const (
	homeVariable = "APPDATA"
	inHome       = "runt"
)
