"""What a job script of Snakemake asks for, as assignments that a shell reads.

Its second line is `# properties = {...}`, JSON. Runs with any Python 3, of the machine that submits.
"""

import json
import shlex
import sys


def needs(lines):
    """Name, cores, memory (MB), minutes, GPUs and their model of the job in `lines`; no GPU: empty words."""
    line = next(line for line in lines if line.startswith("# properties = "))
    job = json.loads(line[len("# properties = ") :])
    asked = job["resources"]
    gpus = asked.get("gpu") or ""
    return {
        "name": "vlm4vla-" + job["rule"],
        "cores": job["threads"],
        "memory": asked["mem_mb"],
        "minutes": asked["runtime"],
        "gpus": gpus,
        "model": asked.get("gpu_model", "") if gpus else "",
    }


if __name__ == "__main__":
    with open(sys.argv[1]) as script:
        for key, value in needs(script).items():
            print(f"{key}={shlex.quote(str(value))}")
