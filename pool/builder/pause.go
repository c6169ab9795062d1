package builder

import (
	"math/rand/v2"
	"time"
)

const (
	// The pauses after a failure double from Min to Max; a network comes back sooner than a mistake is fixed.
	backoffMin = 30 * time.Second
	backoffMax = 5 * time.Minute
	networkMin = 10 * time.Second
	networkMax = time.Minute
	// As a rule a person has a certificate accepted, and can say when; a clock is set and a portal passed without a
	// word. See Pause for the tenth beyond a minute.
	certificatePause = 70 * time.Second
)

// Pause is how long to wait after the nth failure in a row, for that cause.
func Pause(cause string, n int) time.Duration {
	least, most := backoffMin, backoffMax
	switch cause {
	case CauseNetwork:
		least, most = networkMin, networkMax
	case CauseCertificate:
		least, most = certificatePause, certificatePause
	}
	d := min(most, least<<min(n-1, 10))
	return d*9/10 + rand.N(d/5) // a tenth either way, so that many daemons do not try at once
}
