# A backbone's score on tasks of lmms-eval, which runs in its own environment, or from a result file of lmms-eval.
rule capability:
    input:
        backbone=STUDY.vlm_path,
        results=STUDY.lmms_eval_results,
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
        mem_mb=2500,
    params:
        backbone=subpath(input.backbone, parent=True),
        settings=STUDY.lmms_eval_settings,
    message:
        "capability: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, by lmms-eval"
    shell:
        "exec vlm4vla capability-lmms-eval --settings {params.settings:q}"
        " --backbone {params.backbone:q} --output {output:q} > {log:q} 2>&1"
