# How well a backbone does lmms-eval's tasks: run in its own environment, or read from a result file.
rule capability:
    input:
        backbone=STUDY.vlm_path,
        results=STUDY.lmms_eval_results,
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
        mem_mb=2500,
    params:
        backbone=subpath(input.backbone, parent=True),
        settings=STUDY.lmms_eval_settings,
    message:
        "capability: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, by lmms-eval"
    shell:
        "exec vlm4vla capability-lmms-eval --settings {params.settings:q}"
        " --backbone {params.backbone:q} --output {output:q} > {log:q} 2>&1"
