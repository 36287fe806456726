"""Sentences that captions, figures and pages share, so that they say the same of the same numbers."""

from __future__ import annotations

from collections.abc import Iterable
from contextlib import suppress

import pandas as pd

from mlabench import registry
from mlabench.errors import UserError
from mlabench.reporting.results import MULTIMODAL
from mlabench.statistics import Interval
from mlabench.suite import Plan
from mlabench.words import counted

DEFINITIONS = (
    "Unimodal accuracy is computed over the samples where that modality is present; "
    "multimodal accuracy over all test samples."
)

#: How encoders may learn, and what is said of a group of them.
LEARNING = {"frozen": "Frozen encoders", "fine-tuned": "Fine-tuned encoders", "from scratch": "Encoders from scratch"}

_SELECTIONS = {
    "best_val": "The epoch was selected on the validation split (best_val).",
    "last": "The last epoch was evaluated, without selection (last).",
    "best_test": "WARNING: THE EPOCH WAS SELECTED ON THE TEST SPLIT (best_test). These accuracies are optimistic; "
    "compare them only with published numbers that were selected in the same way.",
}


def number(value: float, digits: int = 1, *, signed: bool = False) -> str:
    """``81.2``, or ``+1.2`` and ``−1.2``, with a real minus sign and no negative zero."""
    return format(value, f"{'+' if signed else ''}z.{digits}f").replace("-", "−")


def ends(interval: Interval, digits: int = 1) -> str:
    """``[−2.4, 0.1]``"""
    return f"[{number(interval.low, digits)}, {number(interval.high, digits)}]"


def points(interval: Interval, digits: int = 1) -> str:
    """A difference: ``−1.2 points [−2.4, 0.1]``"""
    return f"{number(interval.estimate, digits, signed=True)} {interval.unit} {ends(interval, digits)}"


def p_value(value: float) -> str:
    """``p = 0.012``, or ``p < 0.001``"""
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def listed(names: Iterable[str]) -> str:
    """``A``, ``A and B``, ``A, B and C``"""
    *most, last = names
    return f"{', '.join(most)} and {last}" if most else last


def datasets(plan: Plan) -> str:
    """The names of the plan's datasets."""
    return ", ".join(_names(plan))


def dataset_sentence(plan: Plan) -> str:
    """Names the dataset, and says loudly if it stands in for another."""
    described = [
        f"{name}, a stand-in (twin) for {twin}: these are not numbers on {twin}" if (twin := twin_of(name)) else name
        for name in _names(plan)
    ]
    return f"Dataset: {'; '.join(described) or 'none'}."


def encoders(plan: Plan) -> str:
    """How the plan's encoders learn: one of :data:`LEARNING`, or several where modalities differ."""
    used = {
        (one.name, bool(one.options.get("frozen")), bool(one.options.get("pretrained")))
        for cell in plan.cells
        for one in cell.trial.encoders.values()
    }
    return " and ".join(sorted({_learning(*one) for one in used}))


def samples(scores: pd.DataFrame) -> str:
    """``n = 1,312 test samples``, a range where trials differ; those of all folds of a repeat together."""
    own = scores[(scores["target"] == MULTIMODAL) & (scores["status"] == "ok")]
    repeats = own.groupby(["label", "train", "test", "seed"])
    whole = repeats["n"].sum()[repeats["fold"].nunique() == scores["fold"].nunique()]
    counts = sorted(set(own["n"] if not scores["fold"].any() else whole))
    if not counts:
        return "no test samples"
    return f"n = {'–'.join(f'{count:,}' for count in (counts[0], counts[-1])[: len(counts)])} test samples"


def where_missing(scores: pd.DataFrame) -> str:
    """The splits that lack modalities: ``training, validation and test``; empty if none does."""
    train, test = (bool((scores[pattern] != "complete").any()) for pattern in ("train", "test"))
    return {
        (True, True): "training, validation and test",
        (True, False): "training and validation only",
        (False, True): "test only",
        (False, False): "",
    }[train, test]


def run(scores: pd.DataFrame) -> str:
    """What a seed stands for: a repeat of all folds, if there are folds."""
    return "repeat" if scores["fold"].any() else "seed"


def seeds(scores: pd.DataFrame) -> str:
    """``5 seeds (0–4)``, ``5 folds × 2 repeats (0, 1)``: those asked for, whatever their outcome."""
    asked = sorted(set(scores["seed"]))
    if not asked:
        return "no seeds"
    consecutive = len(asked) > 2 and asked[-1] - asked[0] == len(asked) - 1
    listed = f"{asked[0]}–{asked[-1]}" if consecutive else ", ".join(map(str, asked))
    folds = f"{counted(scores['fold'].nunique(), 'fold')} × " if scores["fold"].any() else ""
    return f"{folds}{counted(len(asked), run(scores))} ({listed})"


