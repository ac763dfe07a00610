# One cell as a small table, whether or not a table of the study holds it.
rule cell:
    input:
        episodes=STUDY.cell_episodes,
        capability=STUDY.cell_capability,
        auxiliary=STUDY.cell_auxiliary,
    output:
        csv=f"{STUDY.root}/cells/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}.csv",
        md=f"{STUDY.root}/cells/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}.md",
        tex=f"{STUDY.root}/cells/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}.tex",
    log:
        f"{STUDY.root}/logs/cells/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/cells/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}.tsv"
    wildcard_constraints:
        vlm="|".join(map(re.escape, STUDY.policies())),
    priority: 30
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(30),
    params:
        settings=STUDY.cell_settings,
    message:
        "cell: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, {wildcards.variant}, {wildcards.benchmark}"
    shell:
        "exec vlm4vla cell --settings {params.settings:q} --episodes {input.episodes:q}"
        " --capability {input.capability:q} --auxiliary {input.auxiliary:q}"
        " --output {output.csv:q} > {log:q} 2>&1"
