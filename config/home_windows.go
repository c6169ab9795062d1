package config

// Where the configuration is, unless somebody names another place.
const (
	homeVariable = "APPDATA"
	inHome       = "runt"
)
