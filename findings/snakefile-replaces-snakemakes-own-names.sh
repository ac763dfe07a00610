#!/bin/bash
# Finding: Snakemake runs a Snakefile in the globals of its own module `snakemake.workflow`. A class or function
# that a Snakefile defines or imports replaces Snakemake's own object of the same name, for all of Snakemake.
#
# Version: snakemake 9.27.1, Python 3.11. A Snakefile that defines a class `Resources` is read without complaint.
# The first rule with `resources:` then fails, because Snakemake calls `Resources.from_mapping` on that class:
#
#     AttributeError in file ".../Snakefile", line 4:
#     type object 'Resources' has no attribute 'from_mapping'
#
# The message names the line of the rule, not the line of the class. The same Snakefile with the class called
# `JobResources` plans its job. Exits non-zero if one of the two behaves differently.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet snakemake==9.27.1

write() {
  cat >Snakefile <<END
class $1:
    """A class of the workflow's own."""

rule one:
    output: "one.txt"
    resources: mem_mb=10
    shell: "echo 1 > {output}"
END
}

write Resources
if venv/bin/snakemake --dry-run one.txt >first.txt 2>&1; then
  echo "changed: a class called Resources no longer breaks the rule" >&2
  exit 1
fi
grep -q "type object 'Resources' has no attribute 'from_mapping'" first.txt || {
  echo "changed: another message:" >&2
  cat first.txt >&2
  exit 1
}
write JobResources
venv/bin/snakemake --dry-run one.txt >second.txt 2>&1 || {
  echo "changed: the control fails as well:" >&2
  cat second.txt >&2
  exit 1
}
echo "snakemake $(venv/bin/snakemake --version): a Snakefile's class Resources replaces Snakemake's own"
