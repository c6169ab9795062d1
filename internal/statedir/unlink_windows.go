package statedir

import (
	"errors"
	"io/fs"
	"os"
	"path/filepath"
	"strconv"
	"unicode/utf16"
	"unsafe"

	"golang.org/x/sys/windows"
)

// removeIn is root.Remove, also where the system knows no removal with POSIX semantics and answers in a way that Go
// takes for the last word: Wine does.
func removeIn(root *os.Root, name string) error {
	err := root.Remove(name)
	if !errors.Is(err, windows.ERROR_INVALID_FUNCTION) {
		return err
	}
	dir, derr := root.Open(".")
	if derr != nil {
		return err
	}
	defer dir.Close()
	if derr := unlinkat(windows.Handle(dir.Fd()), name); derr != nil {
		return &os.PathError{Op: "unlinkat", Path: name, Err: derr}
	}
	return nil
}

// unlinkat removes a name, no path, in an open folder. It follows no link.
func unlinkat(dir windows.Handle, name string) error {
	file, err := openToMove(dir, name)
	if err != nil {
		return err
	}
	defer windows.CloseHandle(file)
	// Read-only files cannot be removed. Attributes of zero mean: as they are.
	basic := struct {
		created, read, written, changed int64
		attributes, _                   uint32
	}{attributes: windows.FILE_ATTRIBUTE_NORMAL}
	_ = windows.SetFileInformationByHandle(file, windows.FileBasicInfo, (*byte)(unsafe.Pointer(&basic)),
		uint32(unsafe.Sizeof(basic)))
	remove := byte(1)
	return windows.SetFileInformationByHandle(file, windows.FileDispositionInfo, &remove, 1)
}

// openToMove opens what has a name, no path, in an open folder, to rename or remove it. It follows no link.
func openToMove(dir windows.Handle, name string) (file windows.Handle, err error) {
	word, err := windows.NewNTUnicodeString(name)
	if err != nil {
		return 0, err
	}
	at := windows.OBJECT_ATTRIBUTES{RootDirectory: dir, ObjectName: word}
	at.Length = uint32(unsafe.Sizeof(at))
	err = windows.NtCreateFile(&file, windows.DELETE|windows.SYNCHRONIZE|windows.FILE_WRITE_ATTRIBUTES, &at,
		&windows.IO_STATUS_BLOCK{}, nil, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		windows.FILE_OPEN, windows.FILE_OPEN_REPARSE_POINT|windows.FILE_OPEN_FOR_BACKUP_INTENT|
			windows.FILE_SYNCHRONOUS_IO_NONALERT, 0, 0)
	return file, errno(err)
}

// plainName renames what has a name that os.Root takes for another one, or for a device: "x." for "x", and "aux.py".
// Programs can give such names, as a tar, git or a Linux on this machine does. It returns the name that it has then.
func plainName(root *os.Root, name string) (string, error) {
	if last := name[len(name)-1]; filepath.IsLocal(name) && last != '.' && last != ' ' {
		return name, nil
	}
	dir, err := root.Open(".")
	if err != nil {
		return name, err
	}
	defer dir.Close()
	file, err := openToMove(windows.Handle(dir.Fd()), name)
	if err != nil {
		return name, &os.PathError{Op: "rename", Path: name, Err: err}
	}
	defer windows.CloseHandle(file)
	for n := 1; ; n++ {
		plain := "odd-" + strconv.Itoa(n)
		to := struct { // FILE_RENAME_INFORMATION
			replace bool
			dir     windows.Handle
			length  uint32
			name    [16]uint16
		}{dir: windows.Handle(dir.Fd()), length: uint32(2 * len(plain))}
		copy(to.name[:], utf16.Encode([]rune(plain)))
		err := windows.NtSetInformationFile(file, &windows.IO_STATUS_BLOCK{}, (*byte)(unsafe.Pointer(&to)),
			uint32(unsafe.Sizeof(to)), windows.FileRenameInformation)
		switch {
		case err == nil:
			return plain, nil
		case !errors.Is(errno(err), fs.ErrExist) || n == 1<<16:
			return name, &os.PathError{Op: "rename", Path: name, Err: errno(err)}
		}
	}
}

// errno is the error of the system that Go's own functions would return.
func errno(err error) error {
	if status, ok := errors.AsType[windows.NTStatus](err); ok {
		return status.Errno()
	}
	return err
}
