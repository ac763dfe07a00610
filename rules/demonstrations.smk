# What the scripted experts do on a benchmark, as a LeRobot v3.0 data set.
rule demonstrations:
    output:
        f"{STUDY.root}/demonstrations/{{benchmark}}/provenance.json",
    log:
        f"{STUDY.root}/logs/demonstrations/{{benchmark}}.log",
    benchmark:
        f"{STUDY.root}/benchmarks/demonstrations/{{benchmark}}.tsv"
    priority: 95
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.demonstrations_settings,
    message:
        "demonstrations: {wildcards.benchmark}"
    shell:
        "exec vlm4vla demonstrations --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"
