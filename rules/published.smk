# The analysis of the paper's own numbers. It needs no training and no rollout.
rule published:
    input:
        published=STUDY.published_sources(),
        scores=STUDY.published_scores(),
    output:
        STUDY.published_study(),
    log:
        STUDY.published_layout.log("published"),
    benchmark:
        STUDY.published_layout.benchmark("published")
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=scaled(30),
    params:
        folder=subpath(output[0], ancestor=2),
        published=subpath(input[0], parent=True),
    message:
        "published: the paper's numbers"
    shell:
        "exec vlm4vla published --published {params.published:q} --scores {input.scores:q}"
        " --output {params.folder:q} > {log:q} 2>&1"
