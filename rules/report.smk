# What `snakemake --report` shows besides the tables: films, a summary in words, and the configuration.
rule films:
    input:
        STUDY.film_episodes(),
    output:
        [report(path, **study_entry(STUDY, path)) for path in STUDY.film_files()],
    log:
        LAYOUT.log("films"),
    benchmark:
        LAYOUT.benchmark("films")
    priority: 30
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=scaled(30),
    params:
        folder=subpath(output[0], ancestor=2),
        settings=STUDY.film_settings(),
    message:
        "report: films"
    shell:
        "exec vlm4vla films --settings {params.settings:q} --episodes {input:q}"
        " --output {params.folder:q} > {log:q} 2>&1"


rule summary:
    input:
        STUDY.analyses(),
    output:
        [report(path, **study_entry(STUDY, path)) for path in STUDY.summary_files()],
    log:
        LAYOUT.log("summary"),
    benchmark:
        LAYOUT.benchmark("summary")
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=scaled(30),
    params:
        folder=subpath(output[0], parent=True),
    message:
        "report: summary"
    shell:
        "exec vlm4vla summary --analysis {input:q} --output {params.folder:q} > {log:q} 2>&1"


rule study_config:
    output:
        [report(path, **study_entry(STUDY, path)) for path in STUDY.config_files()],
    log:
        LAYOUT.log("study_config"),
    benchmark:
        LAYOUT.benchmark("study_config")
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=scaled(10),
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.config_json,  # a function: its text may contain {host}, which is not a wildcard
    message:
        "report: configuration"
    shell:
        "exec vlm4vla study-config --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"
