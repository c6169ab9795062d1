package doctor

import (
	"net/http"
	"testing"

	"runtimed/internal/testkit"
	"runtimed/pool/builder"
	"runtimed/pool/conda"
	"runtimed/rpc"
)

func TestOnlyACondaToolThatTrustsWhomThisCheckTrustsIsJudgedByIt(t *testing.T) {
	s := testkit.ServeCertified(t, "authority", http.NotFoundHandler())
	for tool, want := range map[string]string{
		conda.ProviderRattler: rpc.CheckProblem,
		"micromamba":          rpc.CheckSkipped, // its ssl_verify may name the authority
	} {
		e := &Env{conda: func() (foundConda, error) { return foundConda{Tool: builder.Tool{Name: tool}}, nil }}
		if found := askChannel(t.Context(), e, s.URL); found.worst().Status != want {
			t.Errorf("%s: %+v", tool, found)
		}
	}
}
