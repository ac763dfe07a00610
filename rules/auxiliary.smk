# The images and questions of the auxiliary tasks, and each backbone after fine-tuning on a task (a Hugging Face
# folder again).
rule auxiliary_data:
    output:
        LAYOUT.output("auxiliary_data"),
    log:
        LAYOUT.log("auxiliary_data"),
    benchmark:
        LAYOUT.benchmark("auxiliary_data")
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
        LAYOUT.output("fast_data"),
    log:
        LAYOUT.log("fast_data"),
    benchmark:
        LAYOUT.benchmark("fast_data")
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
        LAYOUT.output("auxiliary"),
    log:
        LAYOUT.log("auxiliary"),
    benchmark:
        LAYOUT.benchmark("auxiliary")
    priority: 70
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(120),
        gpu=RESOURCES.for_auxiliary("gpu"),
        nodes=RESOURCES.for_auxiliary("nodes"),
        mpi=RESOURCES.for_auxiliary("mpi"),
        tasks=RESOURCES.for_auxiliary("tasks"),
        tasks_per_gpu=RESOURCES.for_auxiliary("tasks_per_gpu"),
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
