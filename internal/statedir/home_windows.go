package statedir

// userHome is empty: HOME means nothing here.
func userHome() string { return "" }
