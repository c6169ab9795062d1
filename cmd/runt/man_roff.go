package main

import (
	"fmt"
	"os"
	"runtime/debug"
	"strconv"
	"strings"
	"time"

	"github.com/alecthomas/kong"

	"runtimed/rpc"
)

// manPage is a page in the language of man(7).
type manPage struct {
	name    string
	chapter int
	b       strings.Builder
}

func newPage(name string, chapter int, what string) *manPage {
	p := &manPage{name: name, chapter: chapter}
	p.raw(fmt.Sprintf(`.TH %s %d %s %s %s`, quoted(strings.ToUpper(name)), chapter, pageDate(), quoted("runtimed "+rpc.Version()),
		quoted(map[int]string{1: "User Commands", 5: "File Formats"}[chapter])))
	p.section("NAME")
	p.raw(roff(name) + ` \-`)
	p.filled(lowered(strings.TrimSuffix(what, ".")))
	return p
}

// pageDate is the same for the same source, so that a package can be built again byte by byte.
func pageDate() string {
	at := time.Now()
	if info, ok := debug.ReadBuildInfo(); ok {
		for _, s := range info.Settings {
			if s.Key == "vcs.time" {
				at, _ = time.Parse(time.RFC3339, s.Value) // the go command writes it so
			}
		}
	}
	if epoch, err := strconv.ParseInt(os.Getenv("SOURCE_DATE_EPOCH"), 10, 64); err == nil {
		at = time.Unix(epoch, 0)
	}
	return at.UTC().Format(time.DateOnly)
}

// lowered begins with a small letter, unless the first word is a name.
func lowered(text string) string {
	if len(text) > 1 && text[1] >= 'a' && text[1] <= 'z' || strings.HasPrefix(text, "A ") {
		if word, _, _ := strings.Cut(text, " "); word != "Python" {
			return strings.ToLower(text[:1]) + text[1:]
		}
	}
	return text
}

func (p *manPage) file() string      { return fmt.Sprintf("%s.%d", p.name, p.chapter) }
func (p *manPage) reference() string { return fmt.Sprintf(".BR %s (%d)", roff(p.name), p.chapter) }
func (p *manPage) text() string      { return p.b.String() }

// raw takes lines that are roff already.
func (p *manPage) raw(lines string)    { p.b.WriteString(lines + "\n") }
func (p *manPage) section(name string) { p.raw(".SH " + name) }

func (p *manPage) para(text string) {
	if text != "" {
		p.apart()
		p.filled(text)
	}
}

// apart begins a paragraph; a heading has begun one already.
func (p *manPage) apart() {
	all := strings.TrimSuffix(p.b.String(), "\n")
	if last := all[strings.LastIndexByte(all, '\n')+1:]; !strings.HasPrefix(last, ".S") {
		p.raw(".PP")
	}
}

// filled is text of its own lines; roff would take a long one too, but not its checkers.
func (p *manPage) filled(text string) {
	for _, line := range wrapped(text, 72) {
		line = roff(line)
		if strings.HasPrefix(line, ".") || strings.HasPrefix(line, `\(aq`) {
			line = `\&` + line
		}
		p.raw(line)
	}
}

// item is a term, in roff, and what it means.
func (p *manPage) item(term, text string) {
	p.raw(".TP\n" + term)
	p.filled(text)
}

func (p *manPage) entries(list []entry) {
	for _, e := range list {
		p.item(bold(e.Name)+roff(more(e)), e.Text)
	}
}

func (p *manPage) examples(list []entry) {
	for _, e := range list {
		p.para(e.Text)
		p.code(e.Name)
	}
}

func (p *manPage) code(text string) {
	p.apart()
	p.raw(".RS 4\n.EX")
	for line := range strings.Lines(text) {
		line = roff(strings.TrimSuffix(line, "\n"))
		if strings.HasPrefix(line, ".") || line == "" {
			line = `\&` + line
		}
		p.raw(line)
	}
	p.raw(".EE\n.RE")
}

// detail is the long help of a command: paragraphs, and code where a line is set in.
func (p *manPage) detail(text string) {
	for part := range strings.SplitSeq(text, "\n\n") {
		if strings.HasPrefix(part, "    ") {
			p.code(strings.ReplaceAll(strings.TrimPrefix(part, "    "), "\n    ", "\n"))
		} else {
			p.para(part)
		}
	}
}

func (p *manPage) synopsis(node *kong.Node) {
	line := bold(node.FullPath())
	for _, group := range node.AllFlags(true) {
		for _, f := range group {
			if f.Name != "help" && f.Name != "version" {
				line += " [" + flagTerm(f) + "]"
			}
		}
	}
	for _, arg := range node.Positional {
		line += " " + roff(arg.Summary())
	}
	p.raw(strings.ReplaceAll(line, " [", "\n["))
}

func (p *manPage) arguments(node *kong.Node) {
	for _, arg := range node.Positional {
		p.item(italic(arg.Name), arg.Help)
	}
	p.flags(node.Flags)
}

func (p *manPage) flags(flags []*kong.Flag) {
	for _, f := range flags {
		if !f.Hidden {
			p.item(flagTerm(f), f.Help)
		}
	}
}

func flagTerm(f *kong.Flag) string {
	term := bold("--" + f.Name)
	if f.Short != 0 {
		term = bold("-"+string(f.Short)) + ", " + term
	}
	if !f.IsBool() {
		value := strings.Trim(f.FormatPlaceHolder(), `"`)
		if value == "" {
			value = strings.ToUpper(f.Name)
		}
		term += "=" + italic(value)
	}
	return term
}

func bold(text string) string   { return `\fB` + roff(text) + `\fR` }
func italic(text string) string { return `\fI` + roff(text) + `\fR` }
func quoted(text string) string { return `"` + roff(text) + `"` }

// roff writes text so that it is printed as it is: a plain "-" would become a hyphen, which no shell takes.
func roff(text string) string {
	var b strings.Builder
	for _, r := range text {
		if glyph, special := glyphs[r]; special {
			b.WriteString(glyph)
		} else if r > 126 {
			fmt.Fprintf(&b, `\[u%04X]`, r)
		} else {
			b.WriteRune(r)
		}
	}
	return b.String()
}

var glyphs = map[rune]string{'\\': `\(rs`, '-': `\-`, '\'': `\(aq`, '"': `\(dq`, '`': `\(ga`, '^': `\(ha`, '~': `\(ti`}
