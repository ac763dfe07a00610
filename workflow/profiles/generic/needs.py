"""Print the resources that a job script of Snakemake requests, as shell assignments.

The script has a line `# properties = {...}` with JSON. Runs with any Python 3 on the machine that submits.
"""

import json
import shlex
import sys


def needs(lines):
    """The name and the resources of the job in `lines`: memory in MB, time in minutes.

    `gpus` and `model` are empty for a job without a GPU.
    """
    line = next(line for line in lines if line.startswith("# properties = "))
    job = json.loads(line[len("# properties = ") :])
    resources = job["resources"]
    gpus = resources.get("gpu") or ""
    return {
        "name": "vlm4vla-" + job["rule"],
        "cores": job["threads"],
        "memory": resources["mem_mb"],
        "minutes": resources["runtime"],
        "gpus": gpus,
        "model": resources.get("gpu_model", "") if gpus else "",
    }


if __name__ == "__main__":
    with open(sys.argv[1]) as script:
        for key, value in needs(script).items():
            print(f"{key}={shlex.quote(str(value))}")
