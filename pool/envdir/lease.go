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
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"runtimed/internal/proc"
	"runtimed/internal/safefile"
)

// Lease says who holds an environment, and since when.
type Lease struct {
	Owner    proc.Owner `json:"owner"`
	Label    string     `json:"label"`
	Key      string     `json:"key"`
	LeasedAt time.Time  `json:"leased_at"`
	Session  string     `json:"session"`   // empty: none
	LingerMS int64      `json:"linger_ms"` // how long it is kept for the session after the owner's end

	Folder *FolderID `json:"folder,omitempty"` // it was written for; nil if that is not known
}

// MaxText is how many bytes a label, key or session may have, so that all three fit into the lease record.
const MaxText = 256

// Check refuses texts that might not fit into the lease record. There each byte of what passes takes at most two; a
// control character, or what is not UTF-8, would take six.
func (l Lease) Check() error {
	for name, text := range map[string]string{"label": l.Label, "key": l.Key, "session": l.Session} {
		switch {
		case len(text) > MaxText:
			return fmt.Errorf("the %s is longer than %d bytes", name, MaxText)
		case !utf8.ValidString(text) || strings.ContainsFunc(text, unicode.IsControl):
			return fmt.Errorf("the %s is not plain text", name)
		}
	}
	return nil
}

// The states of a lease record.
const (
	LeaseFree     = "free"
	LeaseHeld     = "leased"
	LeaseReleased = "released" // used; never ready again
)

const LeaseSize = 4096 // one block of every usual file system

// LeaseRecord is the JSON object in a lease file, with zeros after it. A released one keeps the lease that ended
// while its processes may still use the environment.
type LeaseRecord struct {
	State string `json:"state"`
	*Lease
}

// CreateLease makes the record of a finished environment, of real bytes without a hole: a later lease then needs no
// new block and works on a full disk. Whatever is in its place came with a package and is replaced, not written to:
// it may be a link, or a second name of a file in a package cache.
func (s Store) CreateLease(dir string) error {
	path := filepath.Join(dir, LeaseName)
	data, err := EncodeLease(LeaseRecord{State: LeaseFree})
	if err == nil {
		err = s.stands(dir)
	}
	// only a folder must go before a file can take its place
	if info, lerr := os.Lstat(path); err == nil && lerr == nil && info.IsDir() {
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
	enc.SetEscapeHTML(false) // an escape takes six bytes
	if err := enc.Encode(r); err != nil {
		return nil, err
	}
	if b.Len() > LeaseSize {
		return nil, fmt.Errorf("a lease record of %d bytes, at most %d fit", b.Len(), LeaseSize)
	}
	return append(b.Bytes(), make([]byte, LeaseSize-b.Len())...), nil
}

// WriteLease replaces the record with one pwrite, which a kill cannot halve. It needs no new block and no rename,
// unless somebody put something else in its place. It needs no fsync either: a power loss ends every owner too.
// SyncLease follows in the background.
func (s Store) WriteLease(dir string, r LeaseRecord) error {
	f, err := s.openLease(dir, os.O_WRONLY)
	if r.Lease != nil {
		l := *r.Lease
		l.Folder = FolderOf(dir) // after the open, for which an overlay may have copied the folder
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

// SyncLease makes the record survive a power loss, so that a used environment does not come back as ready.
func (s Store) SyncLease(dir string) {
	if f, err := s.openLease(dir, os.O_WRONLY); err == nil {
		_ = f.Sync() // a failure matters only with a power loss in this moment
		_ = f.Close()
	}
}

// openLease opens the record of the environment at dir. It checks the folder after the open: what is open then cannot
// be elsewhere.
func (s Store) openLease(dir string, flag int) (f *os.File, err error) {
	path := filepath.Join(dir, LeaseName)
	f, err = safefile.Patiently(func() (*os.File, error) { return safefile.OpenOwn(path, flag, 0) })
	if gone := s.stands(dir); gone != nil {
		if err == nil {
			_ = f.Close()
		}
		return nil, gone
	}
	return f, err
}

// ErrEmptyLease is what a power loss may leave of a record.
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
