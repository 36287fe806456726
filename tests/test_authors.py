"""What methods say about their authors' training: values with sources, and optimisers that neutralise them."""

from __future__ import annotations

import pytest
from pydantic import ValidationError

from mlabench import registry
from mlabench.authors import AuthorsTraining, UnfitOptimizers
from mlabench.trial import SGD, Step, Training

METHODS = list(registry.entries("methods"))


def test_every_value_has_its_source() -> None:
    said = AuthorsTraining(
        optimizer=(SGD(lr=0.01), "main.py"), schedule=(Step(epochs=70), "section 4"), epochs=(9, "x")
    )
    assert said.values == {"optimizer": SGD(lr=0.01), "schedule": Step(epochs=70), "epochs": 9}
    assert said.sources == {"optimizer": "main.py", "schedule": "section 4", "epochs": "x"}
    assert AuthorsTraining.model_validate_json(said.model_dump_json()) == said
    with pytest.raises(ValidationError):
        AuthorsTraining(batch_size=(64, ""))


def test_an_objection_is_to_an_optimizer_unless_an_option_takes_the_reason_away() -> None:
    unfit = UnfitOptimizers(names=("adam", "adamw"), reason="Adam undoes it.", unless={"modification": ("none",)})
    assert unfit.objection("adam", {"modification": "owm"}) == "Adam undoes it."
    assert unfit.objection("adamw", {}) == "Adam undoes it."
    assert not unfit.objection("adam", {"modification": "none"})
    assert not unfit.objection("sgd", {"modification": "owm"})


@pytest.mark.parametrize("name", METHODS)
def test_methods_name_training_and_options_that_exist(name: str) -> None:
    about = registry.get("methods", name).about
    if (said := about.authors_training) is not None:
        assert said.values.keys() <= Training.model_fields.keys()
        assert said.values
    if (unfit := about.unfit_optimizers) is not None:
        assert unfit.unless.keys() <= about.options.keys()
        if said is not None and said.optimizer is not None:
            assert said.values["optimizer"].name not in unfit.names, "the authors' own optimiser neutralises it"
