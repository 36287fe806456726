"""Small trials and records for tests."""

from __future__ import annotations

from mlabench.missing import Missing
from mlabench.record import Evaluation, Record, Scores
from mlabench.trial import Component, DatasetComponent, Trial


def make_trial(method: str = "concat", seed: int = 0, rate: float = 0.0) -> Trial:
    return Trial(
        dataset=DatasetComponent(name="stamps", fingerprint="abc"),
        encoders={"audio": Component(name="mlp")},
        method=Component(name=method),
        missing=Missing.at("balanced", rate),
        seed=seed,
    )


def make_record(trial: Trial, accuracy: float = 0.5) -> Record:
    scores = Scores(n=100, accuracy=accuracy, macro_f1=accuracy, uar=accuracy, ece=0.1)
    evaluation = Evaluation(
        missing=trial.missing,
        missing_rate=trial.missing.rate,
        pattern_sha256="0" * 64,
        multimodal=scores,
        unimodal={"audio": scores},
    )
    return Record(trial=trial, status="ok", selected_epoch=1, evaluations={trial.missing.key: evaluation})
