package pool

import "regexp"

var (
	urlSecret = regexp.MustCompile(`(:/{1,3})[^/\s]+@`)                // uv writes one slash where it takes a URL for a path
	urlToken  = regexp.MustCompile(`(https?://[^\s"']*?/t/)[^/\s"']+`) // where conda channels have theirs
	urlQuery  = regexp.MustCompile(`(?i)([?&](?:[\w.-]*(?:token|secret|passw(?:or)?d|api_?key|signature|credential)[\w.-]*|sig|key|auth)=)[^&#\s"'()]+`)
)

// Redact takes what gives access out of the URLs in a text, as for a log: user names and passwords, the tokens of conda channels, and
// tokens and signatures in a query.
func Redact(text string) string { return redact(text) }

func redact(text string) string {
	text = urlSecret.ReplaceAllString(text, "${1}***@")
	text = urlToken.ReplaceAllString(text, "${1}***")
	return urlQuery.ReplaceAllString(text, "${1}***")
}

func redactAll(texts []string) []string {
	shown := make([]string, 0, len(texts))
	for _, t := range texts {
		shown = append(shown, redact(t))
	}
	return shown
}
