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