def spread_sentence(scores: pd.DataFrame) -> str:
    """Says what stands behind the ± sign."""
    if len(set(scores["seed"])) > 1:
        each = ", each over all folds" if scores["fold"].any() else ""
        return f"Mean ± standard deviation (ddof = 1) over {run(scores)}s{each}."
    return f"One {run(scores)} gives no spread (—)."


def selection_sentences(scores: pd.DataFrame) -> str:
    """Says how the epoch was chosen; ``best_test`` cannot be overlooked."""
    return " ".join(_SELECTIONS[selection] for selection in _SELECTIONS if (scores["selection"] == selection).any())


def validation_sentence(plan: Plan) -> str:
    """Says under which patterns the epoch was selected; empty where under that of the training alone."""
    patterns = {cell.trial.validation for cell in plan.cells if cell.trial.validation}
    if not patterns:
        return ""
    named = sorted(listed(missing.key for missing in recipes) for recipes in patterns)
    return f"Validation accuracy: the mean over the patterns {'; or '.join(named)}."


def oracle_gap_sentence(scores: pd.DataFrame) -> str:
    """Says what choosing the epoch on the test split would have added; empty where it was not recorded."""
    gaps = 100.0 * scores.loc[scores["target"] == MULTIMODAL, "oracle_gap"].dropna()
    if gaps.empty:
        return ""
    return (
        "Oracle gap: choosing the epoch on the test split would have added "
        f"{gaps.mean():.1f} points to the multimodal accuracy on average, {gaps.max():.1f} at most."
    )


def tuning_sentence(plan: Plan) -> str:
    """Says whether hyper-parameters were tuned, and on what budget; methods that were not are named."""
    tuned, labels = plan.tuned, plan.tuned_labels()
    if tuned is None or not labels:
        changed = ", which were tuned but have been changed since" if tuned else ""
        return f"Hyper-parameters: defaults or what the suite sets{changed}; not tuned."
    seeds = f"training seed{'s' if len(tuned.seeds) > 1 else ''} {', '.join(map(str, tuned.seeds))}"
    on, folds = f"the {tuned.split} split", ""
    if tuned.folds:
        on = f"the {tuned.split} parts of {tuned.folds} folds"
        folds = ", whose samples other folds test, so that all accuracies are a little optimistic"
    how = (
        f"{counted(tuned.tries, 'configuration')} per method compared on {on} "
        f"({tuned.search}, seed {tuned.seed}; {seeds}; missing patterns: {', '.join(tuned.missing)}){folds}"
    )
    if len(labels) == len(plan.labels):
        return f"Hyper-parameters: tuned, {how}."
    others = ", ".join(label for label in plan.labels if label not in labels)
    return f"HYPER-PARAMETERS: TUNED FOR {', '.join(labels)} ({how}), NOT FOR {others}."


def limit_sentence(scores: pd.DataFrame) -> str:
    """Says that trials were made on a part of the data, if any were."""
    limits = sorted(set(scores["limit"].dropna()))
    if not limits:
        return ""
    return f"LIMITED RUN: at most {' or '.join(f'{limit:,}' for limit in limits)} samples per split; not a result."


def conditions(plan: Plan, scores: pd.DataFrame) -> str:
    """What every table has to say: dataset, n, seeds, selection, oracle gap, definitions."""
    sentences = (
        limit_sentence(scores),
        dataset_sentence(plan),
        f"{samples(scores)}; {seeds(scores)}.",
        spread_sentence(scores),
        selection_sentences(scores),
        validation_sentence(plan),
        tuning_sentence(plan),
        oracle_gap_sentence(scores),
        DEFINITIONS,
    )
    return " ".join(sentence for sentence in sentences if sentence)


def _names(plan: Plan) -> Iterable[str]:
    return dict.fromkeys(cell.trial.dataset.name for cell in plan.cells)


def _learning(encoder: str, frozen: bool, pretrained: bool) -> str:
    """Features were made by networks that stay as they are, so what reads them counts as frozen."""
    with suppress(UserError):  # of a package that is not installed here
        frozen = frozen or registry.get("encoders", encoder).about.reads == ("features",)
    return "frozen" if frozen else "fine-tuned" if pretrained else "from scratch"


def twin_of(name: str) -> str:
    """The dataset that this one stands in for; empty if it stands for itself."""
    try:
        return registry.get("datasets", name).about.twin_of
    except UserError:  # of a package that is not installed here
        return ""


def counted_as(name: str) -> str:
    """The dataset whose samples these are: of several with the same samples, means count one."""
    try:
        return registry.get("datasets", name).about.samples_of or name
    except UserError:  # of a package that is not installed here
        return name
