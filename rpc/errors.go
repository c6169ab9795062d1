package rpc

import (
	"errors"
	"fmt"
)

// The kinds of errors, which clients match on. The last five never travel: they are a client's own.
const (
	KindParseError     = "parse_error"
	KindInvalidRequest = "invalid_request"
	KindMethodNotFound = "method_not_found"
	KindInvalidParams  = "invalid_params"
	KindInternal       = "internal_error"
	KindPoolEmpty      = "pool_empty"
	KindUnknownPool    = "unknown_pool"
	KindBuildFailed    = "build_failed"
	KindUnknownEnv     = "unknown_env"
	KindShuttingDown   = "shutting_down"
	KindOverloaded     = "overloaded"
	KindPoolOff        = "pool_off"
	KindNoProject      = "no_project"
	KindCancelled      = "request_cancelled"

	KindUnreachable = "unreachable"
	KindUntrusted   = "untrusted"
	KindTimeout     = "timeout"
	KindClosed      = "closed"
	KindProtocol    = "protocol"
)

// Codes are those of JSON-RPC 2.0 (section 5.1), the daemon's own, and the Language Server Protocol's for a
// cancelled request.
var Codes = map[string]int{
	KindParseError:     -32700,
	KindInvalidRequest: -32600,
	KindMethodNotFound: -32601,
	KindInvalidParams:  -32602,
	KindInternal:       -32603,
	KindPoolEmpty:      -32001,
	KindUnknownPool:    -32002,
	KindBuildFailed:    -32003,
	KindUnknownEnv:     -32004,
	KindShuttingDown:   -32005,
	KindOverloaded:     -32006,
	KindPoolOff:        -32007,
	KindNoProject:      -32008,
	KindCancelled:      -32800,
}

// Error is an error on the wire. The message is one lower-case sentence, the hint the next step to take.
// A client's own errors have code 0.
type Error struct {
	Code    int       `json:"code"`
	Message string    `json:"message"`
	Data    ErrorData `json:"data"`
}

// ErrorData is the rest of an error. docs/protocol.md says which members a kind has.
type ErrorData struct {
	Kind        string   `json:"kind"`
	Hint        string   `json:"hint,omitempty"`
	Param       string   `json:"param,omitempty"`
	WaitedMS    *int64   `json:"waited_ms,omitempty"`
	Warming     *int     `json:"warming,omitempty"`
	Pools       []string `json:"pools,omitempty"`
	Cause       string   `json:"cause,omitempty"`
	Package     string   `json:"package,omitempty"`
	Output      string   `json:"output,omitempty"`
	NextRetryMS *int64   `json:"next_retry_ms,omitempty"`
}

func (e *Error) Error() string { return e.Message }

// Errorf returns an error of a kind, with its code.
func Errorf(kind, format string, args ...any) *Error {
	return &Error{Code: Codes[kind], Message: fmt.Sprintf(format, args...), Data: ErrorData{Kind: kind}}
}

// WithHint adds the next step.
func (e *Error) WithHint(format string, args ...any) *Error {
	e.Data.Hint = fmt.Sprintf(format, args...)
	return e
}

// KindOf is the kind of err, or "" if it is not an [Error].
func KindOf(err error) string {
	var e *Error
	if errors.As(err, &e) {
		return e.Data.Kind
	}
	return ""
}
