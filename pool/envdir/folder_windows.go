package envdir

var LastingTypes []string

// FolderOf returns nil: the file system is not known here.
func FolderOf(string) *FolderID { return nil }
