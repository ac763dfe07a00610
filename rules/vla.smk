# A policy: a backbone with an action query and a head, trained on a benchmark's demonstrations.
rule vla:
    input:
        backbone=STUDY.vlm_path,
        demonstrations=rules.demonstrations.output[0],
    output:
        f"{STUDY.root}/vla/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}/provenance.json",
    log:
        f"{STUDY.root}/logs/vla/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/vla/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}.tsv"
    wildcard_constraints:
        vlm="|".join(map(re.escape, STUDY.policies())),
    priority: 50
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(120),
        gpu=NEEDS.of_vla("gpu"),
        nodes=NEEDS.of_vla("nodes"),
        mpi=NEEDS.of_vla("mpi"),
        tasks=NEEDS.of_vla("tasks"),
        tasks_per_gpu=NEEDS.of_vla("tasks_per_gpu"),
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
