package config

import (
	"bytes"
	"errors"
	"fmt"
	"io/fs"
	"slices"
	"strings"

	"github.com/pelletier/go-toml/v2"
	"github.com/pelletier/go-toml/v2/unstable"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/safefile"
)

const maxFile = 256 << 10

// readFile leaves the path out of the error, since the fault has it. A file that the user named must be there.
func readFile(path string, named bool) ([]byte, error) { return readUpTo(path, named, maxFile) }

func readUpTo(path string, named bool, limit int64) ([]byte, error) {
	data, err := safefile.Read(path, limit)
	if !named && errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if e, ok := errors.AsType[*fs.PathError](err); ok {
		return nil, e.Err
	}
	if e, ok := errors.AsType[*safefile.Error](err); ok {
		return nil, errors.New(e.Says)
	}
	return data, err
}

type entry struct {
	path  []string
	line  int
	table bool // a header or an inline table; its members are entries too
}

// parse has the library check the syntax, and checks the keys and values itself, so that each fault has its line.
func (c *Config) parse(file string, data []byte) (faults Faults) {
	data = bytes.TrimPrefix(data, []byte("\ufeff"))
	var doc map[string]any
	if err := toml.Unmarshal(data, &doc); err != nil {
		where, text := file, strings.TrimPrefix(err.Error(), "toml: ")
		if de, ok := errors.AsType[*toml.DecodeError](err); ok {
			line, _ := de.Position()
			where = fmt.Sprintf("%s:%d", file, line)
		}
		return Faults{{Where: where, Text: "is not valid TOML: " + text}}
	}
	var wrong [][]string // refused, so that the members are not refused too
	for _, e := range entries(data) {
		if slices.ContainsFunc(wrong, func(table []string) bool {
			return len(e.path) >= len(table) && slices.Equal(e.path[:len(table)], table)
		}) {
			continue
		}
		where := fmt.Sprintf("%s:%d", file, e.line)
		if err := c.assign(e, lookup(doc, e.path), where); err != nil {
			wrong = append(wrong, e.path)
			faults = append(faults, Fault{where, dotted(e.path), err.Error()})
		}
	}
	return faults
}

func (c *Config) assign(e entry, value any, where string) error {
	settings, key := c.settings(), dotted(e.path)
	table := slices.ContainsFunc(settings, func(s setting) bool { return strings.HasPrefix(s.key, key+".") })
	if e.path[0] == "pools" {
		table = len(e.path) <= 2
		if len(e.path) > 1 {
			p, err := c.pool(e.path[1], where)
			if err != nil {
				return err
			}
			settings, key = p.settings(), dotted(e.path[2:])
		}
	}
	s, known := find(settings, key)
	_, isTable := value.(map[string]any)
	switch {
	case table && isTable && e.table:
		return nil
	case table:
		return errors.New("must be a table, got " + show(value))
	case !known:
		return errors.New("unknown key; there are " + siblings(settings, key, len(e.path) == 1))
	}
	c.Origins[dotted(e.path)] = where
	return s.set(value)
}

// pool makes the pool if needed. It has no kind until the file says it.
func (c *Config) pool(name, where string) (*Pool, error) {
	for i := range c.Pools {
		if c.Pools[i].Name == name {
			return &c.Pools[i], nil
		}
	}
	if !poolName().MatchString(name) {
		return nil, errors.New("a pool's name is a lower-case letter and then up to 31 of a-z, 0-9, _ and -")
	}
	c.Origins["pools."+name] = where
	c.Pools = append(c.Pools, newPool(name, ""))
	return &c.Pools[len(c.Pools)-1], nil
}

func siblings(settings []setting, key string, top bool) string {
	section := key[:strings.LastIndex(key, ".")+1]
	var out []string
	for _, s := range settings {
		rest, ok := strings.CutPrefix(s.key, section)
		if !ok {
			continue
		}
		if head, _, deeper := strings.Cut(rest, "."); deeper {
			rest = "[" + head + "]"
		}
		if !slices.Contains(out, rest) {
			out = append(out, rest)
		}
	}
	if top {
		out = append(out, "[pools.NAME]")
	}
	if len(out) == 0 {
		return siblings(settings, "", false)
	}
	return strings.Join(out, ", ")
}

var bareKey = lazyregexp.New(`^[A-Za-z0-9_-]+$`)

// dotted is a path as in the file: "a.b" in quotes is one key, not two.
func dotted(path []string) string {
	parts := make([]string, len(path))
	for i, part := range path {
		if parts[i] = part; !bareKey().MatchString(part) {
			parts[i] = show(part)
		}
	}
	return strings.Join(parts, ".")
}

func lookup(doc any, path []string) any {
	for _, name := range path {
		table, ok := doc.(map[string]any)
		if !ok {
			return nil
		}
		doc = table[name]
	}
	return doc
}

// entries lists the keys in the order of the document.
func entries(data []byte) (out []entry) {
	w := walker{data: data, line: 1}
	w.p.Reset(data)
	var section []string
	for w.p.NextExpression() {
		switch n := w.p.Expression(); n.Kind {
		case unstable.Table, unstable.ArrayTable:
			path, line := w.key(nil, n.Key())
			section = path
			out = append(out, entry{path, line, n.Kind == unstable.Table})
		case unstable.KeyValue:
			out = w.keyValue(out, section, n)
		}
	}
	return out
}

type walker struct {
	p         unstable.Parser
	data      []byte
	pos, line int // line is that of pos; each byte is looked at once
}

func (w *walker) keyValue(out []entry, section []string, n *unstable.Node) []entry {
	path, line := w.key(section, n.Key())
	inline := n.Value().Kind == unstable.InlineTable
	out = append(out, entry{path, line, inline})
	if inline {
		for it := n.Value().Children(); it.Next(); {
			out = w.keyValue(out, path, it.Node())
		}
	}
	return out
}

func (w *walker) key(section []string, it unstable.Iterator) (path []string, line int) {
	path = append(path, section...)
	for it.Next() {
		n := it.Node()
		if offset := int(n.Raw.Offset); offset > w.pos && offset <= len(w.data) {
			w.line += bytes.Count(w.data[w.pos:offset], []byte("\n"))
			w.pos = offset
		}
		if line == 0 {
			line = w.line
		}
		path = append(path, string(n.Data))
	}
	return path, line
}
