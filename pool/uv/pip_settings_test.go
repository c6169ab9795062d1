package uv

import (
	"fmt"
	"testing"
)

func TestPipsListOfSettingsIsReadAsPythonWritesIt(t *testing.T) {
	listed := `:env:.cert='no'
global.cert='/a b/c.pem'
global.find-links='\nhttps://a/x\nhttps://b'
global.proxy="http://u:it's@p"
global.index-url='https://a\\b/"c"\x41'
install.user='true'
nonsense
`
	got := pipSettings(listed)
	want := map[string]string{
		"cert": "/a b/c.pem", "find-links": "https://a/x https://b", "proxy": "http://u:it's@p",
		"index-url": `https://a\b/"c"A`, "user": "true",
	}
	if fmt.Sprint(got) != fmt.Sprint(want) {
		t.Errorf("%q", got)
	}
}
