# Names that a path may hold.
wildcard_constraints:
    vlm="|".join(map(re.escape, STUDY.config.backbones)),
    auxiliary="|".join(map(re.escape, STUDY.auxiliaries())),
    task="|".join(map(re.escape, STUDY.auxiliaries()[1:])) or "none",
    variant="|".join(map(re.escape, STUDY.config.variants)),
    benchmark="|".join(map(re.escape, STUDY.config.benchmarks)),
    policy="random|expert",
    seed="[0-9]+",
    executed="(-executed[0-9]+)?",
