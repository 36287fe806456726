"""The table of how a ranking moves, on numbers that are known."""

from __future__ import annotations

from mlabench.missing import Missing
from mlabench.record import Evaluation, Record, Scores
from tests.reporting.synthetic import trial
from tests.sensitivity import accuracies, table


def evaluation(accuracy: float, n: int) -> Evaluation:
    scores = Scores(n=n, accuracy=accuracy, macro_f1=0, uar=0, ece=0)
    return Evaluation(missing=Missing(), missing_rate=0, pattern_sha256="", multimodal=scores, unimodal={})


def test_every_sample_counts_once_under_either_selection() -> None:
    records = [
        Record(
            trial=trial("MLA", seed),
            status="ok",
            evaluations={"complete": evaluation(best, n)},
            last=evaluation(end, n),
        )
        for seed, (best, end, n) in enumerate([(0.5, 0.4, 100), (0.8, 0.2, 300)])
    ]
    assert accuracies({"MLA": records}, "best_val") == {"MLA": 100 * (0.5 * 100 + 0.8 * 300) / 400}
    assert accuracies({"MLA": records}, "last") == {"MLA": 100 * (0.4 * 100 + 0.2 * 300) / 400}


def test_ranks_and_their_agreement_with_the_suites_own() -> None:
    found = table(
        {
            ("0", "10", "best_val"): {"A": 70.0, "B": 80.0, "C": 75.0},
            ("0.5", "10", "best_val"): {"A": 90.0, "B": 80.0, "C": 85.0},
            ("0.5", "10", "last"): {"A": 90.0, "B": 81.0, "C": 80.0},
        }
    )
    # Of the three pairs of methods three are turned round, none, and one.
    assert found.splitlines()[2:] == [
        "| 0 | 10 | best_val | 70.0 (3) | 80.0 (1) | 75.0 (2) | -1.00 |",
        "| 0.5 | 10 | best_val | 90.0 (1) | 80.0 (3) | 85.0 (2) | 1.00 |",
        "| 0.5 | 10 | last | 90.0 (1) | 81.0 (2) | 80.0 (3) | 0.33 |",
    ]
