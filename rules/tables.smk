# One rule per table: its files, its figures and the numbers behind both, from episode records and scores.
for TABLE in STUDY.tables():

    rule:
        name:
            STUDY.target_of(TABLE)
        input:
            episodes=STUDY.table_episodes(TABLE),
            capability=STUDY.table_capability(TABLE),
            curves=STUDY.table_curves(TABLE),
            auxiliary=STUDY.table_auxiliary(TABLE),
            fast=STUDY.table_fast(TABLE),
            carried=STUDY.table_carried(TABLE),
            other_studies=STUDY.table_other_studies(TABLE),
            published=STUDY.published_file(TABLE),
            other_published=STUDY.other_published_files(TABLE),
        output:
            [
                report(path, **study_entry(STUDY, path))
                for path in STUDY.shown_files(TABLE)
            ],
            STUDY.table_caption(TABLE),
        log:
            LAYOUT.log("table", table=TABLE),
        benchmark:
            LAYOUT.benchmark("table", table=TABLE)
        priority: 30
        conda:
            "../envs/vlm4vla.yaml"
        threads: 1
        resources:
            mem_mb=scaled(2500),
            runtime=scaled(30),
        params:
            folder=subpath(output[0], ancestor=2),
            published=subpath(input.published, parent=True),
            settings=STUDY.table_settings(TABLE),
        message:
            f"table: {TABLE}"
        shell:
            "exec vlm4vla table --settings {params.settings:q} --episodes {input.episodes:q}"
            " --capability {input.capability:q} --curves {input.curves:q}"
            " --auxiliary {input.auxiliary:q} --fast {input.fast:q}"
            " --published {params.published:q} --output {params.folder:q} > {log:q} 2>&1"
