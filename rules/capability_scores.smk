# Question scores that others have published; the lines of their table stand in the settings.
rule capability:
    output:
        f"{STUDY.root}/capability/{{vlm}}/{{auxiliary}}.json",
    log:
        f"{STUDY.root}/logs/capability/{{vlm}}/{{auxiliary}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/capability/{{vlm}}/{{auxiliary}}.tsv"
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=1000,
    params:
        settings=STUDY.scores_settings,
    message:
        "capability: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, from published scores"
    shell:
        "exec vlm4vla capability-scores --settings {params.settings:q} --output {output:q} > {log:q} 2>&1"
