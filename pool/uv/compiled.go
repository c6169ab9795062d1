package uv

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
	"runtimed/pool/standby"
)

// Python compiles what it imports into .pyc files, which takes most of a build's time. So the daemon keeps those of one
// environment per lock file, in a folder that no environment writes to, and links them into the next one.
//
// A kept file is used only if its content is what was recorded (somebody may have edited it through a link), and only
// beside a source with the content that it was compiled from. Python itself compares the time and size of the source
// with those in the .pyc, and corrects the file name as it loads the code.
const (
	compiledUnused = 7 * 24 * time.Hour // until an entry is removed
	compiledMost   = 16                 // entries
	compiledLinks  = 4                  // made at once
	compiledIndex  = "index.json"
)

// Compiled is the entry of one lock file, as the build of one environment uses it. The zero value is none.
type Compiled struct {
	u     *Builder
	env   string
	entry string // the folder; empty: there can be none
	key   string // the hash of all that decides which files there are
	anew  bool   // nothing is linked
	reads bool   // nothing is kept

	found  []byte // the index, as it was when the files were linked
	linked map[string]fs.FileInfo
	whole  bool // all were linked
}

// compiledFile is a file of an entry.
type compiledFile struct {
	Path   string `json:"path"`   // below the environment, with slashes
	Source string `json:"source"` // the SHA-256 of the source's content
	Name   string `json:"name"`   // in the entry: the SHA-256 of the above and the file's content
}

func (f compiledFile) name(code []byte) string { return sha([]byte(f.Path+"\n"+f.Source+"\n"), code) }

// compiledFiles is the index of an entry, which is written last.
type compiledFiles struct {
	For   string         `json:"for"`
	Files []compiledFile `json:"files"`
}

// compiled is the entry for a build. What somebody needs beyond a pool is not imported by the check, so there the
// pool's entry serves.
func (b *build) compiled() Compiled {
	spec := b.spec
	if spec.Base != nil {
		spec = *spec.Base
	}
	c := b.Compiled(b.mark, b.lockPath(spec, b.python), b.again, spec.Preload, b.python.Path, b.python.Version)
	c.reads = b.spec.Base != nil
	return c
}

// Compiled is the entry of a lock file, for the environment that is built from it at env. anew is set after a failed
// try, for which the kept files may be the reason. with is what else decides which files there are, besides the modules
// of preload: pools that differ in those alone share a lock file.
func (u *Builder) Compiled(env, lock string, anew bool, preload []string, with ...string) Compiled {
	c := Compiled{u: u, env: env, anew: anew}
	if data, err := envdir.ReadOwn(lock, envdir.MaxInside); err == nil {
		c.key = sha([]byte(strings.Join(append(with, standby.CheckScript, string(data)), "\x00")))
		more := ""
		if len(preload) > 0 {
			more = sha([]byte(strings.Join(preload, " ")))[:8]
		}
		c.entry = filepath.Join(u.compiledFolder(), statedir.CompiledName(lock, more))
	}
	return c
}

func (u *Builder) compiledFolder() string { return filepath.Join(u.Tools(), "compiled") }

// index reads the index; nil if there is none for this build.
func (c *Compiled) index() (data []byte, files []compiledFile) {
	if envdir.Ours(c.u.Dir, c.entry) != nil {
		return nil, nil
	}
	data, err := envdir.ReadOwn(filepath.Join(c.entry, compiledIndex), envdir.MaxInside)
	var index compiledFiles
	if err != nil || json.Unmarshal(data, &index) != nil || index.For != c.key {
		return nil, nil
	}
	return data, index.Files
}

// Link puts the kept files into the new environment. It reports whether it has all: then what is imported was imported
// before, and nothing will be compiled.
func (c *Compiled) Link(ctx context.Context) bool {
	if c.entry == "" {
		return false
	}
	c.u.kept.RLock()
	defer c.u.kept.RUnlock()
	data, files := c.index()
	if c.found = data; len(files) == 0 || c.anew {
		return false
	}
	now := time.Now()
	_ = os.Chtimes(filepath.Join(c.entry, compiledIndex), now, now) // else it is only removed too early

	var mu sync.Mutex // guards linked
	var all sync.WaitGroup
	each := make(chan compiledFile)
	c.linked = map[string]fs.FileInfo{}
	for range compiledLinks {
		all.Go(func() {
			for f := range each {
				if info := c.link(f); info != nil {
					mu.Lock()
					c.linked[f.Path] = info
					mu.Unlock()
				}
			}
		})
	}
	for _, f := range files {
		if ctx.Err() == nil {
			each <- f
		}
	}
	close(each)
	all.Wait()
	c.whole = len(c.linked) == len(files)
	return c.whole
}

