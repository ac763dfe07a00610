# Episodes of a policy on a benchmark; and of random actions and the scripted expert, the floor and the ceiling.
rule rollout:
    input:
        vla=rules.vla.output[0],
    output:
        f"{STUDY.root}/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}/episodes.parquet",
    log:
        f"{STUDY.root}/logs/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}.tsv"
    wildcard_constraints:
        vlm="|".join(map(re.escape, STUDY.policies())),
        benchmark="|".join(map(re.escape, STUDY.embedded_benchmarks())) or "none",
    priority: 40
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
        gpu=NEEDS.of_inference("gpu"),
    params:
        folder=subpath(output[0], parent=True),
        vla=subpath(input.vla, parent=True),
        settings=STUDY.rollout_settings,
    message:
        "rollout: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, {wildcards.variant},"
        " {wildcards.benchmark}, seed {wildcards.seed}{wildcards.executed}"
    shell:
        "exec vlm4vla rollout --settings {params.settings:q} --vla {params.vla:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule reference:
    output:
        f"{STUDY.root}/rollouts/{{policy}}/none/full/{{benchmark}}/seed0/episodes.parquet",
    log:
        f"{STUDY.root}/logs/rollouts/{{policy}}/none/full/{{benchmark}}/seed0.log",
    benchmark:
        f"{STUDY.root}/benchmarks/rollouts/{{policy}}/none/full/{{benchmark}}/seed0.tsv"
    wildcard_constraints:
        benchmark="|".join(map(re.escape, STUDY.embedded_benchmarks())) or "none",
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.reference_settings,
    message:
        "rollout: {wildcards.policy} policy, {wildcards.benchmark}"
    shell:
        "exec vlm4vla rollout --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"


# Episodes on a real simulator: in parts, each with a policy server of its own, and then all of them together.
rule shard:
    input:
        vla=STUDY.served_vla,
        demonstrations=STUDY.served_demonstrations,
    output:
        f"{STUDY.root}/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}/shards/{{shard}}/episodes.parquet",
    log:
        f"{STUDY.root}/logs/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}/{{shard}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}/{{shard}}.tsv"
    wildcard_constraints:
        vlm="|".join(map(re.escape, [*STUDY.policies(), "random"])),
        benchmark="|".join(map(re.escape, STUDY.simulator_benchmarks())) or "none",
        shard="[0-9]+",
    priority: 40
    conda:
        "../envs/vlm4vla.yaml"
    threads: STUDY.shard_processes
    resources:
        mem_mb=16000,
    params:
        folder=subpath(output[0], parent=True),
        options=STUDY.served_options,
        settings=STUDY.rollout_settings,
    message:
        "rollout: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, {wildcards.variant},"
        " {wildcards.benchmark}, seed {wildcards.seed}{wildcards.executed}, part {wildcards.shard}"
    shell:
        "exec vlm4vla rollout --settings {params.settings:q} {params.options:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule simulator_rollout:
    input:
        vla=STUDY.served_vla,
        demonstrations=STUDY.served_demonstrations,
        shards=STUDY.shard_paths,
    output:
        f"{STUDY.root}/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}/episodes.parquet",
    log:
        f"{STUDY.root}/logs/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/rollouts/{{vlm}}/{{auxiliary}}/{{variant}}/{{benchmark}}/seed{{seed}}{{executed}}.tsv"
    wildcard_constraints:
        vlm="|".join(map(re.escape, [*STUDY.policies(), "random"])),
        benchmark="|".join(map(re.escape, STUDY.simulator_benchmarks())) or "none",
    priority: 40
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=2500,
    params:
        folder=subpath(output[0], parent=True),
        options=STUDY.served_options,
        settings=STUDY.rollout_settings,
    message:
        "rollout: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, {wildcards.variant},"
        " {wildcards.benchmark}, seed {wildcards.seed}{wildcards.executed}"
    shell:
        "exec vlm4vla rollout --settings {params.settings:q} {params.options:q}"
        " --output {params.folder:q} > {log:q} 2>&1"
