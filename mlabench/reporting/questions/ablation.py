"""Q3: what gradient modification (HGM) and dynamic fusion (DF) each contribute."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from mlabench.reporting import wording
from mlabench.reporting.charts import Chart, Panel, Series
from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer
from mlabench.reporting.mla_parts import DF, HGM, OFF
from mlabench.reporting.questions import certainty, common
from mlabench.reporting.results import MULTIMODAL, Results
from mlabench.reporting.table import Cell, Row, Table, unranked
from mlabench.statistics import Comparison
from mlabench.suite import Plan

_CLAIM = "Gradient modification (HGM) and dynamic fusion (DF) each raise MLA's fused accuracy."

_RULE = (
    "Four variants of MLA are trained: with both parts, without HGM, without DF, without both. The main effect of a "
    "part is the fused accuracy with it minus that without it, averaged over the other part being on and off and over "
    "the missing rates at which test samples have two modalities or more, paired over seeds and test samples. "
    "Supported if both main effects are above 0 (interval above 0 and "
    f"p < {common.LEVEL:g} after Holm's correction over the two tests); contradicted if either is below 0 in the same "
    "sense; not decided otherwise. Effects on unimodal accuracies, the interaction and the quality of the fusion "
    "weights are evidence, but do not decide."
)

INTERACTION = "Interaction"

#: What the accuracies with both parts, HGM alone, DF alone and neither count in an effect.
_WEIGHTS = {HGM: (0.5, 0.5, -0.5, -0.5), DF: (0.5, -0.5, 0.5, -0.5), INTERACTION: (1.0, -1.0, -1.0, 1.0)}

_POOLED = "average"

#: Effects by setting (or :data:`_POOLED`), target and name.
Effects = dict[tuple[str, str, str], Comparison | None]


class Design(NamedTuple):
    """The labels of the four variants of a 2x2 design, the full method first: the paper's table read backwards."""

    both: str
    only_hgm: str
    only_df: str
    neither: str


def answer(evidence: Evidence) -> Answer | None:
    """The answer; None if the suite does not train all four variants."""
    results = evidence.results
    plan = results.plan
    design = find_design(plan)
    if design is None:
        return None
    settings = [setting for setting in results.settings if effect(evidence, design, HGM, [setting], MULTIMODAL)]
    fusible = [setting for setting in settings if _fusible(results, setting)]
    effects = _effects(evidence, design, settings, fusible)
    main = {part: effects[_POOLED, MULTIMODAL, part] for part in (HGM, DF)}
    (family,) = common.corrected(main)
    averaged = f"averaged over missing rates ({', '.join(fusible) or 'none'})"
    deciding = tuple(family.finding(part, f"Effect of {part} on the fused accuracy, {averaged}") for part in main)
    weights = certainty.measure_weights(evidence, design.both, settings)
    fusions = certainty.Fusions.of(evidence, design, fusible)
    measured = [test.difference for test in main.values() if test]
    return Answer(
        question="Q3",
        suite=plan.name,
        dataset=common.dataset(plan),
        claim=_CLAIM,
        verdict=common.overall(deciding),
        rule=_RULE,
        headline=_headline(main, averaged),
        effect=min(measured, key=lambda interval: interval.estimate) if len(measured) == len(main) else None,
        findings=(*deciding, *fusions.findings(), *certainty.findings(weights, design.both)),
        tables=(
            _table(results, effects, design, settings),
            *fusions.tables(results),
            *certainty.tables(evidence, weights, design.both),
        ),
        charts=(*_charts(results, effects, settings), *certainty.charts(weights, design.both)),
        caveats=(*common.caveats(evidence), *_caveats(results, design, settings)),
    )


def find_design(plan: Plan) -> Design | None:
    """A variant of the method in question and those that lack one of its parts, or both; None without all four.

    They are found by their options, whatever their labels; the method in question comes first.
    """
    options = {cell.label: cell.trial.method.config for cell in plan.cells if cell.trial.method.name == common.METHOD}
    no_hgm, no_df = (dict([OFF[part]]) for part in (HGM, DF))
    for full in sorted(options, key=lambda label: label != common.method_in_question(plan)):
        wanted = [{**options[full], **off} for off in ({}, no_df, no_hgm, no_hgm | no_df)]
        found = [label for one in wanted for label, own in options.items() if own == one]
        if len(set(found)) == len(wanted):
            return Design(*found)
    return None


