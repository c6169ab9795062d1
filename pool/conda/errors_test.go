package conda

import (
	"errors"
	"io/fs"
	"strings"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/internal/tool"
	"runtimed/pool/builder"
)

// failed is what a child leaves that printed this to its streams.
func failed(stdout, stderr string) tool.Result {
	var both tool.Tail
	_, _ = both.Write([]byte(stderr + stdout))
	return tool.Result{Stdout: []byte(stdout), Output: both.String()}
}

const (
	absent        = "the package samtoolz is not in the channels"
	together      = "the packages cannot be installed together"
	refused       = "a channel refused access"
	notReached    = "a channel cannot be reached"
	damaged       = "a downloaded package is damaged"
	notThere      = "one of the channels is not there"
	solverProblem = "{\n    \"solver_problems\": [\n        \"%s\"\n    ],\n    \"success\": false\n}\n"
)

func TestEveryFailureOfMicromambaIsToldApart(t *testing.T) {
	for _, c := range []struct{ stdout, stderr, cause, pkg, message string }{
		{
			strings.ReplaceAll(solverProblem, "%s", "nothing provides requested samtoolz"),
			"critical libmamba Could not solve for environment specs\n",
			builder.CausePackageNotFound, "samtoolz", absent,
		},
		{
			strings.ReplaceAll(solverProblem, "%s", "nothing provides requested xtl <0.1"), "",
			builder.CausePackageNotFound, "xtl", "the package xtl <0.1 is not in the channels",
		},
		{
			"", "error    libmamba Could not solve for environment specs\n" +
				"    The following package could not be " +
				"installed\n" +
				"    └─ samtoolz =* * does not exist (perhaps a typo or a missing channel).\ncritical libmamba " +
				"Could not solve for environment specs\n",
			builder.CausePackageNotFound, "samtoolz", absent,
		},
		{
			"", "error    libmamba Could not solve for environment specs\n" +
				"    The following packages are incompatible\n" +
				"    ├─ numpy >=99 * does not exist (perhaps a typo or a missing channel);\n    └─ python =3.13 * " +
				"is requested and can be installed.\n",
			builder.CausePackageNotFound, "numpy", "the package numpy >=99 is not in the channels",
		},
		{
			"", "error    libmamba Could not solve for environment specs\n" +
				"    The following package could not be " +
				"installed\n    └─ rt-broken =* * is not installable " +
				"because it requires\n       └─ rt-does-not-exist >=1 *, which does not exist (perhaps a missing " +
				"channel).\n",
			builder.CauseUnsatisfiable, "", together,
		},
		{
			strings.ReplaceAll(solverProblem, "%s", "nothing provides rt-does-not-exist >=1 needed by rt-broken-1.0-0"),
			"",
			builder.CauseUnsatisfiable, "", together,
		},
		{
			strings.ReplaceAll(solverProblem, "%s",
				"package libarrow-12.0.0-0 requires libevent >=2.1, but none of the providers can be installed"), "",
			builder.CauseUnsatisfiable, "", together,
		},
		{"{\n    \"log_records\": [\n        {\n            \"message\": \"Could not solve for environment specs\"\n" +
			"        }\n    ]\n}\n", "", builder.CauseUnsatisfiable, "", together},
		{
			"", "critical libmamba Multiple errors occurred:\n    Download error (6) Couldn't resolve host name " +
				"[https://h/noarch/repodata.json]\n" +
				"    Could not resolve host: h\n    Subdir https://h/noarch not loaded!\n",
			builder.CauseNetwork, "", notReached,
		},
		{"", "critical libmamba Download error (7) Couldn't connect to server [http://h/noarch/repodata.json]\n",
			builder.CauseNetwork, "", notReached},
		{"", "critical libmamba Download error (28) Timeout was reached [http://h/noarch/repodata.json]\n",
			builder.CauseNetwork, "", notReached},
		{"", "critical libmamba Download error (60) SSL peer certificate or SSH remote key was not OK " +
			"[https://h/noarch/repodata.json]\n    SSL certificate problem: unable to get local issuer certificate\n",
			builder.CauseCertificate, "", "the certificate of a channel is not trusted here"},
		{"", "critical libmamba Transfer finalized, status: 503 [http://h/noarch/repodata.json] 0 bytes\n",
			builder.CauseNetwork, "", notReached},
		{"", "critical libmamba Transfer finalized, status: 404 [http://h/noarch/x-1-0.conda] 0 bytes\n",
			builder.CauseNetwork, "", notReached},
		{"", "critical libmamba Transfer finalized, status: 404 [http://h/noarch/repodata.json] 0 bytes\n",
			builder.CauseOther, "", notThere},
		{"", "critical libmamba Transfer finalized, status: 401 [http://h/noarch/repodata.json] 0 bytes\n",
			builder.CauseAuth, "", refused},
		{"", "error    libmamba Failed to download package from http://h/x.conda (status 403)\n", builder.CauseAuth, "",
			refused},
		{
			"", "error    libmamba File not valid: SHA256 doesn't match expectation \"/x/pkgs/x.conda\"\n    " +
				"Expected: 0\n    Actual: 1\n" +
				"critical libmamba Found incorrect downloads. Aborting\n",
			builder.CauseCorrupt, "", damaged,
		},
		{"", "critical libmamba Found incorrect download: pycairo. Aborting\n", builder.CauseCorrupt, "", damaged},
		{
			"", "error    libmamba Error when extracting package: Could not write to '/x': No space left on device\n" +
				"critical libmamba Found incorrect downloads. Aborting\n",
			builder.CauseDiskFull, "", "the disk is full",
		},
		{"", "error    libmamba LockFile can't be set at '/x/pkgs'\ncritical libmamba LockFile error. Aborting.\n",
			builder.CauseTimeout, "", "another process held the package cache for too long"},
		{"", "critical libmamba filesystem error: cannot create directory: Permission denied [/x]\n",
			builder.CausePermission, "", "a file cannot be written"},
		{"", "critical libmamba Error parsing MatchSpec \"numpy>=>2\": Found invalid version predicate\n",
			builder.CauseOther, "", "one of the packages is written in a way that cannot be read"},
		{"", "critical libmamba it is Monday\n", builder.CauseOther, "", "micromamba ended with exit status 1"},
		{"", "", builder.CauseOther, "", "micromamba ended with exit status 1 and said nothing"},
	} {
		b := condaFailure(condaProgram{name: ProviderMicromamba}, failed(c.stdout, c.stderr),
			testkit.ExitWith(t, "exit 1"))
		if b.Cause != c.cause || b.Package != c.pkg || b.Message != c.message || b.Hint == "" ||
			strings.Contains(b.Output, "{\n") {
			t.Errorf("%s%s\n%+v", c.stderr, c.stdout, b)
		}
	}
}

