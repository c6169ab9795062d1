package pool

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"syscall"
	"time"

	"github.com/google/renameio/v2"
)

const (
	manifestName    = "runtimed.json"
	leaseName       = "lease"
	manifestVersion = 1
	// MarkEnv is set in the environment of every process of a build, to the path of what it builds. After a crash the next
	// daemon ends exactly the processes that carry it.
	MarkEnv = "RUNT_BUILD_OF"
)

// Manifest is the last file a build writes. A folder that has it is a whole environment.
type Manifest struct {
	Version       int                `json:"version"`
	ID            string             `json:"id"`
	Pool          string             `json:"pool"`
	Kind          string             `json:"kind"`
	SpecHash      string             `json:"spec_hash"`
	CreatedAt     time.Time          `json:"created_at"`
	BootID        string             `json:"boot_id"` // of the boot in which it was last verified
	Python        string             `json:"python"`
	PythonVersion string             `json:"python_version"`
	Packages      []Package          `json:"packages"`
	Variables     map[string]*string `json:"variables"`
	PathPrepend   []string           `json:"path_prepend"`
	SizeBytes     int64              `json:"size_bytes"`
	Sentinels     []Sentinel         `json:"sentinels"`
}

// Sentinel is a file that tells a damaged environment by what stat says of it, links followed.
type Sentinel struct {
	Path    string `json:"path"` // relative ones are inside the environment
	Size    int64  `json:"size"`
	MtimeNS int64  `json:"mtime_ns"`
	Inode   uint64 `json:"inode"`
}

// fileID is what tells one state of a file from another.
type fileID struct {
	size    int64
	mtimeNS int64
	inode   uint64
}

func statID(path string) (fileID, error) {
	info, err := os.Stat(path)
	if err != nil {
		return fileID{}, err
	}
	return fileID{info.Size(), info.ModTime().UnixNano(), info.Sys().(*syscall.Stat_t).Ino}, nil
}

// store knows where things are on disk, and changes them so that a kill at any line leaves them whole.
type store struct {
	dir string // the cache directory, symlinks resolved
}

func (s store) envs() string             { return filepath.Join(s.dir, "envs") }
func (s store) records() string          { return filepath.Join(s.dir, "envs", ".new") }
func (s store) trash() string            { return filepath.Join(s.dir, "envs", ".trash") }
func (s store) tools() string            { return filepath.Join(s.dir, "tools") }
func (s store) env(id string) string     { return filepath.Join(s.envs(), id) }
func (s store) record(id string) string  { return filepath.Join(s.records(), id+".json") }
func (s store) manifest(d string) string { return filepath.Join(d, manifestName) }

func exists(path string) bool {
	_, err := os.Lstat(path)
	return !errors.Is(err, fs.ErrNotExist)
}

// known says whether an id was used before, as far as the disk tells.
func (s store) known(id string) bool {
	for _, path := range []string{s.env(id), s.record(id), filepath.Join(s.trash(), id)} {
		if _, err := os.Lstat(path); err == nil { // any error is for the build to find
			return true
		}
	}
	return false
}

var idForm = regexp.MustCompile(`^([a-z][a-z0-9_-]{0,31})-[0-9a-f]{8}$`)

// poolOf is the pool of an environment with such an id; ok is false for what is no id of ours.
func poolOf(id string) (pool string, ok bool) {
	m := idForm.FindStringSubmatch(id)
	if m == nil {
		return "", false
	}
	return m[1], true
}

// openStore makes the folders and resolves dir once, so that no later change of a link moves what is open.
func openStore(dir string) (store, error) {
	for _, d := range []string{dir, filepath.Join(dir, "envs", ".new"), filepath.Join(dir, "envs", ".trash")} {
		if err := os.MkdirAll(d, 0o700); err != nil {
			return store{}, fmt.Errorf("making the state directory: %w", err)
		}
	}
	resolved, err := filepath.EvalSymlinks(dir)
	if err != nil {
		return store{}, fmt.Errorf("resolving the state directory: %w", err)
	}
	s := store{dir: resolved}
	for _, d := range []string{s.envs(), s.records(), s.trash()} {
		info, err := os.Lstat(d)
		if err != nil {
			return store{}, fmt.Errorf("looking at the state directory: %w", err)
		}
		if !info.IsDir() {
			return store{}, fmt.Errorf("%s is not a folder, so environments cannot be kept there", d)
		}
	}
	return s, nil
}

// begin makes the build record. Only then may a tool make the folder. Its name is what counts, its content is for people: so it
// need not be whole, and a power loss that takes it takes the younger folder too.
func (s store) begin(id, pool string) error {
	if err := os.MkdirAll(s.records(), 0o700); err != nil { // somebody may have deleted it
		return err
	}
	data, err := json.Marshal(map[string]string{"id": id, "pool": pool})
	if err != nil {
		return err
	}
	return os.WriteFile(s.record(id), append(data, '\n'), 0o600)
}

// finish makes a built environment count: lease record, then the manifest, then the end of the build record.
func (s store) finish(dir string, m Manifest) (fileID, error) {
	if err := createLease(dir); err != nil {
		return fileID{}, err
	}
	seen, err := s.writeManifest(dir, m)
	if err != nil {
		return fileID{}, err
	}
	return seen, s.end(m.ID)
}

