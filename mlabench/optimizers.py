"""How weights are updated: optimisers and schedules of the learning rate, as plain data. Free of torch and NumPy."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

Beta = Annotated[float, Field(ge=0, lt=1)]


class Frozen(BaseModel):
    """A part of a trial or of a record: no field can be changed or added."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class Adam(Frozen):
    """Adam (Kingma and Ba, 2015)."""

    name: Literal["adam"] = "adam"
    lr: float = Field(default=1e-3, gt=0, description="Learning rate.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Decay of the moment estimates.")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty added to the gradient.")


class AdamW(Frozen):
    """Adam with decoupled weight decay (Loshchilov and Hutter, 2019)."""

    name: Literal["adamw"] = "adamw"
    lr: float = Field(default=1e-3, gt=0, description="Learning rate.")
    betas: tuple[Beta, Beta] = Field(default=(0.9, 0.999), description="Decay of the moment estimates.")
    weight_decay: float = Field(default=1e-2, ge=0, description="Decoupled weight decay.")


class SGD(Frozen):
    """Stochastic gradient descent with momentum."""

    name: Literal["sgd"] = "sgd"
    lr: float = Field(default=1e-3, gt=0, description="Learning rate.")
    momentum: float = Field(default=0.9, ge=0, lt=1, description="Momentum.")
    weight_decay: float = Field(default=0.0, ge=0, description="L2 penalty added to the gradient.")


class Constant(Frozen):
    """The learning rate stays as it is."""

    name: Literal["constant"] = "constant"


class Step(Frozen):
    """The learning rate is multiplied by ``factor`` every ``epochs`` epochs of the training.

    A method that divides the training into stages takes them as shares: 70 of 100 epochs are 70 % of each stage.
    """

    name: Literal["step"] = "step"
    epochs: int = Field(
        default=70, ge=1, description="Epochs of the training between two steps (MLA's released code: 70)."
    )
    factor: float = Field(default=0.1, gt=0, le=1, description="Factor of each step (MLA's released code: 0.1).")


class Cosine(Frozen):
    """The learning rate falls to zero along half a cosine over the stage."""

    name: Literal["cosine"] = "cosine"
