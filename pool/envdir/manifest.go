package envdir

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/safefile"
	"runtimed/internal/statedir"
	"runtimed/pool/builder"
)

// Manifest is the last file that a build writes. A folder with it is a whole environment.
type Manifest struct {
	Version       int                `json:"version"`
	ID            string             `json:"id"`
	Pool          string             `json:"pool"`
	Kind          string             `json:"kind"`
	SpecHash      string             `json:"spec_hash"`
	Lock          string             `json:"lock,omitempty"`  // the hash of its builder.LockName; else empty
	Needs         *builder.Needs     `json:"needs,omitempty"` // of a derived pool; else nil
	CreatedAt     time.Time          `json:"created_at"`
	BootID        string             `json:"boot_id"` // in which it was last verified
	Python        string             `json:"python"`
	PythonVersion string             `json:"python_version"`
	Packages      []builder.Package  `json:"packages"`
	Variables     map[string]*string `json:"variables"`
	PathPrepend   []string           `json:"path_prepend"`
	SizeBytes     int64              `json:"size_bytes"`
	Sentinels     []Sentinel         `json:"sentinels"`
}

// Sentinel is a file whose stat, links followed, shows damage to an environment.
type Sentinel struct {
	Path string `json:"path"` // relative paths are inside the environment
	FileID
	SHA256 string `json:"sha256,omitempty"` // of its content; earlier versions did not write it
}

// FileID tells one state of a file from another.
type FileID struct {
	Size    int64  `json:"size"`
	MtimeNS int64  `json:"mtime_ns"`
	Inode   uint64 `json:"inode"`
}

func statID(path string) (FileID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return FileID{}, err
	}
	inode, err := inodeOf(path, info)
	return FileID{info.Size(), info.ModTime().UnixNano(), inode}, err
}

func (s Store) WriteManifest(dir string, m Manifest) (FileID, error) {
	data, err := json.MarshalIndent(m, "", " ")
	if err == nil {
		err = s.stands(dir)
	}
	if err != nil {
		return FileID{}, err
	}
	if err := WriteWhole(s.Manifest(dir), append(data, '\n'), dir); err != nil {
		return FileID{}, err
	}
	return statID(s.Manifest(dir))
}

// ErrNoManifest means that the folder is not ours, unless a build record says so.
var ErrNoManifest = errors.New("no manifest of its own")

const maxManifest = 4 << 20 // bytes; a hundred times that of a large environment

