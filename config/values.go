package config

import (
	"cmp"
	"errors"
	"fmt"
	"math"
	"net/url"
	"path/filepath"
	"slices"
	"strconv"
	"strings"
	"time"
	"unicode"
	"unicode/utf8"

	"runtimed/internal/lazyregexp"
	"runtimed/internal/statedir"
)

// check returns an error that says what a text must be instead.
type check func(string) error

func text(key string, to *string, ok check) setting {
	return setting{key, func(v any) error {
		s, is := v.(string)
		if !is {
			return fmt.Errorf("must be a text in quotes, got %s", show(v))
		}
		if err := ok(s); err != nil {
			return err
		}
		*to = s
		return nil
	}, func() any { return *to }}
}

func number(key string, to *int, least, most int) setting {
	return setting{key, func(v any) error {
		n, is := v.(int64)
		if !is || n < int64(least) || n > int64(most) {
			return fmt.Errorf("must be %d to %d, got %s", least, most, show(v))
		}
		*to = int(n)
		return nil
	}, func() any { return *to }}
}

func list(key string, to *[]string, each ...check) setting {
	return setting{key, func(v any) error {
		items, is := v.([]any)
		if !is {
			return fmt.Errorf("must be a list of texts, got %s", show(v))
		}
		out := make([]string, 0, len(items))
		for _, item := range items {
			s, is := item.(string)
			if !is {
				return fmt.Errorf("must be a list of texts, got %s in it", show(item))
			}
			for _, ok := range each {
				if err := ok(s); err != nil {
					return err
				}
			}
			out = append(out, s)
		}
		*to = out
		return nil
	}, func() any { return *to }}
}

func duration(key string, to *time.Duration, least time.Duration) setting {
	return setting{key, func(v any) error {
		s, is := v.(string)
		d, err := time.ParseDuration(s)
		if !is || err != nil {
			return fmt.Errorf("must be a duration like \"30m\" or \"48h\", got %s", show(v))
		}
		if d < least {
			return fmt.Errorf("must be at least %s, got %s", showDuration(least), show(v))
		}
		*to = d
		return nil
	}, func() any { return showDuration(*to) }}
}

// showDuration writes 48h, not 48h0m0s.
func showDuration(d time.Duration) string {
	if d == 0 {
		return "0"
	}
	return zeroEnd().ReplaceAllString(d.String(), "$1")
}

var zeroEnd = lazyregexp.New(`([hm])(?:0m)?0s$`)

var units = []struct {
	name  string
	bytes int64
}{
	{"TiB", 1 << 40}, {"TB", 1e12}, {"GiB", 1 << 30}, {"GB", 1e9}, {"MiB", 1 << 20}, {"MB", 1e6}, {"KiB", 1 << 10},
	{"kB", 1e3}, {"B", 1},
}

func size(key string, to *int64) setting {
	return setting{key, func(v any) error {
		n, ok := parseSize(v)
		if !ok {
			return fmt.Errorf("must be a size like \"1GiB\" or \"500MB\", or empty for no bound, got %s", show(v))
		}
		*to = n
		return nil
	}, func() any { return showSize(*to) }}
}

func parseSize(v any) (int64, bool) {
	if n, is := v.(int64); is {
		return n, n >= 0
	}
	s, is := v.(string)
	if !is {
		return 0, false
	}
	if s == "" {
		return 0, true
	}
	unit := int64(1)
	for _, u := range units {
		if len(s) > len(u.name) && strings.EqualFold(s[len(s)-len(u.name):], u.name) {
			s, unit = strings.TrimRight(s[:len(s)-len(u.name)], " "), u.bytes
			break
		}
	}
	if !digits().MatchString(s) {
		return 0, false
	}
	f, err := strconv.ParseFloat(s, 64)
	if n, exact := strconv.ParseInt(s, 10, 64); exact == nil && n <= math.MaxInt64/unit {
		return n * unit, true
	}
	f *= float64(unit)
	return int64(f), err == nil && f < math.MaxInt64
}