func TestEveryFailureOfCondaIsToldApart(t *testing.T) {
	// of a plugin
	const noise = "Error loading a plugin: 401 Unauthorized\nNoSpaceLeftError: nothing provides requested x\n"
	for _, c := range []struct{ stdout, cause, pkg, message string }{
		{
			`{"exception_name": "PackagesNotFoundInChannelsError", "message": "The following packages are not ` +
				`available from current channels:\n\n  - samtoolz\n\nCurrent channels:\n\n  - https://h\n"}`,
			builder.CausePackageNotFound, "samtoolz", absent,
		},
		{
			`{"error": "PackagesNotFoundError: ...", "exception_name": "PackagesNotFoundError", "message": "...", ` +
				`"packages": ["forge::numpy>=99"]}`,
			builder.CausePackageNotFound, "numpy", "the package numpy>=99 is not in the channels",
		},
		{
			`{"exception_name": "CondaHTTPError", "message": "HTTP 000 CONNECTION FAILED\nOSError: [Errno 24] Too ` +
				`many open files: '/x'"}`,
			builder.CauseOther, "", "too many files are open",
		},
		{
			`{"exception_name": "CondaSSLError", "message": "Encountered an SSL error. [SSL: ` +
				`CERTIFICATE_VERIFY_FAILED] certificate verify failed: unable to get local issuer certificate"}`,
			builder.CauseCertificate, "", "the certificate of a channel is not trusted here",
		},
		{`{"exception_name": "CondaHTTPError", "message": "HTTP 407 Proxy Authentication Required"}`, builder.CauseAuth,
			"", "the proxy refused access"},
		{
			`{"exception_name": "LibMambaUnsatisfiableError", "message": "Encountered problems while solving:\n  - ` +
				`nothing provides rt-does-not-exist >=1 needed by rt-broken-1.0-0\n\nCould not solve for ` +
				`environment specs\n"}`,
			builder.CauseUnsatisfiable, "", together,
		},
		{
			`{"exception_name": "LibMambaUnsatisfiableError", "message": "Encountered problems while solving:\n  - ` +
				`nothing provides requested samtoolz\n"}`,
			builder.CausePackageNotFound, "samtoolz", absent,
		},
		{`{"exception_name": "UnsatisfiableError", "message": "The following specifications were found to be ` +
			`incompatible with each other:"}`, builder.CauseUnsatisfiable, "", together},
		{`{"exception_name": "CondaHTTPError", "message": "HTTP 000 CONNECTION FAILED for url ` +
			`<https://h/noarch/repodata.json>\nElapsed: -\n"}`, builder.CauseNetwork, "", notReached},
		{`{"exception_name": "CondaHTTPError", "message": "HTTP 401 UNAUTHORIZED for url ` +
			`<https://h/noarch/repodata.json>\n", "status_code": 401}`, builder.CauseAuth, "", refused},
		{`{"exception_name": "UnavailableInvalidChannel", "message": "HTTP 404 NOT FOUND for channel forge ` +
			`<https://h/forge>\n"}`, builder.CauseOther, "", notThere},
		{`{"exception_name": "UnavailableInvalidChannel", "message": "HTTP 403 FORBIDDEN for channel forge ` +
			`<https://h/forge>\n"}`, builder.CauseAuth, "", refused},
		{`{"errors": [{"exception_name": "ChecksumMismatchError", "message": "Conda detected a mismatch"}, ` +
			`{"exception_name": "CondaHTTPError", "message": "HTTP 503"}], "error": "Multiple Errors Encountered."}`,
			builder.CauseCorrupt, "", damaged},
		{`{"exception_name": "NoSpaceLeftError", "message": "No space left on devices."}`, builder.CauseDiskFull, "",
			"the disk is full"},
		{`{"exception_name": "OSError", "error": "Traceback ...\nOSError: [Errno 28] No space left on device"}`,
			builder.CauseDiskFull, "", "the disk is full"},
		{`{"exception_name": "NoWritablePkgsDirError", "message": "No writeable pkgs directories configured."}`,
			builder.CausePermission, "", "a file cannot be written"},
		{`{"exception_name": "EnvironmentNotWritableError", "message": "..."}`, builder.CausePermission, "",
			"a file cannot be written"},
		{`{"exception_name": "InvalidMatchSpec", "message": "Invalid spec 'numpy>=>2': ..."}`, builder.CauseOther, "",
			"one of the packages is written in a way that cannot be read"},
		{`{"exception_name": "LockError", "message": "..."}`, builder.CauseTimeout, "",
			"another process held the package cache for too long"},
		{"{\"message\": \"a warning\"}\n{\n  \"exception_name\": \"CondaValueError\",\n  \"message\": \"it is " +
			"Monday\"\n}", builder.CauseOther, "", "conda ended with exit status 1 (CondaValueError)"},
		{`{"exception_name": "CondaHTTPError", "message": ["of another type"]}`, builder.CauseNetwork, "", notReached},
		{"Traceback: no JSON at all", builder.CauseOther, "", "conda ended with exit status 1"},
		{"", builder.CauseOther, "", "conda ended with exit status 1"},
	} {
		b := condaFailure(condaProgram{name: ProviderConda, classic: true}, failed(c.stdout, noise),
			testkit.ExitWith(t, "exit 1"))
		if b.Cause != c.cause || b.Package != c.pkg || b.Message != c.message || b.Hint == "" {
			t.Errorf("%s\n%+v", c.stdout, b)
		}
	}
}

