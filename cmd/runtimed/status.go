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

// keepStatus logs once that daemon.json cannot be written, as on a full disk; the daemon works without.
func (e *endpoint) keepStatus() {
	err := e.writeStatus()
	if err != nil && !e.noStatus {
		e.log.Warn("going on without daemon.json", zap.Error(err))
	}
	e.noStatus = err != nil
}

// writeStatus writes daemon.json, for people and messages. Only the socket shows whether a daemon lives.
func (e *endpoint) writeStatus() error {
	data, err := json.MarshalIndent(map[string]any{
		"endpoint": e.at.Socket, "pid": os.Getpid(), "version": rpc.Version(), "protocol": rpc.Protocol,
		"started_at": e.about.startedAt.UTC(), "started_by": e.about.startedBy, "log": e.log.place,
	}, "", "  ")
	if err != nil {
		return err
	}
	path := e.at.Status()
	switch info, err := os.Lstat(path); {
	case err != nil:
	case info.IsDir():
		e.log.Warn("a folder is where daemon.json belongs; going on without it", zap.String("path", path))
		return nil
	case info.Mode().IsRegular() && e.at.Shared() && !statedir.IsStatus(path):
		return fmt.Errorf("%s is not a daemon's, so it is left alone", path)
	}
	if err := envdir.WriteWhole(path, append(data, '\n'), e.at.Folder); err != nil {
		return fmt.Errorf("writing daemon.json: %w", err)
	}
	info, err := os.Lstat(path)
	if err != nil {
		return fmt.Errorf("looking at daemon.json: %w", err)
	}
	e.status = info
	return nil
}