// link puts one file beside its source, and returns its state there; nil if Python has to compile the source.
func (c *Compiled) link(f compiledFile) fs.FileInfo {
	from, to := filepath.Join(c.entry, f.Name), filepath.Join(c.env, filepath.FromSlash(f.Path))
	source, ok := sourceOf(to)
	if !ok || !filepath.IsLocal(filepath.FromSlash(f.Path)) || filepath.Base(f.Name) != f.Name {
		return nil // the index is damaged
	}
	code, err := envdir.ReadOwn(from, envdir.MaxInside)
	if err != nil {
		return nil
	}
	h, ok := headerOf(code)
	if !ok || f.name(code) != f.Name {
		_ = os.Remove(from) // if it stays, the next build sees the same
		return nil
	}
	text, info, err := readSource(source)
	if err != nil || sha(text) != f.Source {
		return nil
	}
	if !h.fits(info) && setTime(source, h.modified()) != nil {
		return nil
	}
	if err = c.put(from, to, code); errors.Is(err, fs.ErrNotExist) {
		_ = os.Mkdir(filepath.Dir(to), 0o755) // it may just have been made for another file
		err = c.put(from, to, code)
	}
	if err != nil && !errors.Is(err, fs.ErrExist) { // a package may have brought one
		return nil
	}
	if info, err = os.Lstat(to); err != nil {
		return nil
	}
	return info
}

func (c *Compiled) put(from, to string, code []byte) error {
	if !c.u.Config().Copy {
		err := os.Link(from, to)
		if err == nil || errors.Is(err, fs.ErrNotExist) || errors.Is(err, fs.ErrExist) {
			return err
		}
	}
	return writeNew(to, code, 0o644)
}

// Keep stores the .pyc files of the environment, which was verified and which nobody has used yet, unless all that it
// has came from there. A failure costs later builds their speed and nothing else.
func (c *Compiled) Keep(ctx context.Context) {
	if c.entry == "" || c.reads || c.whole && c.settled() {
		return
	}
	tmp, remove, err := c.u.Scratch(c.u.compiledFolder(), statedir.CompilePrefix)
	if err == nil {
		defer remove()
		err = c.copy(ctx, filepath.Join(tmp, "entry"))
	}
	if err == nil {
		c.u.kept.Lock()
		defer c.u.kept.Unlock()
		if now, _ := c.index(); now != nil && string(now) != string(c.found) {
			return // another build of this lock file was first
		}
		err = statedir.Install(filepath.Join(tmp, "entry"), c.entry)
		c.u.limitCompiled()
	}
	if err != nil {
		c.u.log.Debug("compiled files are not kept for the next build", zap.String("entry", c.entry), zap.Error(err))
	}
}

// settled reports whether Python took all files that were linked: it replaces what it cannot use.
func (c *Compiled) settled() bool {
	for path, was := range c.linked {
		now, err := os.Lstat(filepath.Join(c.env, filepath.FromSlash(path)))
		if err != nil || !os.SameFile(was, now) || !was.ModTime().Equal(now.ModTime()) {
			return false
		}
	}
	return true
}

// copy makes an entry at to.
func (c *Compiled) copy(ctx context.Context, to string) error {
	index := compiledFiles{For: c.key}
	err := os.Mkdir(to, 0o700)
	sites, sitesErr := sitePackages(c.env)
	for _, site := range sites {
		err = errors.Join(err, filepath.WalkDir(site, func(path string, d fs.DirEntry, err error) error {
			if err != nil || ctx.Err() != nil {
				return errors.Join(err, ctx.Err())
			}
			if f, code, ok := c.sound(path, d); ok {
				index.Files = append(index.Files, f)
				return writeNew(filepath.Join(to, f.Name), code, readOnly)
			}
			return nil
		}))
	}
	if len(index.Files) == 0 {
		err = errors.Join(err, errors.New("nothing was compiled"))
	}
	data, jsonErr := json.Marshal(index)
	if err := errors.Join(err, sitesErr, jsonErr); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(to, compiledIndex), data, 0o600)
}

// sound reads the .pyc at path, if it is one for the source beside it.
func (c *Compiled) sound(path string, d fs.DirEntry) (f compiledFile, code []byte, ok bool) {
	source, ok := sourceOf(path)
	if !ok || !d.Type().IsRegular() {
		return f, nil, false
	}
	code, err := envdir.ReadOwn(path, envdir.MaxInside)
	h, ok := headerOf(code)
	if err != nil || !ok {
		return f, nil, false
	}
	text, info, err := readSource(source)
	rel, relErr := filepath.Rel(c.env, path)
	mine := bytes.Contains(text, []byte(c.env)) // conda writes such sources for each environment
	if errors.Join(err, relErr) != nil || !h.fits(info) || len(text) != int(h.size) || mine {
		return f, nil, false
	}
	f = compiledFile{Path: filepath.ToSlash(rel), Source: sha(text)}
	f.Name = f.name(code)
	return f, code, true
}

// limitCompiled removes the entries whose lock file is gone, those that no build used for long, and the least recently
// used beyond the most that are kept.
func (u *Builder) limitCompiled() {
	used := map[string]time.Time{}
	var entries []string
	for _, path := range u.entries(filepath.Join("tools", "compiled")) {
		if !statedir.IsCompiled(path) {
			continue
		}
		lock := filepath.Join(u.Dir, "locks", statedir.LockOf(path))
		info, err := os.Lstat(filepath.Join(path, compiledIndex))
		if err != nil || !envdir.Exists(lock) || time.Since(info.ModTime()).Abs() > compiledUnused {
			_ = statedir.RemoveTool(path) // what stays is tried again
			continue
		}
		entries, used[path] = append(entries, path), info.ModTime()
	}
	slices.SortFunc(entries, func(a, b string) int { return used[b].Compare(used[a]) })
	for _, path := range entries[min(compiledMost, len(entries)):] {
		_ = statedir.RemoveTool(path)
	}
}
