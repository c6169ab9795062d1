package bugreport

import "testing"

func TestABugReportNamesNeitherUserNorHome(t *testing.T) {
	r := anonymous([]string{"CORP_TOKEN=from the env"}, "/home/zaphod", "zaphod")
	text := "https://u:p@h from the env: /home/zaphod/.cache and /home/zaphods /mnt/zaphod/x zaphod"
	if got, want := r.Text(text), "https://***@h ***: ~/.cache and /home/zaphods /mnt/USER/x zaphod"; got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	got, ok := r.JSON([]byte(`{"out":"PATH=/home/zaphod/bin","tokens":["x"]}`), false)
	if want := `{"out":"PATH=~/bin","tokens":["***"]}`; !ok || string(got) != want {
		t.Errorf("got %s, want %s", got, want)
	}
}
