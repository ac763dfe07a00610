# What stands beside the tables in `snakemake --report`: films, a summary in words, the configuration.
rule films:
    input:
        STUDY.film_episodes(),
    output:
        [report(path, **entry_of(STUDY, path)) for path in STUDY.film_files()],
    log:
        f"{STUDY.root}/logs/report/films.log",
    benchmark:
        f"{STUDY.root}/benchmarks/report/films.tsv"
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
        [report(path, **entry_of(STUDY, path)) for path in STUDY.summary_files()],
    log:
        f"{STUDY.root}/logs/report/summary.log",
    benchmark:
        f"{STUDY.root}/benchmarks/report/summary.tsv"
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
        [report(path, **entry_of(STUDY, path)) for path in STUDY.config_files()],
    log:
        f"{STUDY.root}/logs/report/study_config.log",
    benchmark:
        f"{STUDY.root}/benchmarks/report/study_config.tsv"
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(1500),
        runtime=scaled(10),
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.config_json,  # a function: commands in it hold {host}, which is no wildcard
    message:
        "report: configuration"
    shell:
        "exec vlm4vla study-config --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"
