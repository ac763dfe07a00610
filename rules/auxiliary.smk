# A backbone fine-tuned on an auxiliary task, again a Hugging Face folder, and the pictures and questions for it.
rule auxiliary_data:
    output:
        f"{STUDY.root}/auxiliary_data/{{task}}/provenance.json",
    log:
        f"{STUDY.root}/logs/auxiliary_data/{{task}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/auxiliary_data/{{task}}.tsv"
    priority: 80
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.auxiliary_data_settings,
    message:
        "auxiliary data: {wildcards.task}"
    shell:
        "exec vlm4vla auxiliary-data --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"


rule fast_data:
    input:
        demonstrations=STUDY.fast_demonstrations_path,
    output:
        f"{STUDY.root}/auxiliary_data/fast/provenance.json",
    log:
        f"{STUDY.root}/logs/auxiliary_data/fast.log",
    benchmark:
        f"{STUDY.root}/benchmarks/auxiliary_data/fast.tsv"
    priority: 80
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
    params:
        folder=subpath(output[0], parent=True),
        demonstrations=subpath(input.demonstrations, parent=True),
        settings=STUDY.fast_data_settings,
    message:
        "auxiliary data: FAST tokens"
    shell:
        "exec vlm4vla fast-data --settings {params.settings:q} --demonstrations {params.demonstrations:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule auxiliary:
    input:
        backbone=rules.backbone.output[0],
        data=STUDY.task_data_path,
    output:
        f"{STUDY.root}/auxiliary/{{vlm}}/{{task}}/provenance.json",
    log:
        f"{STUDY.root}/logs/auxiliary/{{vlm}}/{{task}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/auxiliary/{{vlm}}/{{task}}.tsv"
    priority: 70
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(120),
        gpu=NEEDS.of_auxiliary("gpu"),
        nodes=NEEDS.of_auxiliary("nodes"),
        mpi=NEEDS.of_auxiliary("mpi"),
        tasks=NEEDS.of_auxiliary("tasks"),
        tasks_per_gpu=NEEDS.of_auxiliary("tasks_per_gpu"),
    params:
        folder=subpath(output[0], parent=True),
        backbone=subpath(input.backbone, parent=True),
        data=subpath(input.data, parent=True),
        settings=STUDY.auxiliary_settings,
    message:
        "auxiliary: {wildcards.vlm}, {wildcards.task}"
    shell:
        "exec vlm4vla auxiliary --settings {params.settings:q} --backbone {params.backbone:q}"
        " --data {params.data:q} --output {params.folder:q} > {log:q} 2>&1"
