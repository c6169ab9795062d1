package main

import (
	"testing"

	"go.uber.org/fx"

	"runtimed/config"
	"runtimed/internal/supervisor"
)

func TestThePlanFitsTogether(t *testing.T) {
	inputs := fx.Supply(config.Flags{}, &supervisor.Supervisor{}, make(exit), make(hangups))
	if err := fx.ValidateApp(plan, inputs); err != nil {
		t.Error(err)
	}
}
