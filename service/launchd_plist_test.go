package service

import (
	"fmt"
	"strings"
	"testing"

	"runtimed/internal/testkit"
)

// plistKeys are the keys of launchd.plist(5) that an agent of ours can have, with their types.
var plistKeys = map[string]string{
	"Label": "string", "Program": "string", "ProgramArguments": "array of string",
	"EnvironmentVariables": "dict of string",
	"WorkingDirectory":     "string", "RunAtLoad": "bool", "KeepAlive": "dict or bool", "ThrottleInterval": "integer",
	"ExitTimeOut": "integer", "ProcessType": "string", "AbandonProcessGroup": "bool", "StandardInPath": "string",
	"StandardOutPath": "string", "StandardErrorPath": "string", "Umask": "integer", "Nice": "integer",
	"LimitLoadToSessionType": "string",
}

// plistTypes are what an element of a property list may be.
var plistTypes = map[string]*kind{
	"string": anyText, "integer": matching(`\s*-?\d+\s*`), "true": matching(""), "false": matching(""),
}

// typeOf names the type of a value, and refuses what is no property list.
func typeOf(n node) (string, error) {
	name := n.XMLName.Local
	if len(n.Attrs) > 0 {
		return "", fmt.Errorf("%s has attributes", name)
	}
	switch of := plistTypes[name]; {
	case of != nil && (len(n.Children) > 0 || !of.text(n.Text)):
		return "", fmt.Errorf("a %s is %q", name, n.Text)
	case name == "true" || name == "false":
		return "bool", nil
	case of != nil:
		return name, nil
	case strings.TrimSpace(n.Text) != "":
		return "", fmt.Errorf("a %s has the text %q", name, n.Text)
	}
	kinds := map[string]bool{}
	add := func(v node) error {
		typ, err := typeOf(v)
		kinds[typ] = true
		return err
	}
	switch name {
	case "array":
		for _, c := range n.Children {
			if err := add(c); err != nil {
				return "", err
			}
		}
	case "dict":
		err := eachPair(n, func(_ string, v node) error { return add(v) })
		if err != nil {
			return "", err
		}
	default:
		return "", fmt.Errorf("there is a %s", name)
	}
	if len(kinds) == 1 && kinds["string"] {
		return name + " of string", nil
	}
	return name, nil
}

// eachPair calls f for each key of a dict.
func eachPair(dict node, f func(key string, value node) error) error {
	had := map[string]bool{}
	if len(dict.Children)%2 != 0 {
		return fmt.Errorf("a dict has %d children", len(dict.Children))
	}
	for i := 0; i < len(dict.Children); i += 2 {
		key := dict.Children[i]
		if key.XMLName.Local != "key" || key.Text == "" || len(key.Children) > 0 || had[key.Text] {
			return fmt.Errorf("a dict has the key %q", key.Text)
		}
		had[key.Text] = true
		if err := f(key.Text, dict.Children[i+1]); err != nil {
			return fmt.Errorf("%s: %w", key.Text, err)
		}
	}
	return nil
}

// checkPlist does for an agent what plutil and launchd do: the document, its types, the keys and the paths.
func checkPlist(text string) error {
	const head = `<?xml version="1.0" encoding="UTF-8"?>` + "\n" +
		`<!DOCTYPE plist PUBLIC "-//Apple//DTD PLIST 1.0//EN" "http://www.apple.com/DTDs/PropertyList-1.0.dtd">` + "\n"
	if !strings.HasPrefix(text, head) {
		return fmt.Errorf("it begins with %.60s", text)
	}
	n, err := parse(text)
	if err != nil {
		return err
	}
	if n.XMLName.Local != "plist" || len(n.Attrs) != 1 || n.Attrs[0].Value != "1.0" || len(n.Children) != 1 ||
		n.Children[0].XMLName.Local != "dict" {
		return fmt.Errorf("it is a %s with %d children", n.XMLName.Local, len(n.Children))
	}
	values := map[string]node{}
	err = eachPair(n.Children[0], func(key string, v node) error {
		values[key] = v
		typ, err := typeOf(v)
		if err != nil {
			return err
		}
		if want := plistKeys[key]; want != typ && !(want == "dict or bool" && (typ == "dict" || typ == "bool")) {
			return fmt.Errorf("it is %s, and not %q", typ, want)
		}
		path := key == "WorkingDirectory" || strings.HasSuffix(key, "Path")
		if path && !strings.HasPrefix(v.Text, "/") {
			return fmt.Errorf("%q is not absolute", v.Text)
		}
		if key == "KeepAlive" && typ == "dict" {
			return eachPair(v, func(key string, v node) error {
				if typ, err := typeOf(v); key != "SuccessfulExit" && key != "Crashed" || typ != "bool" || err != nil {
					return fmt.Errorf("it has %s", key)
				}
				return nil
			})
		}
		return nil
	})
	words := values["ProgramArguments"].Children
	switch {
	case err != nil:
		return err
	case values["Label"].Text != label:
		return fmt.Errorf("its label is %q", values["Label"].Text)
	case len(words) == 0 || !strings.HasPrefix(words[0].Text, "/"):
		return fmt.Errorf("its program is %v", words)
	}
	switch typ := values["ProcessType"].Text; typ {
	case "", "Background", "Standard", "Adaptive", "Interactive":
		return nil
	default:
		return fmt.Errorf("its ProcessType is %q", typ)
	}
}

func TestAnAgentIsAPropertyListThatLaunchdKnows(t *testing.T) {
	demand := strange()
	demand.OnDemand = true
	for name, c := range map[string]Config{"plain": plain(), "odd": strange(), "demand": demand} {
		f, err := plist("/p", c)
		testkit.Check(t, err)
		if err := checkPlist(string(f.Data)); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without this, the test above could pass whatever an agent is.
func TestAnAgentThatLaunchdWouldRefuseIsSeen(t *testing.T) {
	f, err := plist("/p", strange())
	testkit.Check(t, err)
	for _, c := range []struct{ from, to, says string }{
		{"<integer>15<", "<integer>16<", ""},
		{"<integer>15<", "<integer>soon<", "ExitTimeOut: a integer is"},
		{"<integer>15</integer>", "<string>15</string>", "ExitTimeOut: it is string"},
		{"<key>ExitTimeOut", "<key>ExitTimeout", "ExitTimeout: it is integer"},
		{"<key>ExitTimeOut", "<key>ThrottleInterval", `the key "ThrottleInterval"`},
		{"<key>ExitTimeOut</key>", "", "children"},
		{"<key>SuccessfulExit", "<key>Success", "it has Success"},
		{"<true/>", "<yes/>", "there is a yes"},
		{"<string>Interactive", "<string>Active", "ProcessType"},
		{"<string>io.runtimed", "<string>runtimed", "label"},
		{"<string>/home", "<string>home", "not absolute"},
		{"<string>run</string>", "<integer>1</integer>", "ProgramArguments"},
		{"<array>", "<array>x", "the text"},
		{"</array>", "", "XML syntax error"},
		{`<plist version="1.0">`, "<plist>", "it is a plist"},
		{"DOCTYPE plist", "DOCTYPE list", "begins with"},
	} {
		err := checkPlist(strings.ReplaceAll(string(f.Data), c.from, c.to))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s instead of %s: %v", c.to, c.from, err)
		}
	}
}
