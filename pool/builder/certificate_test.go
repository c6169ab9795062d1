package builder

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// What rustls (uv, rattler), OpenSSL (pip, conda), curl (micromamba, mamba) and GnuTLS (git) print.
func TestWhyACertificateIsNotAcceptedIsTold(t *testing.T) {
	for say, texts := range map[string][]string{
		"is not trusted here": {
			"invalid peer certificate: UnknownIssuer",
			"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate",
			"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: self signed certificate",
			"certificate verify failed: self-signed certificate in certificate chain",
			"Download error (60) SSL certificate problem: unable to get local issuer certificate",
			"schannel: CertGetCertificateChain trust error CERT_TRUST_IS_UNTRUSTED_ROOT",
			"fatal: unable to access 'https://h/': server certificate verification failed. CAfile: none CRLfile: none",
			"OSError: Could not find a suitable TLS CA certificate bundle, invalid path: /gone.pem",
		},
		"has expired, or this machine's clock is wrong": {
			"invalid peer certificate: certificate expired: verification time 1796052549 (UNIX), but certificate is …",
			"invalid peer certificate: Expired",
			"certificate verify failed: certificate has expired (_ssl.c:1006)",
		},
		"is not valid yet, or this machine's clock is wrong": {
			"invalid peer certificate: certificate not valid yet: verification time 1796052549 (UNIX)",
			"certificate verify failed: certificate is not yet valid",
		},
		"is for another name": {
			`invalid peer certificate: certificate not valid for name "127.0.0.1"; certificate is only valid for …`,
			"invalid peer certificate: NotValidForName",
			"certificate verify failed: IP address mismatch, certificate is not valid for '127.0.0.1'",
			"WARNING: Certificate did not match expected hostname: h. Certificate: {'subject': (",
			"certificate verify failed: Hostname mismatch, certificate is not valid for 'h'",
			"Download error (60) SSL: no alternative certificate subject name matches target host name 'h'",
		},
		"is not one for a server": {
			"invalid peer certificate: Other(OtherError(CaUsedAsEndEntity))",
			"invalid peer certificate: certificate does not allow extended key usage for server authentication, allows",
			"invalid peer certificate: Other(OtherError(EkuError))",
			"certificate verify failed: unsuitable certificate purpose",
		},
		"is not accepted": {
			"invalid peer certificate: Revoked",
			"[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: Missing Authority Key Identifier",
			"Download error (60) SSL peer certificate or SSH remote key was not OK [https://h/noarch/repodata.json]",
		},
		"": {
			"received fatal alert: CertificateRequired",
			"tls handshake eof",
			"received corrupt message of type InvalidContentType",
			"The package certifi was not found; certificate-tool has expired",
		},
	} {
		for _, text := range texts {
			b := CertificateSymptoms("the index").Find(text)
			if say == "" && b == nil {
				continue
			}
			if b == nil || b.Cause != CauseCertificate || b.Message != "the certificate of the index "+say ||
				(b.Hint == "") != (say == "is not trusted here") {
				t.Errorf("%s: %+v", text, b)
			}
		}
	}
}

func TestTheHintForACertificateIsForWhatIsSet(t *testing.T) {
	file := filepath.Join(t.TempDir(), "ca.pem")
	said := func(file string) string {
		b := CertificateSymptoms("the index").Find("invalid peer certificate: UnknownIssuer")
		return b.Vouch(CertFile, file, "; or else").Hint
	}
	const of = "the certificate of the authority that signed it"
	for _, none := range []string{"", "certificate.go"} {
		if got := said(none); got != "where the daemon is started (for a service "+setForService+"), set "+
			"SSL_CERT_FILE to the path of a file with "+of+", and: runt daemon restart; or else" {
			t.Errorf("%s: %s", none, got)
		}
	}
	if got := said(file); got != "SSL_CERT_FILE names "+file+", which is not there: put "+of+
		" there, and: runt pool flush; or else" {
		t.Error(got)
	}
	if err := os.WriteFile(file, nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if got := said(file); got != "add "+of+" to "+file+", which SSL_CERT_FILE names, and: runt pool flush; or else" {
		t.Error(got)
	}
	hint := said(file)
	if got := (&Error{Cause: CauseCertificate, Hint: hint}).ForNeeds(false).Hint; strings.Contains(got, "flush") ||
		!strings.Contains(got, ", and ask again") {
		t.Error(got)
	}
	for _, b := range []Error{{Cause: CauseCertificate, Hint: "known"}, {Cause: CauseNetwork}} {
		if got := b; got.Vouch(CertFile, "", "") == nil || got != b {
			t.Errorf("%+v", got)
		}
	}
}

func TestACertificateIsNotTriedAgainWithinAMinute(t *testing.T) {
	for range 1000 {
		if p := Pause(CauseCertificate, 1); p < 60*1e9 {
			t.Fatal(p)
		}
	}
}
