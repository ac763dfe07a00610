# A backbone's score on held-out questions.
rule capability:
    input:
        backbone=STUDY.vlm_path,
        questions=rules.questions.output[0],
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
        mem_mb=scaled(2500),
        runtime=scaled(60),
        gpu=RESOURCES.for_inference("gpu"),
    params:
        backbone=subpath(input.backbone, parent=True),
        questions=subpath(input.questions, parent=True),
        settings=STUDY.capability_settings(),
    message:
        "capability: {wildcards.vlm}, auxiliary {wildcards.auxiliary}"
    shell:
        "exec vlm4vla capability --settings {params.settings:q} --backbone {params.backbone:q}"
        " --questions {params.questions:q} --output {output:q} > {log:q} 2>&1"
