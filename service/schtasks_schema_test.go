package service

import (
	"encoding/xml"
	"errors"
	"fmt"
	"io"
	"slices"
	"strings"
	"testing"
	"unicode/utf16"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/testkit"
)

// A node is an element of XML. Go has no validator of schemas, so the parts of the published schema of tasks that a
// logon task can have are here as tables.
type node struct {
	XMLName  xml.Name
	Attrs    []xml.Attr `xml:",any,attr"`
	Text     string     `xml:",chardata"`
	Children []node     `xml:",any"`
}

func parse(text string) (n node, err error) {
	d := xml.NewDecoder(strings.NewReader(strings.TrimSpace(text)))
	if err = d.Decode(&n); err == nil {
		if _, after := d.Token(); !errors.Is(after, io.EOF) {
			err = errors.New("something follows the document")
		}
	}
	return n, err
}

// A kind is a type of the schema: of elements with children, or of text.
type kind struct {
	ordered  bool // xs:sequence; else xs:all
	needs    []string
	children []child // each at most once
	text     func(string) bool
	attrs    map[string]func(string) bool
}

type child struct {
	name string
	kind *kind
}

func matching(pattern string) *kind {
	form := lazyregexp.New(`^(?:` + pattern + `)$`)
	return &kind{text: func(s string) bool { return form().MatchString(s) }}
}

func every(names string, k *kind) (all []child) {
	for name := range strings.FieldsSeq(names) {
		all = append(all, child{name, k})
	}
	return all
}

var (
	anyText  = matching(`(?s).*`)
	nonEmpty = matching(`(?s).+`)
	boolean  = matching(`true|false|0|1`)
	duration = matching(`P(\d+Y)?(\d+M)?(\d+D)?(T(\d+H)?(\d+M)?(\d+S)?)?`)
	moment   = matching(`\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)?`)
	pathType = &kind{text: func(s string) bool { return s != "" && len(utf16.Encode([]rune(s))) <= 260 }}
	xmlID    = matching(`[A-Za-z_][\w.-]*`).text

	schema = &kind{needs: []string{"Actions"},
		attrs: map[string]func(string) bool{"version": matching(`1\.[23]`).text},
		children: []child{
			{"RegistrationInfo", &kind{children: append(every("URI SecurityDescriptor Source Author Version"+
				" Description Documentation", anyText), child{"Date", moment})}},
			{"Triggers", &kind{children: []child{{"LogonTrigger", &kind{ordered: true, children: []child{
				{"Enabled", boolean}, {"StartBoundary", moment}, {"EndBoundary", moment},
				{"ExecutionTimeLimit", duration}, {"UserId", nonEmpty}, {"Delay", duration}}}}}}},
			{"Settings", &kind{children: append(every("AllowStartOnDemand DisallowStartIfOnBatteries"+
				" StopIfGoingOnBatteries AllowHardTerminate StartWhenAvailable RunOnlyIfNetworkAvailable WakeToRun"+
				" Enabled Hidden RunOnlyIfIdle", boolean), // version 1.2 has no more of them
				child{"MultipleInstancesPolicy", matching(`Parallel|Queue|IgnoreNew|StopExisting`)},
				child{"ExecutionTimeLimit", duration}, child{"DeleteExpiredTaskAfter", duration},
				child{"Priority", matching(`[0-9]|10`)},
				child{"RestartOnFailure", &kind{needs: []string{"Interval", "Count"}, children: []child{
					{"Interval", matching(`PT[1-9]\d*M`)}, {"Count", matching(`[1-9]\d?|1\d\d|2[0-4]\d|25[0-5]`)}}}})}},
			{"Principals", &kind{needs: []string{"Principal"}, children: []child{{"Principal", &kind{
				attrs: map[string]func(string) bool{"id": xmlID}, children: []child{
					{"UserId", nonEmpty}, {"GroupId", nonEmpty}, {"DisplayName", anyText},
					{"LogonType", matching(`S4U|Password|InteractiveToken`)},
					{"RunLevel", matching(`LeastPrivilege|HighestAvailable`)}}}}}}},
			{"Actions", &kind{needs: []string{"Exec"}, attrs: map[string]func(string) bool{"Context": xmlID},
				children: []child{{"Exec", &kind{needs: []string{"Command"}, children: []child{
					{"Command", pathType}, {"Arguments", anyText}, {"WorkingDirectory", pathType}}}}}}},
		}}
)