// ReadManifest reads and checks the manifest of the environment id. The error is ErrNoManifest if there is none, or
// that of another environment, as in somebody's copy. Any other error means that the environment is ours and
// unusable.
func (s Store) ReadManifest(id string) (Manifest, FileID, error) {
	var m Manifest
	path := s.Manifest(s.Env(id))
	if _, err := os.Lstat(path); errors.Is(err, fs.ErrNotExist) {
		return m, FileID{}, ErrNoManifest
	}
	seen, err := statID(path)
	if err != nil {
		return m, seen, fmt.Errorf("reading its manifest: %w", err)
	}
	data, err := ReadOwn(path, maxManifest)
	if errors.As(err, new(*safefile.Error)) {
		return m, FileID{}, ErrNoManifest // no daemon wrote this
	}
	if err != nil {
		return m, seen, fmt.Errorf("reading its manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, seen, fmt.Errorf("parsing its manifest: %w", err)
	}
	// an earlier version built it
	if _, ok := m.Variables[builder.NoUserSite]; !ok && m.Kind == builder.KindConda && m.Variables != nil {
		m.Variables[builder.NoUserSite] = new("1")
	}
	pool, _ := PoolOf(id)
	switch {
	case m.ID != "" && m.ID != id:
		return m, seen, ErrNoManifest
	case m.Version != ManifestVersion:
		return m, seen, fmt.Errorf("its manifest has version %d, this daemon knows %d", m.Version, ManifestVersion)
	case m.ID == "" || m.Pool != pool || m.SpecHash == "":
		return m, seen, errors.New("its manifest lacks the id, the pool or the spec")
	case !strings.HasPrefix(m.Python, s.Env(id)+string(filepath.Separator)):
		return m, seen, fmt.Errorf("its Python is elsewhere: %s", m.Python)
	}
	return m, seen, nil
}

// Sentinels reads the state of the files at paths.
func Sentinels(dir string, paths []string) ([]Sentinel, error) {
	list := make([]Sentinel, 0, len(paths))
	for _, p := range paths {
		id, err := statID(Within(dir, p))
		if err != nil {
			return nil, err
		}
		sum, err := hashOf(Within(dir, p))
		if err != nil {
			return nil, err
		}
		list = append(list, Sentinel{p, id, sum})
	}
	return list, nil
}

// Renew returns the manifest for this boot, with the sentinels as they are on this disk: in a copy of the environment,
// as in a layer of an image, they have other inodes and perhaps other times. The error is about one that is gone, or
// has another content than when the environment was built. If the copy did not keep times, the manifest gets the
// present one: it is by chance whether a folder is younger.
func (m Manifest) Renew(dir string) (Manifest, error) {
	list := slices.Clone(m.Sentinels)
	kept := false
	for i, was := range list {
		now, err := was.state(dir)
		if err != nil {
			return m, err
		}
		if kept = kept || was.keptTime(dir, now); now == was.FileID {
			continue
		}
		sum, err := hashOf(Within(dir, was.Path))
		if err != nil {
			return m, fmt.Errorf("%s cannot be read: %w", was.Path, err)
		}
		if sum != was.SHA256 {
			return m, fmt.Errorf("%s was changed", was.Path)
		}
		list[i].FileID = now
	}
	if !kept && len(list) > 0 {
		now := time.Now()
		_ = os.Chtimes(filepath.Join(dir, ManifestName), now, now) // a failure shows when it is written
	}
	m.BootID, m.Sentinels = proc.BootID(), list
	return m, nil
}

const timeSlack = 2 * time.Second // some archives have no fractions, and some only even seconds

// keptTime reports whether the sentinel is a file of the environment's own that has the time it had, or the same inode.
func (s Sentinel) keptTime(dir string, now FileID) bool {
	if info, err := os.Lstat(Within(dir, s.Path)); filepath.IsAbs(s.Path) || err != nil || !info.Mode().IsRegular() {
		return false // a link, as to a Python elsewhere
	}
	return now.Inode == s.Inode || time.Duration(now.MtimeNS-s.MtimeNS).Abs() < timeSlack
}

func hashOf(path string) (string, error) {
	f, err := safefile.Patiently(func() (*os.File, error) { return safefile.Open(path) })
	if err != nil {
		return "", err
	}
	defer f.Close()
	sum := sha256.New()
	if _, err := io.Copy(sum, f); err != nil {
		return "", err
	}
	return hex.EncodeToString(sum.Sum(nil)), nil
}

func (s Sentinel) state(dir string) (FileID, error) {
	now, err := statID(Within(dir, s.Path))
	if errors.Is(err, fs.ErrNotExist) {
		return now, fmt.Errorf("%s is gone", s.Path)
	}
	if err != nil {
		return now, fmt.Errorf("%s cannot be looked at: %w", s.Path, err)
	}
	return now, nil
}

func Within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

var ErrNoFolder = errors.New("its folder is gone, or somebody put something else in its place or above it")

// stands says why the folder of an environment is not there. It is ErrNoFolder if a link or a mount is in its place:
// that leads to somebody else's files, and processes that run there would not be found.
func (s Store) stands(dir string) error {
	err := Ours(s.Dir, dir)
	switch {
	case MachineFault(err):
		return fmt.Errorf("looking at its folder: %w", err)
	case err != nil:
		return ErrNoFolder
	case statedir.IsMount(dir):
		return fmt.Errorf("%w: something is mounted at %s", ErrNoFolder, dir)
	}
	return nil
}

// Intact is the cheap check before a grant, about 20 µs: the manifest is the one that this daemon knows, and the
// sentinels are as they were built.
func (s Store) Intact(dir string, m *Manifest, seen FileID) error {
	if err := s.stands(dir); err != nil {
		return err
	}
	now, err := statID(s.Manifest(dir))
	if MachineFault(err) {
		return fmt.Errorf("looking at its manifest: %w", err)
	}
	if err != nil || now != seen {
		return errors.New("its manifest is gone or was changed")
	}
	for _, want := range m.Sentinels {
		got, err := want.state(dir)
		if err != nil {
			return err
		}
		if got != want.FileID {
			return fmt.Errorf("%s was changed", want.Path)
		}
	}
	return nil
}

// Age is the distance from the manifest's time to now, whichever way the clock was set since.
func (m Manifest) Age(now time.Time) time.Duration { return now.Sub(m.CreatedAt).Abs() }

// Built returns what the builder reported.
func (m Manifest) Built() builder.Built {
	return builder.Built{
		Python: m.Python, PythonVersion: m.PythonVersion, Packages: m.Packages,
		Variables: m.Variables, PathPrepend: m.PathPrepend, SizeBytes: m.SizeBytes,
	}
}
