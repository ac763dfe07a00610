# The study, from nothing to its tables. Configuration: config.yaml, and layers given with --configfile.
from snakemake.utils import min_version

from vlm4vla.workflow.estimate.expected_times import expect_jobs
from vlm4vla.workflow.resources import Needs, scaled
from vlm4vla.workflow.scheduling import choose_when_a_job_ends
from vlm4vla.workflow.report_entries import entry_of
from vlm4vla.workflow.snakefile import begin

min_version("9.27")


configfile: "config.yaml"


STUDY = begin(config)
NEEDS = Needs(STUDY)


onstart:
    choose_when_a_job_ends(workflow.scheduler)
    expect_jobs(STUDY, workflow.dag)


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
