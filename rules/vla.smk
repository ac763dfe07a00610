# A VLA: a backbone with an action query and a head, trained on the demonstrations of a benchmark.
rule vla:
    input:
        backbone=STUDY.vlm_path,
        demonstrations=rules.demonstrations.output[0],
    output:
        LAYOUT.output("vla"),
    log:
        LAYOUT.log("vla"),
    benchmark:
        LAYOUT.benchmark("vla")
    wildcard_constraints:
        vlm=any_of(STUDY.policies()),
    priority: 50
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(120),
        gpu=RESOURCES.for_vla("gpu"),
        nodes=RESOURCES.for_vla("nodes"),
        mpi=RESOURCES.for_vla("mpi"),
        tasks=RESOURCES.for_vla("tasks"),
        tasks_per_gpu=RESOURCES.for_vla("tasks_per_gpu"),
    params:
        folder=subpath(output[0], parent=True),
        backbone=subpath(input.backbone, parent=True),
        demonstrations=subpath(input.demonstrations, parent=True),
        settings=STUDY.vla_settings,
    message:
        "vla: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, {wildcards.variant},"
        " {wildcards.benchmark}, seed {wildcards.seed}"
    shell:
        "exec vlm4vla vla --settings {params.settings:q} --backbone {params.backbone:q}"
        " --demonstrations {params.demonstrations:q} --output {params.folder:q} > {log:q} 2>&1"