var digits = lazyregexp.New(`^[0-9]+(\.[0-9]+)?$`)

func showSize(n int64) string {
	if n == 0 {
		return ""
	}
	for _, u := range units {
		if n%u.bytes == 0 {
			return strconv.FormatInt(n/u.bytes, 10) + u.name
		}
	}
	return ""
}

func oneOf(words ...string) check {
	return func(s string) error {
		if slices.Contains(words, s) {
			return nil
		}
		last := len(words) - 1
		return fmt.Errorf("must be %s or %s, got %s", strings.Join(words[:last], ", "), words[last], show(s))
	}
}

func absolute(s string) error {
	if s != "" && !filepath.IsAbs(s) {
		return fmt.Errorf("must be an absolute path, got %s", show(s))
	}
	return plainPath(s)
}

// stateDir is absolute for cache_dir.
func stateDir(s string) error {
	if err := absolute(s); err != nil || s == "" {
		return err
	}
	return cmp.Or(statedir.CheckForm(s), statedir.CheckLength(s))
}

func plainPath(s string) error {
	if hasControl(s) {
		return fmt.Errorf("must be a path without control characters, got %s", show(s))
	}
	return nil
}

// index does not show the value, since a URL may hold a password.
func index(s string) error {
	if s == "" {
		return nil
	}
	u, err := url.Parse(s)
	if err != nil || hasControl(s) || !slices.Contains([]string{"http", "https", "file"}, u.Scheme) ||
		u.Scheme != "file" && u.Host == "" {
		return errors.New("must be a URL that begins with https://, http:// or file://")
	}
	return nil
}

var (
	poolName      = lazyregexp.New(`^[a-z][a-z0-9_-]{0,31}$`)
	pythonVersion = lazyregexp.New(`^3(\.[0-9]{1,2}){1,2}$`)
	moduleName    = lazyregexp.New(`^[\pL_][\pL\pN_]*(\.[\pL_][\pL\pN_]*)*$`)
	channelName   = lazyregexp.New(`^[A-Za-z0-9][A-Za-z0-9._/-]*$`)
)

func python(s string) error {
	if s == "" || pythonVersion().MatchString(s) || filepath.IsAbs(s) && !hasControl(s) {
		return nil
	}
	return fmt.Errorf("must be empty, a version like \"3.12\" or an absolute path, got %s", show(s))
}

func channel(s string) error {
	if channelName().MatchString(s) || index(s) == nil && s != "" && !strings.ContainsAny(s, " \t") {
		return nil
	}
	return errors.New("must be names of channels or their URLs")
}

const maxModule = 200 // bytes

func module(s string) error {
	if len(s) <= maxModule && moduleName().MatchString(s) {
		return nil
	}
	return fmt.Errorf("must be names of modules like \"pandas\" or \"matplotlib.pyplot\", got %s", show(s))
}

func (p *Pool) checkKind(s string) error {
	if p.builtin() {
		if s != p.Name {
			return fmt.Errorf("is always %q in this pool, got %s", p.Name, show(s))
		}
		return nil
	}
	return oneOf(KindUV, KindConda)(s)
}

func hasControl(s string) bool {
	return strings.ContainsFunc(s, unicode.IsControl) || !utf8.ValidString(s)
}

func show(v any) string {
	switch v := v.(type) {
	case string:
		if len(v) > 60 {
			v = strings.ToValidUTF8(v[:57], "") + "..."
		}
		return strconv.Quote(v)
	case map[string]any:
		return "a table"
	case []any:
		return "a list"
	case float64:
		return strconv.FormatFloat(v, 'f', -1, 64)
	case nil:
		return "nothing"
	}
	return fmt.Sprint(v)
}

// asNumber is s as a number, if it is one.
func asNumber(s string) any {
	if n, err := strconv.ParseInt(s, 10, 64); err == nil {
		return n
	}
	return s
}