// check says what the schema forbids, if anything.
func (k *kind) check(n node) error {
	here := n.XMLName.Local
	for _, a := range n.Attrs {
		if a.Name.Local == "xmlns" {
			continue
		}
		if fits := k.attrs[a.Name.Local]; fits == nil || !fits(a.Value) {
			return fmt.Errorf("%s has the attribute %s=%q", here, a.Name.Local, a.Value)
		}
	}
	if k.text != nil {
		if len(n.Children) > 0 || !k.text(n.Text) {
			return fmt.Errorf("%s is %q", here, n.Text)
		}
		return nil
	}
	if strings.TrimSpace(n.Text) != "" {
		return fmt.Errorf("%s has the text %q", here, n.Text)
	}
	had, last := map[string]bool{}, -1
	for _, c := range n.Children {
		name := c.XMLName.Local
		i := slices.IndexFunc(k.children, func(of child) bool { return of.name == name })
		switch {
		case i < 0 || c.XMLName.Space != n.XMLName.Space:
			return fmt.Errorf("%s has a %s", here, name)
		case had[name]:
			return fmt.Errorf("%s has two of %s", here, name)
		case k.ordered && i < last:
			return fmt.Errorf("%s has its %s too late", here, name)
		}
		had[name], last = true, i
		if err := k.children[i].kind.check(c); err != nil {
			return fmt.Errorf("%s: %w", here, err)
		}
	}
	for _, name := range k.needs {
		if !had[name] {
			return fmt.Errorf("%s has no %s", here, name)
		}
	}
	return nil
}

// checkTask holds the text of a task, as the file has it, against the schema.
func checkTask(text string) error {
	head, body, _ := strings.Cut(text, "?>") // Go reads UTF-8 only
	if head != `<?xml version="1.0" encoding="UTF-16"` {
		return fmt.Errorf("it begins with %s", head)
	}
	n, err := parse(body)
	if err != nil {
		return err
	}
	const space = "http://schemas.microsoft.com/windows/2004/02/mit/task"
	if n.XMLName != (xml.Name{Space: space, Local: "Task"}) {
		return fmt.Errorf("it is a %v", n.XMLName)
	}
	if err := schema.check(n); err != nil {
		return err
	}
	id, context := "", ""
	for _, c := range n.Children {
		if c.XMLName.Local == "Principals" {
			id = c.Children[0].Attrs[0].Value
		} else if len(c.Attrs) > 0 {
			context = c.Attrs[0].Value
		}
	}
	if id != context {
		return fmt.Errorf("the actions are for %q, and the principal is %q", context, id)
	}
	return nil
}

func TestATaskIsValidByThePublishedSchema(t *testing.T) {
	demand := windowsConfig()
	demand.OnDemand = true
	for name, c := range map[string]Config{"whole": windowsConfig(), "on demand": demand,
		"plain": {Program: `C:\runtimed.exe`, Socket: `\\.\pipe\runtimed-a`}} {
		f, err := task("x", `HÖST & Co\Zoë "Z" <z>`, c)
		testkit.Check(t, err)
		if err := checkTask(f.Text()); err != nil {
			t.Errorf("%s: %v", name, err)
		}
	}
}

// Without this, the test above could pass whatever a task is.
func TestWhatTheSchemaForbidsIsSeen(t *testing.T) {
	f, err := task("x", "Zoë", windowsConfig())
	testkit.Check(t, err)
	for _, c := range []struct{ from, to, says string }{
		{"<Priority>4", "<Priority>10", ""},
		{"<Priority>4", "<Priority>11", "Priority"},
		{"<Priority>4</Priority>", "<Priority>4</Priority><Niceness>1</Niceness>", "has a Niceness"},
		{"<Priority>4</Priority>", "<Priority>4</Priority><Priority>4</Priority>", "two of Priority"},
		{"<Enabled>true</Enabled>\n      <UserId>Zoë</UserId>", "<UserId>Zoë</UserId><Enabled>true</Enabled>",
			"too late"},
		{"<UserId>Zoë</UserId>", "<UserId></UserId>", "UserId"},
		{"PT0S", "0", "ExecutionTimeLimit"},
		{"PT1M", "PT1S", "Interval"},
		{"<Count>3</Count>", "", "no Count"},
		{"IgnoreNew", "Ignore", "MultipleInstancesPolicy"},
		{"InteractiveToken", "Interactive", "LogonType"},
		{"<StartWhenAvailable>true", "<StartWhenAvailable>yes", "StartWhenAvailable"},
		{`Context="Author"`, `Context="Other"`, "the principal is"},
		{`version="1.2"`, `version="2"`, "version"},
		{"2004/02/mit/task", "2004/02/mit/tasks", "it is a"},
		{"UTF-16", "UTF-8", "begins with"},
		{"<Exec>", "<Exec>x", "the text"},
		{"</Exec>", "</Exec><Exec></Exec>", "two of Exec"},
		{"</Task>", "</Task><Task/>", "follows"},
		{"</Task>", "", "EOF"},
	} {
		err := checkTask(strings.ReplaceAll(f.Text(), c.from, c.to))
		if c.says == "" && err != nil || c.says != "" && (err == nil || !strings.Contains(err.Error(), c.says)) {
			t.Errorf("%s instead of %s: %v", c.to, c.from, err)
		}
	}
}

func TestAProgramThatNoTaskCanNameIsRefused(t *testing.T) {
	c := windowsConfig()
	c.Program = `C:\` + strings.Repeat("ö", 253) + `.exe`
	f, err := task("x", "Zoë", c)
	if err != nil || checkTask(f.Text()) != nil {
		t.Errorf("260 characters: %v", err)
	}
	c.Program += "x"
	if _, err := task("x", "Zoë", c); err == nil {
		t.Error("261 characters are taken")
	}
}
