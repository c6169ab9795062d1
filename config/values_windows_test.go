package config

import (
	"strings"
	"testing"
)

func TestACacheDirTooLongForProgramsIsRefused(t *testing.T) {
	at := `C:\` + strings.Repeat("x", 187)
	if c, err := load(t, "cache_dir = '"+at+"'\n"); err != nil || c.CacheDir != at {
		t.Errorf("%d characters: %v", len(at), err)
	}
	_, err := load(t, "cache_dir = '"+at+"x'\n")
	if err == nil || !strings.Contains(err.Error(), "config.toml:1: cache_dir: the path has 191 characters") {
		t.Error(err)
	}
}

func TestACacheDirThatWindowsReadsAsAnotherPathIsRefused(t *testing.T) {
	for at, refused := range map[string]bool{
		`C:\Straße\my runt`: false, `C:/x/runt/`: false, `\\server\share`: false, `\\server\share\x`: false,
		`D:\`: false, `C:\x.y\runt.d`: false, `C:\x\..\runt`: false,
		`C:\runt `: true, `C:\runt.`: true, `C:\runt.\`: true, `C:\NUL`: true, `C:\x\con`: true, `C:\x\aux:`: true,
		`\\?\C:\runt`: true, `\\?\UNC\server\share\x`: true, `\\.\C:\runt`: true, `//?/C:/runt`: true,
		`C:runt`: true, `\runt`: true, `/runt`: true, `NUL`: true,
	} {
		if _, err := load(t, "cache_dir = '"+at+"'\n"); (err != nil) != refused {
			t.Errorf("%s: %v", at, err)
		}
	}
}
