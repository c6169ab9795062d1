package builder

import (
	"fmt"
	"os"
	"path/filepath"
)

// CertificateSymptoms are what tools print if they do not accept the certificate of a server, such as "the package
// index". One whose authority is not known has no hint yet: how to vouch for it depends on the tool; see Vouch.
func CertificateSymptoms(of string) Symptoms {
	when := func(say, hint string, patterns ...string) Symptom {
		return When(CauseCertificate, "the certificate of "+of+" "+say, hint, patterns...)
	}
	return Symptoms{
		when("has expired, or this machine's clock is wrong", "set the clock; else whoever runs it must renew it",
			`(?i)certificate (?:has )?expired|peer certificate: Expired`),
		when("is not valid yet, or this machine's clock is wrong",
			"set the clock; else whoever runs it must replace it",
			`(?i)certificate (?:is )?not (?:yet valid|valid yet)|peer certificate: NotValidYet`),
		when("is for another name", "correct the URL; else whoever runs it must get one for that name",
			`(?i)certificate (?:is )?not valid for (?:name )?["']|mismatch, certificate|NotValidForName`,
			`(?i:certificate subject name|certificate did not match expected hostname)`),
		when("is not one for a server", "whoever runs it must give it one for servers that is not an authority's own",
			`CaUsedAsEndEntity|extended key usage|EkuError|InvalidPurpose|(?i:unsuitable certificate purpose)`),
		when("is not trusted here", "", `peer certificate: UnknownIssuer|(?i:self[- ]signed certificate|unable to get `+
			`(?:local )?issuer certificate)|CERT_TRUST_IS_|server certificate verification failed`,
			`Could not find a suitable TLS CA certificate bundle`), // the file that it was told to trust is not there
		when("is not accepted", "the tool's output says why; whoever runs it may have to replace it",
			`invalid peer certificate|CERTIFICATE_VERIFY_FAILED|(?i:certificate verify failed|SSL certificate problem)`,
			`SSL peer certificate`),
	}
}

// Vouch gives a failure the hint that its certificate lacks: how to have an authority trusted with a file that the
// variable or setting name names already, if it does. or is another way, after a semicolon.
func (e *Error) Vouch(name, file, or string) *Error {
	if e.Cause != CauseCertificate || e.Hint != "" {
		return e
	}
	const certificate = "the certificate of the authority that signed it"
	switch _, err := os.Stat(file); {
	case !filepath.IsAbs(file): // tools run in a folder of ours
		e.Hint = fmt.Sprintf("where the daemon is started (for a service %s), set %s to the path of a file with "+
			"%s, and: runt daemon restart", setForService, name, certificate)
	case os.IsNotExist(err):
		e.Hint = fmt.Sprintf("%s names %s, which is not there: put %s there", name, file, certificate) + AndFlush
	default:
		e.Hint = fmt.Sprintf("add %s to %s, which %s names", certificate, file, name) + AndFlush
	}
	e.Hint += or
	return e
}

// AndFlush ends the hint of a failure that nothing but a person can have tried again soon.
const AndFlush = ", and: runt pool flush"

// CertFile is the variable by which most tools are told whom to trust.
const CertFile = "SSL_CERT_FILE"

// Unreachable reports whether the package index or the channels could not be asked.
func Unreachable(err error) bool {
	c := CauseOf(err)
	return c == CauseNetwork || c == CauseCertificate
}

// Withheld reports whether the package index or the channels could not be asked, or refused access. What was had from
// them before may still do.
func Withheld(err error) bool { return Unreachable(err) || CauseOf(err) == CauseAuth }
