"""Print the manifest of a Kubernetes Job, from its template and a job script of Snakemake.

Runs with Python 3.7 or later on the machine that submits.
"""

import os
import string
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "generic"))
from needs import needs


def manifest(template, script):
    """Fill in the template at the path `template` for the job script at the path `script`."""
    with open(script) as lines:
        job = needs(lines)
    model = f"{{nvidia.com/gpu.product: {job['model']}}}" if job["model"] else "{}"
    return string.Template(Path(template).read_text()).substitute(
        name=job["name"].replace("_", "-"),
        cores=job["cores"],
        memory=job["memory"],
        seconds=60 * job["minutes"],
        gpus=job["gpus"] or 0,
        selector=model,
        folder=os.getcwd(),
        script=os.path.abspath(script),
    )


if __name__ == "__main__":
    print(manifest(sys.argv[1], sys.argv[2]))
