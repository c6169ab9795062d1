package main

import "os"

// exists reports whether something is at path, through links.
func exists(path string) bool {
	_, err := os.Stat(path)
	return err == nil
}
