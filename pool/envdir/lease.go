package envdir

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"time"

	"runtimed/internal/proc"
	"runtimed/internal/safefile"
)

// Lease is who holds an environment, and since when.
type Lease struct {
	Owner    proc.Owner `json:"owner"`
	Label    string     `json:"label"`
	Key      string     `json:"key"`
	LeasedAt time.Time  `json:"leased_at"`
	Session  string     `json:"session"`   // empty: none
	LingerMS int64      `json:"linger_ms"` // how long it stays for the session after the owner has ended

	Folder *FolderID `json:"folder,omitempty"` // that it was written for; nil where folders have nothing lasting to be known by
}

// The states of a lease record.
const (
	LeaseFree     = "free"
	LeaseHeld     = "leased"
	LeaseReleased = "released" // used, and never to be ready again
)

const LeaseSize = 4096 // one block of every usual file system

// LeaseRecord is the one JSON object in a lease file; zeros follow it. A released one has the lease that ended, whose processes may
// still use the environment, unless nothing more is to be known of them.
type LeaseRecord struct {
	State string `json:"state"`
	*Lease
}

// CreateLease makes the record of an environment that a build has finished, of real bytes and not a hole: a later lease needs no new
// block, so it works on a full disk. What lies in its place came with a package, and is never written to: it may be a link, or a
// second name of a file in a package cache. A power loss may take the record, and then nobody can say whether the environment was used.
func (s Store) CreateLease(dir string) error {
	path := filepath.Join(dir, LeaseName)
	data, err := EncodeLease(LeaseRecord{State: LeaseFree})
	if err == nil {
		err = s.stands(dir)
	}
	if info, lerr := os.Lstat(path); err == nil && lerr == nil && info.IsDir() { // nothing else has to go before a file can take its place
		err = RemoveFolder(path)
	}
	if err == nil {
		err = WriteWhole(path, data, s.Records())
	}
	if err != nil {
		return fmt.Errorf("making its lease record: %w", err)
	}
	return nil
}

func EncodeLease(r LeaseRecord) ([]byte, error) {
	var b bytes.Buffer
	enc := json.NewEncoder(&b)
	enc.SetEscapeHTML(false) // six bytes for one, and nobody reads this in a browser
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	if b.Len() > LeaseSize {
		return nil, fmt.Errorf("a lease record of %d bytes, at most %d fit", b.Len(), LeaseSize)
	}
	return append(b.Bytes(), make([]byte, LeaseSize-b.Len())...), nil
}

// WriteLease replaces the record with one pwrite, which a kill cannot halve. The file stays as it is otherwise: no new blocks,
// no rename, unless somebody put something else in its place. A power loss needs no fsync here, since it ends every owner too;
// syncLease follows in the background.
func (s Store) WriteLease(dir string, r LeaseRecord) error {
	f, err := s.openLease(dir, os.O_WRONLY)
	if r.Lease != nil {
		l := *r.Lease
		l.Folder = FolderOf(dir) // an overlay has copied the folder by now, if it had to
		r.Lease = &l
	}
	data, encoded := EncodeLease(r)
	if encoded == nil && (errors.As(err, new(*safefile.Error)) || errors.Is(err, fs.ErrPermission)) {
		if err = WriteWhole(filepath.Join(dir, LeaseName), data, s.Records()); err == nil {
			return nil
		}
	}
	if err != nil {
		return fmt.Errorf("writing its lease record: %w", err)
	}
	if err = encoded; err == nil {
		_, err = f.WriteAt(data, 0)
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return fmt.Errorf("writing its lease record: %w", err)
	}
	return nil
}

// SyncLease makes the record outlive a power loss, so that a used environment does not come back as ready.
func (s Store) SyncLease(dir string) {
	if f, err := s.openLease(dir, os.O_WRONLY); err == nil {
		_ = f.Sync() // only a power loss in this moment would make a difference, and a failure is no reason to refuse a lease
		_ = f.Close()
	}
}

// openLease opens the record in the folder of an environment. Opening alone does nothing, so the folder is looked at once it is done:
// what is open then cannot be elsewhere.
func (s Store) openLease(dir string, flag int) (f *os.File, err error) {
	err = safefile.Patiently(func() error { f, err = safefile.OpenOwn(filepath.Join(dir, LeaseName), flag, 0); return err })
	if gone := s.stands(dir); gone != nil {
		if err == nil {
			_ = f.Close()
		}
		return nil, gone
	}
	return f, err
}

// ErrEmptyLease is what a power loss leaves of a record.
var ErrEmptyLease = errors.New("its lease record is empty")

func (s Store) ReadLease(dir string) (LeaseRecord, error) {
	var r LeaseRecord
	f, err := s.openLease(dir, os.O_RDONLY)
	if err != nil {
		return r, fmt.Errorf("reading its lease record: %w", err)
	}
	defer f.Close()
	data, err := io.ReadAll(io.LimitReader(f, LeaseSize))
	if err != nil {
		return r, fmt.Errorf("reading its lease record: %w", err)
	}
	if len(bytes.Trim(data, "\x00")) == 0 {
		return r, ErrEmptyLease
	}
	if err := json.Unmarshal(bytes.TrimRight(data, "\x00\n"), &r); err != nil {
		return r, fmt.Errorf("parsing its lease record: %w", err)
	}
	switch {
	case r.State == LeaseHeld && r.Lease != nil && r.Owner.PID > 0:
	case r.State == LeaseFree || r.State == LeaseReleased:
	default:
		return r, fmt.Errorf("its lease record says %q", r.State)
	}
	return r, nil
}

func (l *Lease) Linger() time.Duration { return time.Duration(l.LingerMS) * time.Millisecond }
