package main

import (
	"encoding/json"
	"time"

	"runtimed/internal/daemon"
)

// ask connects, calls and shows the answer.
func ask[R any](a *app, method string, params any, show func(R)) error {
	return askLong(a, method, params, 0, show)
}

// askLong is ask for what may take the daemon that long.
func askLong[R any](a *app, method string, params any, wait time.Duration, show func(R)) error {
	raw, err := a.Ask(method, params, wait)
	if err != nil {
		return err
	}
	return answer(a, raw, show)
}

// answer prints the result as it came, or has it shown.
func answer[R any](a *app, raw json.RawMessage, show func(R)) error {
	var result R
	if err := daemon.Decode(raw, &result); err != nil {
		return err
	}
	if a.json {
		a.printJSON(raw)
	} else {
		show(result)
	}
	return nil
}
