package project

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"hash"
	"io/fs"
	"os"
	"path/filepath"
	"sync"
	"time"

	"runtimed/internal/safefile"
)

const (
	maxManifest = 256 << 10 // bytes
	maxLock     = 32 << 20  // bytes
	maxFiles    = 5000      // that one project may be read from
	largeFile   = 1 << 20   // bytes; one project is read at a time that has such a file
)

var large sync.Mutex // held by whoever reads a large file: the memory of many would add up

// reader reads the files of a project, each once, and makes the digest of them.
type reader struct {
	sum   hash.Hash
	read  map[string][]byte
	files int  // those that are there
	large bool // the lock of that name is held; close frees it
}

// tryLarge waits for its turn, but not for ever: a file may be on a disk that hangs.
func tryLarge() bool {
	for end := time.Now().Add(10 * time.Second); !large.TryLock(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(end) {
			return false
		}
	}
	return true
}

// close lets others read large files.
func (r *reader) close() {
	if r.large {
		large.Unlock()
		r.large = false
	}
}

// file reads a file that must be there.
func (r *reader) file(path string, limit int64) ([]byte, error) {
	data, err := r.maybe(path, limit)
	if err == nil && data == nil {
		return nil, errorf("see that it is there", "%s does not exist", path)
	}
	return data, err
}

// maybe reads a file; nil if there is none.
func (r *reader) maybe(path string, limit int64) ([]byte, error) {
	if data, ok := r.read[path]; ok {
		return data, nil
	}
	if r.read == nil {
		r.read, r.sum = map[string][]byte{}, sha256.New()
	}
	if info, err := os.Stat(path); err == nil {
		if r.files++; r.files > maxFiles {
			return nil, errorf("split it into projects of their own", "the project leads to more than %d files",
				maxFiles)
		}
		if min(info.Size(), limit) > largeFile && !r.large {
			if !tryLarge() {
				return nil, errorf("ask again; its disk may be slow",
					"a large file of another project is still being read")
			}
			r.large = true
		}
	}
	data, err := safefile.Read(path, limit)
	var other *safefile.Error
	switch {
	case err == nil && data == nil:
		data = []byte{}
	case errors.Is(err, fs.ErrNotExist):
		data = nil
	case errors.As(err, &other):
		return nil, errorf("a project's files are plain files of a moderate size", "%s", other)
	case err != nil:
		return nil, unreadable(path, err)
	}
	r.read[path] = data
	content := "none"
	if data != nil {
		sum := sha256.Sum256(data)
		content = hex.EncodeToString(sum[:])
	}
	fmt.Fprintf(r.sum, "%s\x00%s\n", path, content)
	return data, nil
}

// source reads what decides how a folder of sources is installed. Of a file, such as a wheel, size and time count.
func (r *reader) source(path string) error {
	if info, err := os.Stat(path); err == nil && !info.IsDir() {
		r.note(fmt.Sprintf("%s %d %d", path, info.Size(), info.ModTime().UnixNano()))
		return nil
	}
	for _, name := range []string{PyProject, "setup.py", "setup.cfg"} {
		if _, err := r.maybe(filepath.Join(path, name), maxManifest); err != nil {
			return err
		}
	}
	return nil
}

// sources reads a folder of sources, and those that its own settings for uv lead to.
func (r *reader) sources(path string) error {
	manifest := filepath.Join(path, PyProject)
	if _, seen := r.read[manifest]; seen {
		return nil
	}
	if err := r.source(path); err != nil || r.read[manifest] == nil {
		return err
	}
	m, err := readManifest(manifest, r)
	if err == nil {
		err = readSources(path, m.Tool.UV.Sources, r)
	}
	if err == nil {
		err = m.readDynamic(path, r)
	}
	return err
}

// note adds to the digest what is in no file.
func (r *reader) note(text string) {
	if r.sum == nil {
		r.read, r.sum = map[string][]byte{}, sha256.New()
	}
	fmt.Fprintf(r.sum, "%s\n", text)
}

func (r *reader) digest() string { return hex.EncodeToString(r.sum.Sum(nil)[:16]) }
