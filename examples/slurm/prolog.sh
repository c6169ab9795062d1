#!/bin/sh
# A Prolog of Slurm. slurmd runs it as root before a job's first step, outside of the job. It has the daemon of the job's
# user run, so that the daemon does not end with the job, and the next job finds its environments ready.
#
# Only a user who has used runt on this node, or has the folder ~/.config/runt, gets a daemon. It ends by itself once
# nobody has needed it for idle_exit. A Prolog that fails would drain the node, so this one never does: the job then
# starts a daemon of its own, if it needs one. It must take less time than MessageTimeout, which is 10 s.
runt=/usr/bin/runt
try='for dir in ~/.config/runt ~/.cache/runt "/var/tmp/runt-$(id -u)"; do
    if test -d "$dir"; then exec "$0" daemon start --auto; fi
done'

cd / || exit 0
timeout 8 setpriv --reuid="$SLURM_JOB_UID" --regid="$(id -g "$SLURM_JOB_UID")" --init-groups --reset-env \
    sh -c "$try" "$runt" </dev/null >/dev/null 2>&1
exit 0
