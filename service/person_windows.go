package service

import "io/fs"

func ownerOf(fs.FileInfo) int { return -1 }
