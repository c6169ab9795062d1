package main

import (
	"io/fs"
	"os"
	"slices"
	"sync/atomic"

	"runtimed/config"
	"runtimed/internal/redact"
)

// settings is the configuration in force.
type settings struct {
	atomic.Pointer[config.Config]

	flags config.Flags
	first []fs.FileInfo // the files of the configuration that the daemon started with
}

// loadSettings reads twice: only the configuration says which files there are to look at, and what changes after that
// look is to be noticed.
func loadSettings(flags config.Flags) (*settings, error) {
	s := &settings{flags: flags}
	cfg, err := config.LoadToStart(flags, os.Getenv)
	if err == nil {
		s.first = files(cfg)
		cfg, err = config.LoadToStart(flags, os.Getenv)
	}
	cfg, err = s.learn(cfg, err)
	s.Store(cfg)
	return s, err
}

// read loads the configuration again. A lock file that could not be used before is no reason to refuse the rest.
func (s *settings) read() (*config.Config, error) {
	usable := map[string]bool{}
	for _, p := range s.Load().Pools {
		usable[p.Name] = p.Unlocked == ""
	}
	cfg, err := config.LoadToStart(s.flags, os.Getenv)
	if err == nil && slices.ContainsFunc(cfg.Pools, func(p config.Pool) bool {
		was, known := usable[p.Name]
		return p.Unlocked != "" && (was || !known)
	}) {
		cfg, err = config.Load(s.flags, os.Getenv)
	}
	return s.learn(cfg, err)
}

// learn has the passwords of a configuration redacted from now on.
func (s *settings) learn(cfg *config.Config, err error) (*config.Config, error) {
	if err != nil {
		return nil, err
	}
	redact.Learn(cfg.UV.IndexURL)
	for _, p := range cfg.Pools {
		redact.Learn(p.Channels...)
		redact.Learn(p.Packages...)
		if p.Locked != nil {
			redact.Learn(p.Locked.Text())
		}
	}
	return cfg, nil
}
