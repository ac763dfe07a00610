#!/bin/bash
# Finding: a new StepTest of sequentialized-barnard-tests always says that its policy is missing, even for the policies
# that the package ships. `need_new_policy` is documented as telling whether a policy must be made first. Who asks it
# makes a policy again, which takes minutes to hours for hundreds of trials.
#
# Version: sequentialized-barnard-tests 0.0.9, Python 3.11, on the shipped policy for 200 trials at alpha 0.05:
#
#     new                             need_new_policy True, no policy
#     after load_existing_policy()    need_new_policy False, 201 parts
#
# The constructor loads the policy, which also calls reset(). This needs `random_seed`, which the constructor sets only
# afterwards. The AttributeError ends in a bare `except`, which drops the policy. The first call of step() loads it
# again, so decisions are right. Exits non-zero if this changes.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
"${PYTHON:-python3.11}" -m venv venv
venv/bin/python -m pip install --quiet sequentialized-barnard-tests==0.0.9

cat >check.py <<'END'
from importlib.metadata import version
from pathlib import Path

import sequentialized_barnard_tests
from sequentialized_barnard_tests import Decision, Hypothesis
from sequentialized_barnard_tests.step import StepTest

print("sequentialized-barnard-tests", version("sequentialized-barnard-tests"))
shipped = "policies/n_max_200_alpha_0.05_shape_parameter_0.0_pnorm_False/policy_compressed.pkl"
assert (Path(sequentialized_barnard_tests.__file__).parent / shipped).is_file()
test = StepTest(Hypothesis.P0LessThanP1, n_max=200, alpha=0.05, random_seed=0)
print("new:", test.need_new_policy, test.policy)
assert test.need_new_policy is True and test.policy is None
test.load_existing_policy()
print("loaded:", test.need_new_policy, len(test.policy))
assert test.need_new_policy is False and len(test.policy) == 201
again = StepTest(Hypothesis.P0LessThanP1, n_max=200, alpha=0.05, random_seed=0)
states = next(n for n in range(1, 201) if again.step(0, 1).decision == Decision.AcceptAlternative)
print("decided after", states, "trials in a row that only the second policy solved")
assert again.need_new_policy is False
END
venv/bin/python check.py
