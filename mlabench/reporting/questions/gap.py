"""Q4: how MLA changes the modality gap, and whether one modality's absence in training hurts the others."""

from __future__ import annotations

from dataclasses import replace

from mlabench.reporting.evidence import Evidence
from mlabench.reporting.former import Answer
from mlabench.reporting.questions import absence, common, modality_gap


def answer(evidence: Evidence) -> Answer | None:
    """The answer to the half of the question, or to both, that the suite is made for; None without either."""
    tests = {"gap": modality_gap.compared(evidence), "absence": absence.compared(evidence)}
    (family,) = common.corrected(tests)
    first = modality_gap.answer(evidence, tests["gap"], family.p_values["gap"])
    second = absence.answer(evidence, tests["absence"], family.p_values["absence"])
    if first is None or second is None:
        return first or second
    return replace(
        first,
        claim=f"{first.claim} {second.claim}",
        verdict=common.overall([first, second]),
        rule=f"{first.rule} {second.rule} Together: contradicted if either half is; supported if both are; "
        "not decided otherwise.",
        headline=f"{first.headline} {second.headline}",
        findings=(*first.findings, *second.findings),
        tables=(*first.tables, *second.tables),
        charts=(*first.charts, *second.charts),
        caveats=tuple(dict.fromkeys((*first.caveats, *second.caveats))),
    )
