# The values that the wildcards of paths may have.
wildcard_constraints:
    **WILDCARDS,
    vlm=any_of(STUDY.config.backbones),
    auxiliary=any_of(STUDY.auxiliaries()),
    task=any_of(STUDY.auxiliaries()[1:]),
    variant=any_of(STUDY.config.variants),
    benchmark=any_of(STUDY.config.benchmarks),
    policy=any_of(REFERENCES),
