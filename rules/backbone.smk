# A vision-language model as a Hugging Face folder: a tiny model that is pre-trained here, or a checkpoint.
rule backbone:
    input:
        questions=STUDY.backbone_questions,
    output:
        LAYOUT.output("backbone"),
    log:
        LAYOUT.log("backbone"),
    benchmark:
        LAYOUT.benchmark("backbone")
    priority: 90
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(120),
    params:
        folder=subpath(output[0], parent=True),
        options=STUDY.backbone_options,
        settings=STUDY.backbone_settings,
    message:
        "backbone: {wildcards.vlm}"
    shell:
        "exec vlm4vla backbone --settings {params.settings:q} {params.options:q}"
        " --output {params.folder:q} > {log:q} 2>&1"
