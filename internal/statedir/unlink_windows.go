package statedir

import (
	"errors"
	"os"
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
	word, err := windows.NewNTUnicodeString(name)
	if err != nil {
		return err
	}
	at := windows.OBJECT_ATTRIBUTES{RootDirectory: dir, ObjectName: word}
	at.Length = uint32(unsafe.Sizeof(at))
	var file windows.Handle
	err = windows.NtCreateFile(&file, windows.DELETE|windows.SYNCHRONIZE|windows.FILE_WRITE_ATTRIBUTES, &at,
		&windows.IO_STATUS_BLOCK{}, nil, 0, windows.FILE_SHARE_READ|windows.FILE_SHARE_WRITE|windows.FILE_SHARE_DELETE,
		windows.FILE_OPEN, windows.FILE_OPEN_REPARSE_POINT|windows.FILE_OPEN_FOR_BACKUP_INTENT|
			windows.FILE_SYNCHRONOUS_IO_NONALERT, 0, 0)
	if err != nil {
		return errno(err)
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

// errno is the error of the system that Go's own functions would return.
func errno(err error) error {
	if status, ok := errors.AsType[windows.NTStatus](err); ok {
		return status.Errno()
	}
	return err
}
