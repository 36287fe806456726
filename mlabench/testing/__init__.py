"""For tests of methods: the checks that every method passes, and the small things they are made of.

    from mlabench.testing import CHECKS, check_method

    check_method(MyMethod)  # all checks at once

    @pytest.mark.parametrize("check", CHECKS)  # or one by one
    def test_contract(check):
        check(MyMethod)

Nothing here needs pytest. ``README.md`` beside this file shows how to write, test and run a method.
"""

from mlabench.testing.check import Check, ContractError, Which
from mlabench.testing.checks import CHECKS, check_method
from mlabench.testing.fitting import Samples, adam, build_method, fit, parameters, predict, sgd
from mlabench.testing.toys import TinyEncoder, fill_absent, make_batch, make_task, only, take
from mlabench.training import Updater

__all__ = [
    "CHECKS",
    "Check",
    "ContractError",
    "Samples",
    "TinyEncoder",
    "Updater",
    "Which",
    "adam",
    "build_method",
    "check_method",
    "fill_absent",
    "fit",
    "make_batch",
    "make_task",
    "only",
    "parameters",
    "predict",
    "sgd",
    "take",
]
