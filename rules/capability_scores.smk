# A published question score of a backbone. The settings hold the backbone's lines of the user's CSV.
rule capability:
    output:
        LAYOUT.output("capability"),
    log:
        LAYOUT.log("capability"),
    benchmark:
        LAYOUT.benchmark("capability")
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
