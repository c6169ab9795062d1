package safefile

import (
	"net/url"
	"path/filepath"
	"strings"
)

// URLPath is the path that a file:// URL names. On Windows file:///C:/x is C:\x, and file://server/x is \\server\x.
func URLPath(u *url.URL) string {
	path := filepath.FromSlash(u.Path)
	if rest := strings.TrimPrefix(path, `\`); filepath.VolumeName(rest) != "" {
		return rest
	}
	if share := `\\` + u.Host + path; u.Host != "localhost" && u.Host != "" && filepath.VolumeName(share) != "" {
		return share
	}
	return path
}
