"""Concatenation of features with one joint linear head."""

from __future__ import annotations

from mlabench.fusion import JointHeadMethod
from mlabench.method import SGD, AuthorsTraining, Step


class Concat(JointHeadMethod):
    """Trains one linear head on the concatenated features, with one loss for all modalities.

    Source: the definition that OGM-GE (arXiv 2203.15332), MLA (arXiv 2311.10707) and others share:
    ``z = W [h_1; ...; h_M] + b`` and the cross-entropy of ``z``.

    Unimodal logits: the modality's block of the head and its part of the bias, ``W_m h_m + b / M``
    (as in the code of OGM-GE and MLA). With all modalities present they add up to the fused logits.

    Absent modality: its feature is zero, so its block drops out and the whole bias stays.

    Deviations:

    * MLA's released code zeroes the absent *input* instead, so that the encoder's response to a zero input takes part.
      Here an absent input never reaches the encoder.
    * The head starts with torch's default values, not with Xavier's. So do those of all methods here.
    """

    title = "Concat"
    paper = "https://arxiv.org/abs/2203.15332"
    version = 1
    authors_training = AuthorsTraining(
        optimizer=(SGD(lr=1e-3, weight_decay=1e-4), "OGM-GE's main.py at 343dc1d, as MLA's main.py at ab6c184"),
        schedule=(Step(epochs=70, factor=0.1), "both"),
        batch_size=(64, "both"),
        epochs=(100, "the README of either"),
    )
