# Names that a path may hold.
wildcard_constraints:
    vlm="|".join(map(re.escape, STUDY.config.backbones)),
    auxiliary="none",
    variant="|".join(map(re.escape, STUDY.config.variants)),
    benchmark="|".join(map(re.escape, STUDY.config.benchmarks)),
    policy="random|expert",
    seed="[0-9]+",
