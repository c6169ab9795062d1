package launch

import (
	"os"

	"golang.org/x/sys/unix"
)

// File returns a file from which the script can be read once. It lies in memory: a pipe takes little without a reader
// if its user has many (pipe(7)).
func File(script string) (*os.File, error) {
	fd, err := unix.MemfdCreate("runtimed", unix.MFD_CLOEXEC)
	if err != nil { // a sandbox may forbid it
		return pipe(script)
	}
	f := os.NewFile(uintptr(fd), "script")
	if _, err = f.WriteString(script); err == nil {
		_, err = f.Seek(0, 0)
	}
	if err != nil {
		_ = f.Close()
		return nil, err
	}
	return f, nil
}
