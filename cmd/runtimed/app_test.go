package main

import (
	"testing"

	"go.uber.org/fx"
	"go.uber.org/zap"

	"runtimed/config"
)

func TestTheListOfPartsFitsTogether(t *testing.T) {
	d := &daemon{log: zap.NewNop(), at: paths{socket: "/s", folder: "/", state: t.TempDir()}}
	d.cfg.Store(&config.Config{})
	if err := fx.ValidateApp(parts(d)); err != nil {
		t.Error(err)
	}
}
