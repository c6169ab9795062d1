package main

import (
	"testing"
	"time"
)

func TestAMomentIsADurationOrATime(t *testing.T) {
	now := time.Now()
	today := time.Date(now.Year(), now.Month(), now.Day(), 0, 0, 0, 0, time.Local)
	for text, want := range map[string]time.Time{
		"90s": now.Add(-90 * time.Second), "2h": now.Add(-2 * time.Hour), "1h30m": now.Add(-90 * time.Minute),
		"7d":    now.AddDate(0, 0, -7),
		"15:04": today.Add(15*time.Hour + 4*time.Minute), "2026-01-02": time.Date(2026, 1, 2, 0, 0, 0, 0, time.Local),
		"2026-01-02 03:04":     time.Date(2026, 1, 2, 3, 4, 0, 0, time.Local),
		"2026-01-02T03:04:05Z": time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC),
	} {
		var m moment
		if err := m.UnmarshalText([]byte(text)); err != nil || m.Sub(want).Abs() > time.Minute {
			t.Errorf("%s is %s, want %s: %v", text, m.Time, want, err)
		}
	}
	for _, text := range []string{"", "-2h", "2", "yesterday", "-1d", "2026-13-01"} {
		if err := new(moment).UnmarshalText([]byte(text)); err == nil {
			t.Errorf("%q is taken for a moment", text)
		}
	}
}
