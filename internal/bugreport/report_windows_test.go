package bugreport

import (
	"strings"
	"testing"
)

func TestAReportNamesTheVersionOfWindows(t *testing.T) {
	if text := systemText("runt 1.2.3"); !strings.Contains(text, "Windows ") {
		t.Errorf("got %s", text)
	}
}
