package launch

import (
	"fmt"
	"strings"
)

// batchVariables are in the environment of a batch job. A scheduler ends the processes that a job has started, and
// counts what they use. So the kernel of a job starts in the job: it is never a standby, which is the daemon's child.
var batchVariables = []string{
	"SLURM_JOB_ID", "PBS_JOBID", "LSB_JOBID", "FLUX_JOB_ID", "OAR_JOB_ID", "COBALT_JOBID",
}

// BatchJob returns the name of the variable that shows that a process is part of a batch job; empty: it is not.
func BatchJob(env func(string) string) string {
	for _, name := range batchVariables {
		if env(name) != "" {
			return name
		}
	}
	return ""
}

// BatchScript is Python that defines batch_job(variables), which is [BatchJob].
func BatchScript() string {
	return fmt.Sprintf("def batch_job(variables):\n"+
		"    return next((name for name in %q.split() if variables.get(name)), \"\")\n",
		strings.Join(batchVariables, " "))
}
