# Episodes of a VLA on a benchmark, and of the references: random actions (floor) and the scripted expert (ceiling).
# `against` is the policy whose records decide when the rollout stops; by default there is none.
rule rollout:
    input:
        vla=STUDY.rolled_out_vla,
        against=STUDY.compared_episodes,
    output:
        LAYOUT.output("rollout"),
    log:
        LAYOUT.log("rollout"),
    benchmark:
        LAYOUT.benchmark("rollout")
    wildcard_constraints:
        vlm=any_of(STUDY.policies()),
        benchmark=any_of(STUDY.embedded_benchmarks()),
    priority: 40
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
        gpu=RESOURCES.for_inference("gpu"),
    params:
        folder=subpath(output[0], parent=True),
        vla=subpath(input.vla, parent=True),
        settings=STUDY.rollout_arguments,
    message:
        "rollout: {wildcards.vlm}, auxiliary {wildcards.auxiliary}, {wildcards.variant},"
        " {wildcards.benchmark}, seed {wildcards.seed}{wildcards.executed}"
    shell:
        "exec vlm4vla rollout --settings {params.settings:q} --vla {params.vla:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


# A released policy (`benchmarks.B.released_policies`) in place of the VLA: nothing is trained.
rule released_rollout:
    output:
        LAYOUT.output("rollout"),
    log:
        LAYOUT.log("rollout"),
    benchmark:
        LAYOUT.benchmark("rollout")
    wildcard_constraints:
        vlm=any_model_of(STUDY.embedded_released()),
    priority: 40
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(16000),
        runtime=scaled(240),
        gpu=1,
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.rollout_settings,
    message:
        "rollout: {wildcards.vlm} as released, {wildcards.benchmark}, seed {wildcards.seed}"
    shell:
        "exec vlm4vla rollout --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"


ruleorder: released_rollout > rollout


rule reference:
    output:
        LAYOUT.output("reference"),
    log:
        LAYOUT.log("reference"),
    benchmark:
        LAYOUT.benchmark("reference")
    wildcard_constraints:
        benchmark=any_of(STUDY.embedded_benchmarks()),
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


# Episodes on a real simulator. Each part has its own policy server; then one job joins all parts. A rollout that can
# stop early has no parts.
rule shard:
    input:
        vla=STUDY.served_vla,
        demonstrations=STUDY.served_demonstrations,
    output:
        LAYOUT.output("shard"),
    log:
        LAYOUT.log("shard"),
    benchmark:
        LAYOUT.benchmark("shard")
    wildcard_constraints:
        vlm=any_of([*STUDY.policies(), *REFERENCES]),
        benchmark=any_of(STUDY.simulator_benchmarks()),
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
        against=STUDY.compared_episodes,
    output:
        LAYOUT.output("rollout"),
    log:
        LAYOUT.log("rollout"),
    benchmark:
        LAYOUT.benchmark("rollout")
    wildcard_constraints:
        vlm=any_of([*STUDY.policies(), *REFERENCES]),
        benchmark=any_of(STUDY.simulator_benchmarks()),
    priority: 40
    conda:
        "../envs/vlm4vla.yaml"
    threads: STUDY.merging_processes
    resources:
        mem_mb=lambda wildcards: 16000 if STUDY.compared_episodes(wildcards) else 2500,
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
