# Generated images with questions and answers, for pre-training and, held out, for capability scores.
rule questions:
    output:
        LAYOUT.output("questions"),
    log:
        LAYOUT.log("questions"),
    benchmark:
        LAYOUT.benchmark("questions")
    priority: 100
    conda:
        "../envs/vlm4vla.yaml"
    threads: 1
    resources:
        mem_mb=scaled(2500),
        runtime=scaled(60),
    params:
        folder=subpath(output[0], parent=True),
        settings=STUDY.questions_settings(),
    message:
        "questions: pictures, questions and answers"
    shell:
        "exec vlm4vla questions --settings {params.settings:q} --output {params.folder:q} > {log:q} 2>&1"
