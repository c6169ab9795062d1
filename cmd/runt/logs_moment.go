package main

import (
	"fmt"
	"strconv"
	"strings"
	"time"
)

// moment is a time on the command line: how long ago, or when.
type moment struct{ time.Time }

var momentLayouts = []string{
	time.RFC3339, "2006-01-02T15:04:05", "2006-01-02 15:04:05", "2006-01-02T15:04", "2006-01-02 15:04", time.DateOnly,
}

func (m *moment) UnmarshalText(text []byte) error {
	s, now := string(text), time.Now()
	if days, ok := strings.CutSuffix(s, "d"); ok {
		if n, err := strconv.ParseUint(days, 10, 16); err == nil {
			m.Time = now.AddDate(0, 0, -int(n))
			return nil
		}
	}
	if ago, err := time.ParseDuration(s); err == nil && ago >= 0 {
		m.Time = now.Add(-ago)
		return nil
	}
	for _, layout := range momentLayouts {
		if at, err := time.ParseInLocation(layout, s, time.Local); err == nil {
			m.Time = at
			return nil
		}
	}
	for _, layout := range []string{time.TimeOnly, "15:04"} {
		if at, err := time.Parse(layout, s); err == nil {
			m.Time = time.Date(now.Year(), now.Month(), now.Day(), at.Hour(), at.Minute(), at.Second(), 0, time.Local)
			return nil
		}
	}
	return fmt.Errorf("must be a duration like 30m, 2h or 7d, or a time like 15:04, 2006-01-02 or 2006-01-02T15:04, got %q", s)
}
