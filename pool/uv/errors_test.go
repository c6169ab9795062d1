package uv

import (
	"errors"
	"fmt"
	"strings"
	"syscall"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
)

func TestTheCauseOfAFailureIsReadFromWhatTheToolSays(t *testing.T) {
	for _, c := range []struct{ output, cause, pkg, message string }{
		{
			"error: No solution found when resolving dependencies\n  cause: Because ipykernell-zzz was not found in " +
				"the package registry and you require ipykernell-zzz, we can conclude that your requirements are " +
				"unsatisfiable.",
			builder.CausePackageNotFound, "ipykernell-zzz", "the package ipykernell-zzz is not in the index",
		},
		{
			"error: No solution found when resolving dependencies\n  cause: Because you require ipykernel==7.1 and " +
				"ipykernel<6, we can conclude that your " +
				"requirements are unsatisfiable.",
			builder.CauseUnsatisfiable, "", "the packages cannot be installed together",
		},
		{
			"error: No solution found when resolving dependencies\n  cause: Because there is no version of " +
				"ipykernel==99 and you require ipykernel==99, we can conclude that your " +
				"requirements are unsatisfiable.",
			builder.CauseUnsatisfiable, "", "",
		},
		{
			"error: No solution found when resolving dependencies\n  cause: Because six was not found in the cache " +
				"and you require six==1.17.0, we can conclude that your requirements are unsatisfiable.\n\nhint: " +
				"Packages were unavailable because the network was disabled.",
			builder.CauseNetwork, "", "the package index cannot be reached",
		},
		{
			"error: Failed to download `six==1.17.0`\n  cause: Network connectivity is disabled, but the requested " +
				"data wasn't found in the cache: https://host/six.whl",
			builder.CauseNetwork, "", "",
		},
		{
			"error: Request failed after 3 retries in 7.2s\n  cause: Failed to fetch: " +
				"https://nope.invalid/simple/six/\n  cause: dns error\n  cause: failed to lookup address " +
				"information: Name or service not known",
			builder.CauseNetwork, "", "",
		},
		{"error: Failed to fetch: http://host/simple/six/\n  cause: tcp connect error\n  cause: Connection refused " +
			"(os error 111)", builder.CauseNetwork, "", ""},
		{"error: Failed to fetch: http://host/simple/six/\n  cause: HTTP status server error (500 Internal Server " +
			"Error) for url (http://host/)", builder.CauseNetwork, "", ""},
		{
			"error: No solution found when resolving dependencies\n  cause: Because six was not found in the " +
				"package registry and you require six, we can conclude that your requirements are unsatisfiable.\n\n" +
				"hint: An index URL (http://host/simple) could not be queried due to a lack of valid authentication " +
				"credentials (401 Unauthorized)",
			builder.CauseAuth, "", "the package index refused access",
		},
		{"hint: An index (http://host/simple) returned a 403 Forbidden error. Check that the index URL is correct " +
			"and the credentials are valid.", builder.CauseAuth, "", ""},
		{"error: Failed to download `six==1.17.0`\n  cause: Hash mismatch for `six==1.17.0`\n\n  Expected:\n    " +
			"sha256:00", builder.CauseCorrupt, "", "a downloaded file is damaged"},
		{"ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.", builder.CauseCorrupt, "", ""},
		{"error: failed to write to file `/x/y`: No space left on device (os error 28)", builder.CauseDiskFull, "",
			"the disk is full"},
		{"error: Failed to create virtual environment\n  cause: failed to create directory `ro/v`: Read-only file " +
			"system (os error 30)", builder.CausePermission, "", "a file cannot be written"},
		{"error: failed to open file `/x/.lock`: Permission denied (os error 13)", builder.CausePermission, "", ""},
		{"error: No interpreter found at path `/usr/bin/python3.99`", builder.CausePythonMissing, "",
			"no suitable Python was found"},
		{"error: Failed to inspect Python interpreter from first executable in the search path at `/x/python3.6`",
			builder.CausePythonMissing, "", ""},
		{"error: Failed to build `pycrypto==2.6.1`\n  cause: The build backend returned an error\n\n  src/x.c: " +
			"error: Permission denied", builder.CauseSourceBuild, "pycrypto",
			"the package pycrypto cannot be built from its source here"},
		{"error: Couldn't parse requirement in `requirements.in` at position 0\n  cause: Expected one of `@`",
			builder.CauseOther, "", "one of the packages is written in a way that uv cannot read"},
		{"WARNING: Retrying after connection broken by 'NewConnectionError: Connection refused'\nERROR: No matching " +
			"distribution found for uv==0.13.9", builder.CauseNetwork, "", ""},
		{"ERROR: No matching distribution found for uv==0.13.9", builder.CausePackageNotFound, "uv", ""},
		{
			"error: Failed to fetch: `https://host/simple/six/`\n  cause: error sending request for url " +
				"(https://host/simple/six/)\n  cause: client error (Connect)\n  cause: tcp open error\n  cause: Too " +
				"many open files (os error 24)",
			builder.CauseOther, "", "too many files are open",
		},
		{"error: Failed to download `six==1.17.0`\n  cause: failed to create directory `/tmp/x`: No space left on " +
			"device (os error 28)", builder.CauseDiskFull, "", ""},
		{"error: Failed to download `six==1.17.0`\n  cause: failed to create directory `/x`: Permission denied (os " +
			"error 13)", builder.CausePermission, "", ""},
		{"error: Failed to fetch: `https://host/`\n  cause: tcp connect error\n" +
			"  cause: Permission denied (os error 13)",
			builder.CauseNetwork, "", ""},
		{"error: failed to open file `/x/" + strings.Repeat("y", 300) + "`: File name too long (os error 36)",
			builder.CauseOther, "", "a path is too long for this system"},
		{"memory allocation of 8192 bytes failed", builder.CauseOther, "", "there is too little memory"},
		{"error: Cannot allocate memory (os error 12)", builder.CauseOther, "", "there is too little memory"},
		{"error: failed to read `/x`: Input/output error (os error 5)", builder.CauseOther, "",
			"a disk reports an error"},
		{
			"error: Failed to fetch: `https://host/simple/`\n  cause: client error (Connect)\n  cause: invalid peer " +
				"certificate: UnknownIssuer",
			builder.CauseCertificate, "", "the certificate of the package index is not trusted here",
		},
		{"Could not fetch URL https://host/simple/uv/: There was a problem confirming the ssl certificate: " +
			"HTTPSConnectionPool(host='host', port=443): Max retries exceeded with url: /simple/uv/ (Caused by " +
			"SSLError(SSLCertVerificationError(1, '[SSL: CERTIFICATE_VERIFY_FAILED] certificate verify failed: " +
			"unable to get local issuer certificate (_ssl.c:1006)'))) - skipping\n" +
			"ERROR: Could not find a version that satisfies the requirement uv==0.13.9 (from versions: none)\n" +
			"ERROR: No matching distribution found for uv==0.13.9",
			builder.CauseCertificate, "", "the certificate of the package index is not trusted here"},
		{"error: Failed to download and build `x @ git+https://host/x`\n  cause: Git operation failed\n  cause: " +
			"process didn't exit successfully: `git fetch` (exit status: 128)\n--- stderr\nfatal: unable to access " +
			"'https://host/x/': server certificate verification failed. CAfile: none CRLfile: none",
			builder.CauseCertificate, "", "the certificate of a repository is not accepted here"},
		{"error: Failed to build `evil==1.0`\n  cause: The build backend returned an error\n  cause: Call to " +
			"`setuptools.build_meta.get_requires_for_build_wheel` failed (exit status: 1)\n\n  [stderr]\n  " +
			"a self-signed certificate is made\n  error: no Fortran compiler",
			builder.CauseSourceBuild, "evil", "the package evil cannot be built from its source here"},
		{"error: Failed to build `x==1.0`\n  cause: Failed to resolve requirements from `build-system.requires`\n" +
			"  cause: Failed to fetch: `https://host/simple/`\n  cause: invalid peer certificate: UnknownIssuer",
			builder.CauseCertificate, "", "the certificate of the package index is not trusted here"},
		{"error: Failed to fetch: `https://host/`\n  cause: HTTP status client error (407 Proxy Authentication " +
			"Required)", builder.CauseAuth, "", "the proxy refused access"},
		{"error: Failed to download `six`\n  cause: HTTP status client error (404 Not Found) for url " +
			"(https://host/six.whl)", builder.CauseNetwork, "", "the package index does not have what it lists"},
		{"error: Failed to fetch: `https://host/`\n  cause: HTTP status client error (429 Too Many Requests)",
			builder.CauseNetwork, "", "the package index refuses more requests for now"},
		{"error: Failed to fetch: `https://host/`\n  cause: HTTP status server error (503 Service Unavailable)",
			builder.CauseNetwork, "", "the package index has a fault of its own"},
		{"error: Failed to fetch: `https://host/`\n  cause: dns error", builder.CauseNetwork, "",
			"the package index cannot be reached: its name is not known here"},
		{"error: Failed to fetch: `http://host/`\n  cause: tcp connect error\n  cause: Connection refused (os error " +
			"111)", builder.CauseNetwork, "", "the package index cannot be reached: nobody listens there"},
		{"error: it is Monday", builder.CauseOther, "", "uv pip sync ended with exit status 2"},
		{"", builder.CauseOther, "", "uv pip sync ended with exit status 2 and said nothing"},
	} {
		b := (&Builder{}).CommandError("pip sync", c.output, testkit.ExitWith(t, "exit 2"))
		if b.Cause != c.cause || b.Package != c.pkg || c.message != "" && b.Message != c.message || b.Hint == "" ||
			b.Output != c.output {
			t.Errorf("%s\n%+v", c.output, b)
		}
	}
	killed := testkit.ExitWith(t, "kill -KILL $$")
	for _, c := range []struct {
		output  string
		err     error
		message string
	}{
		{"", killed, "uv venv ended with signal: killed and said nothing"},
		{"Retrying: Connection refused", killed, "uv venv ended with signal: killed"},
		{"", fmt.Errorf("fork/exec /x: %w", syscall.E2BIG),
			"a command line with its environment is too long for this system"},
		{"", fmt.Errorf("fork/exec /x: %w", syscall.EMFILE), "too many files are open"},
		{"", errors.New("exec format error"), "uv venv cannot be run: exec format error"},
	} {
		b := (&Builder{}).CommandError("venv", c.output, c.err)
		if b.Cause != builder.CauseOther || b.Message != c.message ||
			errors.Is(c.err, killed) && !strings.Contains(b.Hint, "memory") {
			t.Errorf("%+v", b)
		}
	}
}
