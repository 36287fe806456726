"""Q4: how MLA changes the modality gap, and whether one modality's absence in training hurts the others."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from mlabench.report.answer import Answer, Chart, Finding, Panel, Series, Verdict
from mlabench.report.evidence import Evidence
from mlabench.report.questions import absence, common
from mlabench.report.questions.half import Half
