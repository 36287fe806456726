"""IMDer: incomplete multimodality-diffused emotion recognition (NeurIPS 2023)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from math import log, pi

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn import functional as F  # noqa: N812  (its usual name)

from baselines.subsets import draw_subsets, non_empty_subsets
from mlabench.encoders import Encoder
from mlabench.method import Adam, AuthorsTraining, Batch, Hyperparameters, Method, Prediction, Stage, Task

#: Of the diffusion ``dx = SIGMA^t dw`` (imder.py: 25).
SIGMA = 25.0


class IMDer(Method):
    """Generates the features of missing modalities by a diffusion that the available ones condition.

    Source: Wang, Li, Cui, "Incomplete Multimodality-Diffused Emotion Recognition", NeurIPS 2023, and the authors' code
    (mdswyz/IMDer, commit 1901a92).

    Stage ``complete`` trains encoders and a classifier on their concatenated features. In stage ``diffusion`` a set of
    modalities is left to each sample. With ``x`` the feature of a hidden one, ``c`` a linear map of the available ones,
    ``std(t)^2 = (25^(2 t) - 1) / (2 log 25)``, ``t`` uniform on (0, 1) and ``z`` normal, a network per modality learns

        score = || std(t) s(x + std(t) z, t, c + std(t) z) + z ||^2

    A sample of the diffusion run backwards (Euler and Maruyama, ``steps`` steps from ``t = 1``) goes through a network
    that refines it, and takes the place of the hidden feature in the classifier:

        L = CE + weight sum over modalities of (score + MSE(refined, x))

    Unimodal logits: the prediction when that modality alone is available.

    Absent modality: its feature is generated as a hidden one's is, but is never a target.

    Deviations:

    * One token, the encoder's pooled feature, in place of a sequence: the scores' U-net, the refining residual channel
      attention and the crossmodal transformers become perceptrons with one or two hidden layers.
    * Sets are drawn per sample, uniformly over the non-empty subsets of what it has; released: per batch, by the
      missing rate of the test.
    * The released code does not train its projections in the second stage. Here encoders learn further from the
      classification of available features; features are constants as targets and conditions.
    * Prediction uses the same noise for every sample, drawn once, so that it repeats itself; released: new noise.
    * Any number of modalities: conditions are linear maps of all features side by side, zero where not available.
    """

    title = "IMDer"
    paper = "https://openreview.net/forum?id=BuGFwUS9B3"
    version = 2
    claims = ("withstands missing modalities",)
    authors_training = AuthorsTraining(
        optimizer=(Adam(lr=2e-3), "config/config.json and trains/singleTask/IMDER.py at 1901a92"),
        batch_size=(32, "config/config.json at 1901a92, for MOSI"),
    )

    class Config(Hyperparameters):
        """Defaults are those of the authors' code, as far as they apply to one token."""

        weight: float = Field(
            default=0.1,
            ge=0,
            json_schema_extra={"tune": {"low": 0.01, "high": 1.0, "log": True}},
            description="Weight of scores and reconstruction (IMDER.py: 0.1).",
        )
        steps: int = Field(default=100, ge=2, description="Steps of the sampler (scoremodel.py: 100).")
        width: int = Field(
            default=256, ge=2, description="Of the time's embedding and of hidden layers (scoremodel.py)."
        )
        complete_share: float = Field(
            default=0.5, gt=0, lt=1, description="Share of the epochs before the diffusion begins (our choice)."
        )

    config: Config
    diffusing: Tensor
    subsets: Tensor
    noise: Tensor

    def __init__(self, task: Task, encoders: Mapping[str, Encoder], config: Config, samples: int) -> None:
        super().__init__(task, encoders, config, samples)
        widths = {modality: encoders[modality].width for modality in task.modalities}
        total, hidden = sum(widths.values()), config.width
        self.conditions = nn.ModuleDict({m: nn.Linear(total, width) for m, width in widths.items()})
        self.scores = nn.ModuleDict({m: Score(width, hidden) for m, width in widths.items()})
        self.refining = nn.ModuleDict({m: perceptron(width, 2 * width, width) for m, width in widths.items()})
        self.classifier = perceptron(total, total, len(task.classes))
        #: Whether the second stage has begun; part of the state, since predictions depend on it.
        self.register_buffer("diffusing", torch.tensor(False))
        #: The noise of predictions, the same for every sample. [steps, 2, D]
        self.register_buffer("noise", torch.randn(config.steps, 2, total))
        #: The non-empty sets of modalities. bool [2^M - 1, M]
        self.register_buffer("subsets", non_empty_subsets(len(task.modalities)), persistent=False)
        self.widths = list(widths.values())

    def stages(self, epochs: int) -> Sequence[Stage]:
        """The share without diffusion first; one epoch at least for each."""
        complete = min(max(1, round(self.config.complete_share * epochs)), max(1, epochs - 1))
        return [Stage("complete", complete), Stage("diffusion", max(1, epochs - complete))]

    def on_stage_start(self, stage: Stage) -> None:
        """Leaves the networks of the diffusion alone until it begins."""
        self.diffusing.fill_(stage.name == "diffusion")
        for module in (self.conditions, self.scores, self.refining):
            module.requires_grad_(bool(self.diffusing))

    def loss(self, batch: Batch) -> Tensor:
        """The cross-entropy, and in the second stage scores and reconstruction of what is hidden."""
        features = self.encode(batch)
        if not self.diffusing:
            return F.cross_entropy(self.classify(features), batch.label)
        available = draw_subsets(self.subsets, batch.present)
        filled, extra = self.fill(features, available, batch.present & ~available)
        return F.cross_entropy(self.classify(filled), batch.label) + self.config.weight * extra

    def fill(
        self, features: Mapping[str, Tensor], available: Tensor, hidden: Tensor | None = None
    ) -> tuple[dict[str, Tensor], Tensor]:
        """Generates what is not available.

        Args:
            features: ``{modality: [B, d_m]}``, zero where absent.
            available: bool ``[B, M]``
            hidden: Where features are targets; None in prediction, whose noise is fixed. bool ``[B, M]``

        Returns:
            The features with generated ones in their places, and the loss of generating them.
        """
        known = torch.cat(
            [f.detach().float() * here for f, here in zip(features.values(), available.T.unsqueeze(2), strict=True)],
            dim=1,
        )
        noises = torch.split(self.noise, self.widths, dim=2)
        filled, loss = {}, known.new_zeros(())
        for column, (modality, feature) in enumerate(features.items()):
            rows = (~available[:, column]).nonzero().squeeze(1)  # n of them
            with torch.autocast(known.device.type, enabled=False):
                condition = self.conditions[modality](known[rows])  # [n, d]
                score = self.scores[modality]
                noise = noises[column].unsqueeze(2) if hidden is None else self.draw_noise(condition)
                refined = self.refining[modality](backwards(score, condition.detach(), noise))
                if hidden is not None:
                    share = hidden[rows, column].float() / hidden[:, column].sum().clamp(min=1)
                    target = feature.detach().float()[rows]
                    time = torch.rand(len(rows), 1, device=known.device) * (1 - 1e-5) + 1e-5
                    matching = score_matching(score, target, condition, time, torch.randn_like(target))
                    loss = loss + (share * (matching + (refined - target).square().mean(dim=1))).sum()
            filled[modality] = feature.float().index_copy(0, rows, refined)
        return filled, loss

    def draw_noise(self, like: Tensor) -> Tensor:
        """New noise for each step and sample, of the condition and of the sample. ``[steps, 2, n, d]``."""
        return torch.randn(self.config.steps, 2, *like.shape, device=like.device)

    def classify(self, features: Mapping[str, Tensor]) -> Tensor:
        """Logits ``[B, C]``."""
        logits: Tensor = self.classifier(torch.cat(list(features.values()), dim=1))
        return logits.float()

    def predict(self, batch: Batch) -> Prediction:
        """The classifier on all present modalities, and on each alone, the others generated."""
        embedding = self.encode(batch)
        alone = torch.eye(len(embedding), dtype=torch.bool, device=batch.present.device)
        unimodal = {
            m: self._given(embedding, here.expand_as(batch.present)) for m, here in zip(embedding, alone, strict=True)
        }
        return Prediction(self._given(embedding, batch.present), unimodal, embedding)

    def _given(self, features: Mapping[str, Tensor], available: Tensor) -> Tensor:
        """Logits ``[B, C]`` of the available features; before the diffusion, zero takes the others' place."""
        if self.diffusing:
            return self.classify(self.fill(features, available)[0])
        columns = zip(features.items(), available.T.unsqueeze(2), strict=True)
        return self.classify({modality: feature * here for (modality, feature), here in columns})


