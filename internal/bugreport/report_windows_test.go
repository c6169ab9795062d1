package bugreport

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"runtimed/internal/testkit"
)

func TestAReportNamesTheVersionOfWindows(t *testing.T) {
	if text := systemText("runt 1.2.3"); !strings.Contains(text, "Windows ") {
		t.Errorf("got %s", text)
	}
}

func TestAReportTakesThePlaceOfOneThatIsBeingRead(t *testing.T) {
	path := filepath.Join(t.TempDir(), "report.tar.gz")
	testkit.Check(t, os.WriteFile(path, []byte("old"), 0o600))
	reader, err := os.Open(path)
	testkit.Check(t, err)
	time.AfterFunc(200*time.Millisecond, func() { reader.Close() })
	testkit.Check(t, new(Report).Write(path))
}
