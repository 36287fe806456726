"""How the ranking of methods moves with settings that a benchmark has to choose: dropout, epochs, selection.

``python -m tests.sensitivity [--epochs 10,20,60] [--dropout 0,0.3,0.5] [--results DIR] [--jobs N]`` trains what is not
done yet, prints a table in Markdown, and resumes after an interruption. Both selections come from one training: records
hold the last epoch beside the selected one.
"""

from __future__ import annotations

import argparse
from collections.abc import Mapping, Sequence
from itertools import product
from pathlib import Path

import numpy as np
from scipy.stats import kendalltau, rankdata

import mlabench
from mlabench.record import Record
from mlabench.store import Store
from mlabench.suite import Overrides, expand, load_suite

SUITE = Path(__file__).parents[1] / "suites" / "stamps_sensitivity.yaml"
#: The settings of the suite itself, whose ranking the others are compared with.
REFERENCE = ("0.5", "10", "best_val")

#: Dropout, epochs and selection, as they are written.
Setting = tuple[str, str, str]


def accuracies(records: Mapping[str, Sequence[Record]], selection: str) -> dict[str, float]:
    """The fused test accuracy of each method over all folds, in percent, by label; every sample counts once."""
    found = {}
    for label, own in records.items():
        tested = [
            record.last if selection == "last" else record.evaluations[record.trial.missing.key] for record in own
        ]
        scores = [one.multimodal for one in tested if one is not None]
        assert len(scores) == len(own), f"{label} lacks a fold"
        found[label] = 100 * float(np.average([one.accuracy for one in scores], weights=[one.n for one in scores]))
    return found


def table(found: Mapping[Setting, Mapping[str, float]]) -> str:
    """Accuracies with ranks, a row for each setting; Kendall's tau compares with the ranking of the suite's own."""
    own = found.get(REFERENCE) or next(iter(found.values()))
    labels = list(own)
    lines = [
        f"| dropout | epochs | selection | {' | '.join(labels)} | tau |",
        f"|---:|---:|---|{'---:|' * len(labels)}---:|",
    ]
    for setting, by_label in found.items():
        values = [by_label[label] for label in labels]
        cells = [
            f"{value:.1f} ({rank:.0f})"
            for value, rank in zip(values, rankdata(np.negative(values), "min"), strict=True)
        ]
        tau = kendalltau(values, list(own.values())).statistic
        lines.append(f"| {' | '.join((*setting, *cells))} | {tau:.2f} |")
    return "\n".join(lines)


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--dropout", default="0,0.3,0.5")
    parser.add_argument("--epochs", default="10,20,60")
    parser.add_argument("--results", type=Path, default=Path("results", "sensitivity"))
    parser.add_argument("--jobs", type=int)
    parser.add_argument("--limit", type=int)
    asked = parser.parse_args()
    found: dict[Setting, dict[str, float]] = {}
    for epochs, dropout in product(asked.epochs.split(","), asked.dropout.split(",")):
        values = {"encoders.*.dropout": float(dropout), "training.epochs": int(epochs)}
        mlabench.run(SUITE, results=asked.results, settings=values, limit=asked.limit, jobs=asked.jobs, keep="outcomes")
        written = tuple(f"{path}={value}" for path, value in values.items())
        records: dict[str, list[Record]] = {}
        for cell in expand(load_suite(SUITE, Overrides(settings=written, limit=asked.limit))).cells:
            record = Store(asked.results).read(cell.trial.id)
            assert record is not None
            records.setdefault(cell.label, []).append(record)
        for selection in ("best_val", "last"):
            found[dropout, epochs, selection] = accuracies(records, selection)
    print(table(found))


if __name__ == "__main__":
    main()
