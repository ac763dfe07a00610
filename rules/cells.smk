# One cell as a small table of its own. The cell need not be part of another table.
rule cell:
    input:
        episodes=STUDY.cell_episodes,
        capability=STUDY.cell_capability,
        auxiliary=STUDY.cell_auxiliary,
    output:
        csv=LAYOUT.output("cell", format="csv"),
        md=LAYOUT.output("cell", format="md"),
        tex=LAYOUT.output("cell", format="tex"),
    log:
        LAYOUT.log("cell"),
    benchmark:
        LAYOUT.benchmark("cell")
    wildcard_constraints:
        vlm=any_of(STUDY.policies()),
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
