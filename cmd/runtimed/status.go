package main

import (
	"encoding/json"
	"fmt"
	"os"

	"go.uber.org/zap"

	"runtimed/internal/statedir"
	"runtimed/pool/envdir"
	"runtimed/rpc"
)

const maxStatus = 64 << 10 // bytes

// keepStatus is writeStatus for who goes on without it, as on a full disk. It says so once.
func (e *endpoint) keepStatus() {
	err := e.writeStatus()
	if err != nil && !e.noStatus {
		e.d.log.Warn("going on without daemon.json", zap.Error(err))
	}
	e.noStatus = err != nil
}

// writeStatus writes daemon.json. It is for people and for messages; whether a daemon lives, only its socket tells.
func (e *endpoint) writeStatus() error {
	data, err := json.MarshalIndent(map[string]any{
		"endpoint": e.d.at.socket, "pid": os.Getpid(), "version": rpc.Version(), "protocol": rpc.Protocol,
		"started_at": e.d.started.UTC(),
		"started_by": e.d.by.by, "log": e.d.book.place,
	}, "", "  ")
	if err != nil {
		return err
	}
	path := e.d.at.statusFile()
	if info, err := os.Lstat(path); err == nil && info.IsDir() {
		e.d.log.Warn("a folder is where daemon.json belongs; going on without it", zap.String("path", path))
		return nil
	}
	if info, err := os.Lstat(path); err == nil && info.Mode().IsRegular() && e.d.at.folder != e.d.at.own &&
		!statedir.IsStatus(path) {
		return fmt.Errorf("%s is no daemon's, so it is left alone", path)
	}
	if err := envdir.WriteWhole(path, append(data, '\n'), e.d.at.folder); err != nil {
		return fmt.Errorf("writing daemon.json: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("looking at daemon.json: %w", err)
	}
	e.status = info
	return nil
}
