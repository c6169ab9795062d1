package logview

import (
	"bytes"
	"encoding/json"
	"regexp"
	"strconv"
	"strings"
	"time"

	"runtimed/rpc"
)

// journalEntry is what we read of an entry. A message that is no UTF-8 comes as its bytes.
type journalEntry struct {
	Message    json.RawMessage `json:"MESSAGE"`
	Priority   string          `json:"PRIORITY"`
	Time       string          `json:"__REALTIME_TIMESTAMP"` // microseconds
	Cursor     string          `json:"__CURSOR"`
	Identifier string          `json:"SYSLOG_IDENTIFIER"`
	Entry      string          `json:"RUNTIMED_ENTRY"` // the line as the file would have it
}

// journalLine is an entry in the shape that a line of the file has: level, time, logger, message and the fields.
func journalLine(raw []byte) (line []byte, cursor string, ok bool) {
	var e journalEntry
	if json.Unmarshal(raw, &e) != nil || e.Time == "" {
		return nil, "", false
	}
	if e.Entry != "" {
		return []byte(e.Entry), e.Cursor, true
	}
	message, level := cutPriority(messageText(e.Message), levelOf(e.Priority))
	var told struct{ Level, Time, Msg string }
	if json.Unmarshal([]byte(message), &told) == nil && told.Level != "" && told.Time != "" {
		return []byte(message), e.Cursor, true // it is such a line
	}
	micros, err := strconv.ParseInt(e.Time, 10, 64)
	if err != nil {
		return nil, "", false
	}
	var b bytes.Buffer
	b.WriteString(`{"level":` + literal(level) + `,"time":` + literal(time.UnixMicro(micros).Format("2006-01-02T15:04:05.000Z07:00")))
	logger, fields := e.Identifier, ""
	if logger != "systemd" { // that has its own words about the unit
		logger, message, fields = takeApart(message)
	}
	if logger != "" {
		b.WriteString(`,"logger":` + literal(logger))
	}
	b.WriteString(`,"msg":` + literal(message))
	b.WriteString(fields + "}")
	return b.Bytes(), e.Cursor, true
}

func messageText(raw json.RawMessage) string {
	var text string
	if json.Unmarshal(raw, &text) == nil {
		return text
	}
	var numbers []uint16
	if json.Unmarshal(raw, &numbers) != nil {
		return ""
	}
	b := make([]byte, len(numbers))
	for i, n := range numbers {
		b[i] = byte(n)
	}
	return strings.ToValidUTF8(string(b), "\uFFFD")
}

// levelOf is ours for a priority of syslog.
func levelOf(priority string) string {
	switch n, err := strconv.Atoi(priority); {
	case err != nil || n == 5 || n == 6:
		return "info"
	case n == 7:
		return "debug"
	case n == 4:
		return "warn"
	}
	return "error"
}

// cutPriority takes off the prefix of sd-daemon(3), which the journal has taken off unless it was told not to.
func cutPriority(message, level string) (string, string) {
	if len(message) > 2 && message[0] == '<' && message[1] >= '0' && message[1] <= '7' && message[2] == '>' {
		return message[3:], levelOf(message[1:2])
	}
	return message, level
}

var (
	loggerStart = regexp.MustCompile(`^([a-z][a-z.]*): `)
	fieldStart  = regexp.MustCompile(`^ ([A-Za-z_][\w.-]*)=`)
)

// takeApart finds the parts of "logger: message name=value…", as the daemon writes for the journal. The fields come as the
// members of an object, each with a comma before it: they are all that follows, so what looks like one in a sentence is none.
func takeApart(line string) (logger, message, fields string) {
	if m := loggerStart.FindStringSubmatch(line); m != nil && m[1] != rpc.Name { // with its own name it begins what it says on any stderr
		logger, line = m[1], line[len(m[0]):]
	}
	for i := range len(line) {
		if line[i] == ' ' && fieldStart.MatchString(line[i:]) {
			if members, ok := fieldsOf(line[i:]); ok {
				return logger, line[:i], members
			}
		}
	}
	return logger, line, ""
}

// fieldsOf reads " name=value name=value": a value is a word without quotes, or JSON.
func fieldsOf(text string) (members string, ok bool) {
	for text != "" {
		m := fieldStart.FindStringSubmatch(text)
		if m == nil {
			return "", false
		}
		text = text[len(m[0]):]
		var value string
		if text != "" && strings.ContainsRune(`"[{`, rune(text[0])) {
			dec := json.NewDecoder(strings.NewReader(text))
			var raw json.RawMessage
			if dec.Decode(&raw) != nil {
				return "", false
			}
			value, text = string(raw), text[dec.InputOffset():]
		} else {
			end := strings.IndexByte(text+" ", ' ')
			if value, text = text[:end], text[end:]; !json.Valid([]byte(value)) {
				value = literal(value)
			}
		}
		members += "," + literal(m[1]) + ":" + value
	}
	return members, true
}

func literal(s string) string {
	b, _ := json.Marshal(s)
	return string(b)
}
