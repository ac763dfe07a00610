#!/bin/bash
# Debian's Slurm and munge, for tests/slurm: installed when they are missing. Their services stay off.
set -euo pipefail

have() {
  PATH="$PATH:/usr/sbin:/sbin" command -v munged slurmctld slurmd sbatch squeue >/dev/null
}

have && exit 0
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "error: Slurm is not installed: sudo apt-get install slurm-wlm munge" >&2
  exit 1
fi
echo "tests/slurm: apt-get install slurm-wlm munge"
# A package's daemon starts when it is installed, unless a policy says no.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge; } \
  >/dev/null
have || {
  echo "error: Slurm's programs are still missing: apt-get install slurm-wlm munge" >&2
  exit 1
}
