# The demonstrations of a benchmark as a LeRobot v3.0 dataset, recorded from a scripted expert or taken from a dataset.
rule demonstrations:
    output:
        LAYOUT.output("demonstrations"),
    log:
        LAYOUT.log("demonstrations"),
    benchmark:
        LAYOUT.benchmark("demonstrations")
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
