package statedir

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/windows"
)

// volume is a file system.
type volume struct{ serial uint32 }

// volumeOf returns the volume of an open folder.
func volumeOf(f *os.File) (volume, error) {
	var info windows.ByHandleFileInformation
	if err := windows.GetFileInformationByHandle(windows.Handle(f.Fd()), &info); err != nil {
		return volume{}, fmt.Errorf("looking at %s: %w", f.Name(), err)
	}
	return volume{info.VolumeSerialNumber}, nil
}

// mountedAt reports whether a volume is mounted at name in an open folder. A junction to a folder is a link.
func mountedAt(dir *os.File, name string, _ volume) bool {
	path := filepath.Join(dir.Name(), name)
	info, err := os.Lstat(path)
	if err != nil || info.Mode()&(os.ModeIrregular|os.ModeSymlink) == 0 {
		return false
	}
	to, err := os.Readlink(path)
	return err == nil && strings.Contains(strings.ToLower(to), `volume{`)
}
