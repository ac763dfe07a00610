#!/bin/bash
# Install Debian's Slurm and munge for tests/slurm if they are missing. Their services are not started.
set -euo pipefail

is_installed() {
  PATH="$PATH:/usr/sbin:/sbin" command -v munged slurmctld slurmd sbatch squeue >/dev/null
}

is_installed && exit 0
if [[ $(id -u) != 0 ]] || ! command -v apt-get >/dev/null; then
  echo "error: Slurm is not installed: run sudo apt-get install slurm-wlm munge" >&2
  exit 1
fi
echo "tests/slurm: apt-get now installs the system packages slurm-wlm and munge"
# This policy stops apt-get from starting the daemons of the packages.
policy=/usr/sbin/policy-rc.d
if [[ ! -e $policy ]]; then
  printf '#!/bin/sh\nexit 101\n' >"$policy"
  chmod +x "$policy"
  trap 'rm -f "$policy"' EXIT
fi
{ apt-get update && DEBIAN_FRONTEND=noninteractive apt-get install -y --no-install-recommends slurm-wlm munge; } \
  >/dev/null
is_installed || {
  echo "error: Slurm's programs are still missing: run sudo apt-get install slurm-wlm munge" >&2
  exit 1
}
