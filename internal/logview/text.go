package logview

import (
	"bytes"
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"runtimed/internal/redact"
)

// readable is "time LEVEL message name=value…"; what is no JSON, a crash for one, is left as it is.
func readable(line []byte) string {
	var told struct{ Level, Time, Msg string }
	if json.Unmarshal(line, &told) != nil || told.Msg == "" {
		return redact.Printable(strings.TrimRight(string(line), "\r\n"))
	}
	if at, err := time.Parse(time.RFC3339, told.Time); err == nil {
		told.Time = at.Local().Format("2006-01-02 15:04:05")
	}
	var b strings.Builder
	fmt.Fprintf(&b, "%s %-5s %s", told.Time, strings.ToUpper(told.Level), told.Msg)
	dec := json.NewDecoder(bytes.NewReader(line))
	dec.Token()
	for dec.More() { // in the order of the line, which a map would lose
		var raw json.RawMessage
		name, err := dec.Token()
		if err != nil || dec.Decode(&raw) != nil {
			break
		}
		switch name {
		case "level", "time", "msg":
		default:
			value := string(raw)
			var text string
			if json.Unmarshal(raw, &text) == nil && text != "" && !strings.ContainsAny(text, " \t\n\"=") {
				value = text
			}
			fmt.Fprintf(&b, " %s=%s", name, value)
		}
	}
	return redact.Printable(b.String())
}
