package main

import (
	"os"
	"sync/atomic"

	"runtimed/config"
	"runtimed/internal/redact"
)

// settings is the configuration in force.
type settings struct {
	atomic.Pointer[config.Config]

	flags config.Flags
}

func loadSettings(flags config.Flags) (*settings, error) {
	s := &settings{flags: flags}
	cfg, err := s.read()
	s.Store(cfg)
	return s, err
}

// read loads the configuration, and has its passwords redacted from now on.
func (s *settings) read() (*config.Config, error) {
	cfg, err := config.Load(s.flags, os.Getenv)
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
