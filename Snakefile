# The whole study, up to its tables. The configuration is config.yaml, overridden by the layers of --configfile.
from snakemake.utils import min_version

from vlm4vla.study.layout import WILDCARDS
from vlm4vla.study.runs import REFERENCES
from vlm4vla.workflow.estimate.expected_times import expect_jobs
from vlm4vla.workflow.resources import JobResources, scaled
from vlm4vla.workflow.report_entries import study_entry
from vlm4vla.workflow.snakefile import any_model_of, any_of, begin
from vlm4vla.workflow.snakemake_workarounds import lift_default_job_limit
from vlm4vla.workflow.warm_start.offering import offer_warm_start

min_version("9.27")


configfile: "config.yaml"


STUDY = begin(config)
LAYOUT = STUDY.layout
RESOURCES = JobResources(STUDY)


onstart:
    lift_default_job_limit(workflow.scheduler)
    expect_jobs(STUDY, workflow.dag)
    offer_warm_start(workflow)


report: "workflow/report/workflow.rst"


localrules:
    all_tables,


rule all_tables:
    input:
        STUDY.targets("all_tables"),


include: "rules/common.smk"
include: "rules/questions.smk"
include: "rules/backbone.smk"
include: "rules/auxiliary.smk"
include: STUDY.capability_rules
include: "rules/demonstrations.smk"
include: "rules/vla.smk"
include: "rules/rollout.smk"
include: "rules/cells.smk"
include: "rules/tables.smk"
include: "rules/published.smk"
include: "rules/report.smk"
