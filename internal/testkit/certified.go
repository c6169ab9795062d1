package testkit

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"io"
	"log"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"sync/atomic"
	"testing"
	"time"
)

// Certified is a server whose certificate only those trust who have CA.
type Certified struct {
	URL        string
	CA         string // a file with the certificate of the authority
	Handshakes atomic.Int32
}

// Certificates are what may be wrong with a certificate, besides that its authority is not known. Nothing is wrong with
// that of the kind "authority".
var Certificates = map[string]func(*x509.Certificate){
	"authority":   func(*x509.Certificate) {},
	"self-signed": nil,
	"expired": func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(-2*time.Hour), time.Now().Add(-time.Hour)
	},
	"not yet valid": func(c *x509.Certificate) {
		c.NotBefore, c.NotAfter = time.Now().Add(time.Hour), time.Now().Add(2*time.Hour)
	},
	"another name": func(c *x509.Certificate) { c.IPAddresses, c.DNSNames = nil, []string{"other.invalid"} },
}

// CertificateErrors are parts of what is said of each kind, and of the hint, where nothing vouches for one that is
// [Untrusted].
var CertificateErrors = map[string]struct{ Say, Hint string }{
	"authority":     {Untrusted, "set SSL_CERT_FILE to the path of a file"},
	"self-signed":   {Untrusted, "set SSL_CERT_FILE to the path of a file"},
	"expired":       {"has expired", "set the clock"},
	"not yet valid": {"is not valid yet", "set the clock"},
	"another name":  {"is for another name", "correct the URL"},
}

// Untrusted is said of a certificate whose authority is not known.
const Untrusted = "is not trusted here"

// ServeCertified serves h with a certificate of a kind.
func ServeCertified(t testing.TB, kind string, h http.Handler) *Certified {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	Check(t, err)
	serial := int64(0)
	sign := func(c, parent *x509.Certificate) []byte {
		serial++
		c.SerialNumber = big.NewInt(serial)
		der, err := x509.CreateCertificate(rand.Reader, c, parent, &key.PublicKey, key)
		Check(t, err)
		return der
	}
	valid := func() *x509.Certificate { // another of the same name would be tried in its place
		return &x509.Certificate{Subject: pkix.Name{CommonName: rand.Text()}, NotBefore: time.Now().Add(-time.Hour),
			NotAfter: time.Now().Add(time.Hour)}
	}
	root, leaf := valid(), valid()
	root.IsCA, root.BasicConstraintsValid, root.KeyUsage = true, true, x509.KeyUsageCertSign
	leaf.IPAddresses, leaf.ExtKeyUsage = []net.IP{net.IPv4(127, 0, 0, 1)},
		[]x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}
	var trusted, shown []byte
	if change := Certificates[kind]; change != nil {
		change(leaf)
		trusted, shown = sign(root, root), sign(leaf, root)
	} else {
		shown = sign(leaf, leaf)
		trusted = shown
	}
	c := &Certified{CA: filepath.Join(t.TempDir(), "ca.pem")}
	Check(t, os.WriteFile(c.CA, pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: trusted}), 0o600))
	s := httptest.NewUnstartedServer(h)
	s.TLS = &tls.Config{Certificates: []tls.Certificate{{Certificate: [][]byte{shown}, PrivateKey: key}},
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) { c.Handshakes.Add(1); return nil, nil }}
	s.Config.ErrorLog = log.New(io.Discard, "", 0) // that it is not trusted is what a test is about
	s.StartTLS()
	t.Cleanup(s.Close)
	c.URL = s.URL
	return c
}
