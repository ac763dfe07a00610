# How well a backbone answers held-out questions.
rule capability:
    input:
        backbone=STUDY.vlm_path,
        questions=rules.questions.output[0],
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
        mem_mb=scaled(2500),
        runtime=scaled(60),
        gpu=NEEDS.of_inference("gpu"),
    params:
        backbone=subpath(input.backbone, parent=True),
        questions=subpath(input.questions, parent=True),
        settings=STUDY.capability_settings(),
    message:
        "capability: {wildcards.vlm}, auxiliary {wildcards.auxiliary}"
    shell:
        "exec vlm4vla capability --settings {params.settings:q} --backbone {params.backbone:q}"
        " --questions {params.questions:q} --output {output:q} > {log:q} 2>&1"
