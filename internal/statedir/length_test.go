package statedir

import (
	"path/filepath"
	"strings"
	"testing"
)

func TestOnWindowsAStateDirectoryTooLongForProgramsIsRefused(t *testing.T) {
	root := filepath.VolumeName(t.TempDir()) + string(filepath.Separator)
	below := func(n int) string { return root + strings.Repeat("ö", n-len(root)) } // which is not there
	for n, refused := range map[int]bool{40: false, maxLength: false, maxLength + 1: programsBound,
		300: programsBound} {
		if err := CheckLength(below(n)); (err != nil) != refused {
			t.Errorf("%d characters: %v", n, err)
		}
	}
	small := programsBound && !longPaths()
	for n, cramped := range map[int]bool{40: false, roomyLength: false, roomyLength + 1: small} {
		if got := IsCramped(below(n)); got != cramped {
			t.Errorf("%d characters: %v", n, got)
		}
	}
	const windowsMost = 259
	longest := `\envs\` + strings.Repeat("p", 32) + `-01234567\Scripts\python.exe`
	deepest := `\envs\uv-01234567\Lib\site-packages\debugpy\_vendored\pydevd\_pydevd_bundle\_debug_adapter` +
		`\__pycache__\__main__pydevd_gen_debug_adapter_protocol.cpython-312.pyc`
	if maxLength+len(longest) > windowsMost || roomyLength+len(deepest) > windowsMost {
		t.Errorf("there is no room for %d and %d characters", len(longest), len(deepest))
	}
}

func TestLocksAreNotTakenInAStateDirectoryTooLongForPrograms(t *testing.T) {
	if !programsBound {
		t.Skip("only Windows has a bound")
	}
	dir := t.TempDir()
	at := Paths{Socket: `\\.\pipe\x`, Folder: dir, Own: dir, State: filepath.Join(dir, strings.Repeat("x", 200))}
	_, err := TakeLocks(at, 0, func() error { t.Error("it was prepared"); return nil })
	if err == nil || err.Error() != CheckLength(at.State).Error() {
		t.Error(err)
	}
	if there(at.Lock()) || there(at.State) {
		t.Error("something was made")
	}
}