func TestMambaBeforeItsSecondVersionFailsLikeEither(t *testing.T) {
	p := condaProgram{name: ProviderMamba, classic: true}
	for _, done := range []tool.Result{
		failed("", "Encountered problems while solving:\n  - nothing provides requested samtoolz\n"),
		failed(`{"exception_name": "PackagesNotFoundError", "packages": ["samtoolz"]}`, "401 Client Error"),
	} {
		if b := condaFailure(p, done, testkit.ExitWith(t, "exit 1")); b.Cause != builder.CausePackageNotFound ||
			b.Package != "samtoolz" {
			t.Errorf("%+v", b)
		}
	}
	b := condaFailure(p, tool.Result{},
		&fs.PathError{Op: "fork/exec", Path: "/x", Err: errors.New("exec format error")})
	if got := condaSummary(b); got != "tool_missing: mamba cannot be run: fork/exec /x: exec format error" {
		t.Error(got)
	}
}

func TestWhatAToolSaidIsShownWithoutItsAnswerAndSecrets(t *testing.T) {
	for _, c := range []struct {
		p              condaProgram
		stdout, stderr string
		want           string
	}{
		{
			condaProgram{name: ProviderMicromamba}, "{\n    \"success\": false\n}\n",
			"critical libmamba Download error (7) [https://u:p@h/t/tk-1/x]\n",
			"critical libmamba Download error (7) [https://***@h/t/***/x]",
		},
		{
			condaProgram{name: ProviderMicromamba},
			strings.ReplaceAll(solverProblem, "%s", "nothing provides requested x"), "warning\n",
			"warning\nnothing provides requested x",
		},
		{
			condaProgram{name: ProviderConda, classic: true},
			"{\n  \"exception_name\": \"X\",\n  \"message\": \"for https://u:p@h/x\"\n}\n", "a plugin\n",
			"a plugin\nX: for https://***@h/x",
		},
	} {
		if b := condaFailure(c.p, failed(c.stdout, c.stderr), testkit.ExitWith(t, "exit 1")); b.Output != c.want {
			t.Errorf("%q, not %q", b.Output, c.want)
		}
	}
	if got := besides("    \"cut\": 1\n}\nlast"); got != "last" {
		t.Errorf("%q", got)
	}
}