class Score(nn.Module):
    """The gradient of the log density of a noisy feature, given a noisy condition.

    Args:
        width: Of the features, ``d``.
        hidden: Of the time's embedding and of the hidden layers.
    """

    frequency: Tensor

    def __init__(self, width: int, hidden: int) -> None:
        super().__init__()
        self.register_buffer("frequency", 30 * torch.randn(hidden // 2))
        self.time = nn.Sequential(nn.Linear(2 * (hidden // 2), hidden), nn.SiLU(), nn.Linear(hidden, hidden))
        self.feature = nn.Linear(width, hidden)
        self.condition = nn.Linear(width, hidden)
        self.layers = nn.Sequential(
            nn.LayerNorm(hidden), nn.SiLU(), nn.Linear(hidden, hidden), nn.SiLU(), nn.Linear(hidden, width)
        )

    def forward(self, feature: Tensor, time: Tensor, condition: Tensor) -> Tensor:
        """``[B, d]`` of ``feature [B, d]``, ``time [B, 1]`` or ``[1, 1]`` and ``condition [B, d]``."""
        angle = 2 * pi * time * self.frequency
        embedded = self.time(torch.cat([angle.sin(), angle.cos()], dim=1))
        result: Tensor = self.layers(self.feature(feature) + self.condition(condition) + embedded)
        return result / deviation(time)


def deviation(time: Tensor) -> Tensor:
    """The standard deviation of the diffusion's noise at a time."""
    return ((SIGMA ** (2 * time) - 1) / (2 * log(SIGMA))).sqrt()


def score_matching(score: nn.Module, feature: Tensor, condition: Tensor, time: Tensor, noise: Tensor) -> Tensor:
    """How far a score is from that of the noise added, ``|| std s + z ||^2``. ``[B]``."""
    std = deviation(time)
    predicted = score(feature + std * noise, time, condition + std * noise)
    result: Tensor = (std * predicted + noise).square().sum(dim=1)
    return result


@torch.no_grad()
def backwards(score: nn.Module, condition: Tensor, noise: Tensor) -> Tensor:
    """A sample of the diffusion run backwards from ``t = 1`` to 0.001; the last step adds no noise.

    Args:
        score: The network.
        condition: ``[B, d]``
        noise: For each step that of the condition and that of the sample, the first of which is where it starts.
            ``[steps, 2, B, d]``, or ``[steps, 2, 1, d]`` for the same in every sample
    """
    times = torch.linspace(1.0, 1e-3, len(noise), device=condition.device)
    length = times[0] - times[1]
    x = mean = (noise[0, 1] * deviation(times[0])).expand_as(condition)
    for step, (time, (about_condition, _)) in enumerate(zip(times, noise, strict=True)):
        if step > 0:
            x = mean + length.sqrt() * SIGMA ** times[step - 1] * noise[step, 1]
        given = condition + about_condition * deviation(time)
        mean = x + SIGMA ** (2 * time) * score(x, time.view(1, 1), given) * length
    return mean


def perceptron(inputs: int, hidden: int, outputs: int) -> nn.Sequential:
    """One hidden layer with ReLU."""
    return nn.Sequential(nn.Linear(inputs, hidden), nn.ReLU(), nn.Linear(hidden, outputs))