func (s store) writeManifest(dir string, m Manifest) (fileID, error) {
	data, err := json.MarshalIndent(m, "", " ")
	if err != nil {
		return fileID{}, err
	}
	if err := renameio.WriteFile(s.manifest(dir), append(data, '\n'), 0o600, renameio.WithTempDir(dir)); err != nil {
		return fileID{}, err
	}
	return statID(s.manifest(dir))
}

// end unlinks the build record.
func (s store) end(id string) error {
	if err := os.Remove(s.record(id)); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return nil
}

// errNoManifest: the folder is none of ours, unless a build record says so.
var errNoManifest = errors.New("no manifest of its own")

const maxManifest = 4 << 20 // bytes; a hundred times what a large environment needs

// readManifest reads and checks the manifest of the environment id. The error is errNoManifest where there is none, or that of
// another environment, as in a copy that somebody made; any other error means that the environment is ours and cannot be used.
func (s store) readManifest(id string) (Manifest, fileID, error) {
	var m Manifest
	path := s.manifest(s.env(id))
	info, err := os.Lstat(path)
	if errors.Is(err, fs.ErrNotExist) {
		return m, fileID{}, errNoManifest
	}
	if err != nil {
		return m, fileID{}, fmt.Errorf("reading its manifest: %w", err)
	}
	if !info.Mode().IsRegular() || info.Size() > maxManifest {
		return m, fileID{}, errNoManifest // no daemon wrote this
	}
	seen, err := statID(path)
	if err != nil {
		return m, seen, fmt.Errorf("reading its manifest: %w", err)
	}
	data, err := os.ReadFile(path)
	if err != nil {
		return m, seen, fmt.Errorf("reading its manifest: %w", err)
	}
	if err := json.Unmarshal(data, &m); err != nil {
		return m, seen, fmt.Errorf("parsing its manifest: %w", err)
	}
	pool, _ := poolOf(id)
	switch {
	case m.ID != "" && m.ID != id:
		return m, seen, errNoManifest
	case m.Version != manifestVersion:
		return m, seen, fmt.Errorf("its manifest has version %d, this daemon knows %d", m.Version, manifestVersion)
	case m.ID == "" || m.Pool != pool || m.SpecHash == "":
		return m, seen, errors.New("its manifest lacks the id, the pool or the spec")
	case !strings.HasPrefix(m.Python, s.env(id)+string(filepath.Separator)):
		return m, seen, fmt.Errorf("its Python is elsewhere: %s", m.Python)
	}
	return m, seen, nil
}

// sentinels measures the files at paths.
func sentinels(dir string, paths []string) ([]Sentinel, error) {
	list := make([]Sentinel, 0, len(paths))
	for _, p := range paths {
		id, err := statID(within(dir, p))
		if err != nil {
			return nil, err
		}
		list = append(list, Sentinel{p, id.size, id.mtimeNS, id.inode})
	}
	return list, nil
}

func within(dir, path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(dir, path)
}

// intact is the cheap check before a hand-out: the manifest is the one this daemon knows, and the sentinels are as they were
// built. A handful of stats, about 20 µs.
func (s store) intact(dir string, m *Manifest, seen fileID) error {
	now, err := statID(s.manifest(dir))
	if err != nil || now != seen {
		return errors.New("its manifest is gone or was changed")
	}
	for _, want := range m.Sentinels {
		got, err := statID(within(dir, want.Path))
		switch {
		case errors.Is(err, fs.ErrNotExist):
			return fmt.Errorf("%s is gone", want.Path)
		case err != nil:
			return fmt.Errorf("%s cannot be looked at: %w", want.Path, err)
		case got != fileID{want.Size, want.MtimeNS, want.Inode}:
			return fmt.Errorf("%s was changed", want.Path)
		}
	}
	return nil
}

// discard moves the folder of an environment into the trash, where nothing can look ready. A folder that is gone is fine.
func (s store) discard(id string) error {
	from := s.env(id)
	info, err := os.Lstat(from)
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	if !info.IsDir() {
		return fmt.Errorf("%s is not a folder", from) // whoever put a link there did not mean what it leads to
	}
	if err := os.MkdirAll(s.trash(), 0o700); err != nil { // somebody may have deleted it
		return err
	}
	to := filepath.Join(s.trash(), id)
	for n := 1; exists(to); n++ {
		to = filepath.Join(s.trash(), fmt.Sprintf("%s.%d", id, n))
	}
	return os.Rename(from, to)
}

// diskSize is what the files below dir take on disk, in bytes; one with several links inside counts once.
func diskSize(dir string) int64 {
	type inode struct{ dev, ino uint64 }
	seen := map[inode]bool{}
	var total int64
	_ = filepath.WalkDir(dir, func(_ string, d fs.DirEntry, err error) error {
		if err != nil {
			return nil // what cannot be read does not count
		}
		info, err := d.Info()
		if err != nil {
			return nil
		}
		st := info.Sys().(*syscall.Stat_t)
		if st.Nlink > 1 && !d.IsDir() {
			key := inode{uint64(st.Dev), st.Ino}
			if seen[key] {
				return nil
			}
			seen[key] = true
		}
		total += st.Blocks * 512
		return nil
	})
	return total
}
