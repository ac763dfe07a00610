#!/bin/bash
# Finding: after a failed job, Snakemake takes the restored old output of the flag `update` for the new one.
# A rule's output has the flag `update`, so that Snakemake does not remove it before the job, and restores it if the
# job fails. At the end of the failed job Snakemake also records the job's metadata, as for a job that succeeded:
# with the new parameters. The next run with these parameters finds a file that is "up to date" and does nothing,
# although the file was made with the old parameters.
#
# Version: snakemake 9.27.1, Python 3.11 to 3.13. Seen, with a rule that writes its parameter and fails for "two":
#
#     run with value=one:                    made, the file holds "one"
#     run with value=two (the job fails):    exit 1, "Restored previous version", the file holds "one"
#     dry run with value=two:                "Nothing to be done"
#     dry run without the flag `update`:     the job would run again (its file is gone)
#
# A workflow that uses the flag to protect finished results from failing reruns reports old results as those of the
# new configuration. Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3}" -m venv venv
venv/bin/python -m pip install --quiet snakemake==9.27.1
export PATH="$folder/venv/bin:$PATH"

for flag in update plain; do
  mkdir "$flag"
  cat >"$flag/Snakefile" <<END
plain = str
rule make:
    output:
        $flag("made.txt"),
    params:
        value=config["value"],
    shell:
        "test {params.value} != two && echo {params.value} > {output}"
END
  cd "$flag"
  snakemake --cores 1 --config value=one >log.txt 2>&1
  if snakemake --cores 1 --config value=two >log.txt 2>&1; then
    echo "changed: the job with the value two does not fail"
    exit 1
  fi
  content=$(cat made.txt 2>/dev/null || echo gone)
  snakemake --dry-run --cores 1 --config value=two >plan.txt 2>&1
  planned=$(grep -c "Nothing to be done" plan.txt || true)
  echo "$flag: after the failed job the file holds: $content; dry run says nothing to be done: $planned"
  results="${results:-} $content/$planned"
  cd ..
done

test "$results" = " one/1 gone/0" || {
  echo "changed: expected one/1 with update and gone/0 without it"
  exit 1
}
