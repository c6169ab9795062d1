package uv

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"runtimed/internal/safefile"
	"runtimed/pool/envdir"
)

// header is the beginning of a .pyc that is checked by the time and the size of its source (PEP 552).
type header struct{ time, size uint32 }

func headerOf(code []byte) (header, bool) {
	if len(code) < 16 || binary.LittleEndian.Uint32(code[4:]) != 0 {
		return header{}, false
	}
	return header{binary.LittleEndian.Uint32(code[8:]), binary.LittleEndian.Uint32(code[12:])}, true
}

func (h header) fits(source fs.FileInfo) bool { return uint32(source.ModTime().Unix()) == h.time }

func (h header) modified() time.Time { return time.Unix(int64(h.time), 0) }

// sourceOf is the source that a .pyc in a __pycache__ folder was compiled from.
func sourceOf(path string) (source string, ok bool) {
	dir, name := filepath.Split(path)
	module, _, _ := strings.Cut(name, ".")
	ok = filepath.Base(dir) == "__pycache__" && strings.HasSuffix(name, ".pyc") && module != ""
	return filepath.Join(filepath.Dir(filepath.Clean(dir)), module+".py"), ok
}

// readSource reads a file, and returns its state from before.
func readSource(path string) (text []byte, info fs.FileInfo, err error) {
	if info, err = os.Lstat(path); err == nil {
		text, err = envdir.ReadOwn(path, envdir.MaxInside)
	}
	return text, info, err
}

// setTime sets the time of a file that is the environment's own. A file with a second name is uv's too, and other
// environments' .pyc files have its time.
func setTime(path string, to time.Time) error {
	f, err := safefile.OpenOwn(path, os.O_WRONLY, 0)
	switch {
	case err == nil:
		err = f.Close()
	case errors.Is(err, fs.ErrPermission): // some packages have read-only files
		err = safefile.CheckOwn(path)
	}
	if err != nil {
		return err
	}
	return os.Chtimes(path, to, to)
}

// writeNew writes a file that is not there yet, or leaves none: Python takes one with a whole header for whole.
func writeNew(path string, data []byte, mode fs.FileMode) error {
	f, err := os.OpenFile(path, os.O_WRONLY|os.O_CREATE|os.O_EXCL, mode)
	if err != nil {
		return err
	}
	_, err = f.Write(data)
	if err = errors.Join(err, f.Close()); err != nil {
		err = errors.Join(err, os.Remove(path))
	}
	return err
}

func sha(parts ...[]byte) string {
	sum := sha256.New()
	for _, part := range parts {
		sum.Write(part)
	}
	return hex.EncodeToString(sum.Sum(nil))
}