def effect(evidence: Evidence, design: Design, name: str, settings: Sequence[str], target: str) -> Comparison | None:
    """A main effect or the interaction, averaged over ``settings``; None where nothing was measured.

    Paired over seeds and test samples where all predictions are stored, else over seeds alone. The interaction is
    the effect of HGM with DF minus that without it. Of a modality, only one setting has the same samples throughout.
    """
    if not settings:
        return None
    places = [(label, setting, target) for setting in settings for label in design]
    return common.contrasted(evidence, places, [weight / len(settings) for weight in _WEIGHTS[name]] * len(settings))


def _headline(main: Mapping[str, Comparison | None], averaged: str) -> str:
    known = [f"{part} {wording.points(test.difference)}" for part, test in main.items() if test]
    if not known:
        return "The effects of HGM and DF were not measured: no seed has all four variants."
    return f"Effect on the fused accuracy, {averaged}: {', '.join(known)}."


def _table(results: Results, effects: Effects, labels: Sequence[str], settings: Sequence[str]) -> Table:
    rows = [
        Row(
            (setting, "fused" if target == MULTIMODAL else target),
            tuple(_cell(effects[setting, target, part]) for part in _WEIGHTS),
            group=setting,
        )
        for setting, target in dict.fromkeys((setting, target) for setting, target, _ in effects)
    ]
    axis = results.scores[results.scores["label"].isin(labels) & results.scores["setting"].isin(settings)]
    return Table(
        name="ablation_effects",
        title="Main effects of HGM and DF, and their interaction",
        note="Effects on the accuracy in points, with 95 % intervals: with the part minus without it, averaged over "
        "the other part being on and off; interaction: the effect of HGM with DF minus that without DF. DF acts at "
        "test time only, and on no unimodal prediction: what it shows there comes from the choice of another epoch.",
        conditions=wording.conditions(results.plan, axis),
        heads=("Missing", "Prediction"),
        columns=unranked(*_WEIGHTS),
        rows=tuple(rows),
    )


def _cell(test: Comparison | None) -> Cell:
    return Cell(interval=test.difference, form="+z.1f") if test else Cell(text="not measured")


def _fusible(results: Results, setting: str) -> bool:
    """Whether some test sample has two modalities: otherwise there is nothing to fuse, and DF is without effect."""
    rates = results.scores.loc[results.scores["setting"] == setting, "realised_rate"]
    return bool(rates.min() < 1 - 1 / len(results.plan.modalities) - 1e-9)


def _effects(evidence: Evidence, design: Design, settings: Sequence[str], fusible: Sequence[str]) -> Effects:
    """At each setting, and over some of them for the fused prediction, which is always about the same samples."""
    targets = (MULTIMODAL, *evidence.results.plan.modalities)
    places = [(setting, [setting], target) for setting in settings for target in targets]
    return {
        (name, target, part): effect(evidence, design, part, averaged, target)
        for name, averaged, target in [(_POOLED, list(fusible), MULTIMODAL), *places]
        for part in _WEIGHTS
    }


def _charts(results: Results, effects: Effects, settings: Sequence[str]) -> Iterator[Chart]:
    if not settings:
        return
    panels = []
    for target in (MULTIMODAL, *results.plan.modalities):
        series = []
        for part in _WEIGHTS:
            known = {setting: test for setting in settings if (test := effects[setting, target, part])}
            series.append(
                Series(
                    part,
                    list(known),
                    [test.difference.estimate for test in known.values()],
                    low=[test.difference.low for test in known.values()],
                    high=[test.difference.high for test in known.values()],
                    text=[common.basis(test) for test in known.values()],
                )
            )
        panels.append(Panel("fused" if target == MULTIMODAL else target, tuple(series), reference=0.0))
    yield Chart(
        name="ablation_effects",
        title="Effects of HGM and DF on the accuracy",
        caption="Points: the accuracy with a part minus that without it; interaction: the effect of HGM with DF minus "
        "that without DF. Whiskers: 95 % intervals over seeds and test samples; no correction for their number.",
        kind="line",
        x="Missing rate",
        y="Effect (points)",
        panels=tuple(panels),
    )


def _caveats(results: Results, design: Design, settings: Sequence[str]) -> Iterator[str]:
    lost = [setting for setting in results.settings if setting not in settings]
    if lost:
        yield f"No seed has all four variants at {wording.listed(lost)}: left out of the averages."
    optimizers = {cell.trial.training.optimizer.name for cell in results.plan.cells if cell.label in design}
    if optimizers - {"sgd"}:
        yield (
            f"Trained with {wording.listed(sorted(optimizers))}: Adam rescales each element of the modified gradient "
            "and gives back much of what HGM takes away; with SGD its effect may be larger."
        )
    yield (
        "HGM does not act in the authors' released code, and according to a review (ICLR 2024) the paper's row without "
        "both parts equals its late fusion; here all four variants are trained as the equations say, on a shared head."
    )
