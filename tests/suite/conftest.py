from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from mlabench import registry
from mlabench.errors import UserError
from mlabench.suite import Overrides, Suite, load_suite
from tests.suite.fakes import Speech, three_samples

FAKES: dict[str, dict[str, str]] = {
    "datasets": {"speech": "Speech", "captions": "Captions"},
    "encoders": {"mlp": "MLP"},
    "methods": {"plain": "Plain", "fancy": "Fancy", "demanding": "Demanding", "modest": "Modest"},
}


@pytest.fixture
def fakes(monkeypatch: pytest.MonkeyPatch) -> None:
    """Only the classes of ``fakes.py`` are registered."""

    def entries(kind: registry.Kind) -> dict[str, registry.Entry]:
        module = "tests.suite.fakes"
        return {name: registry.Entry(kind, name, module, attribute, "fakes") for name, attribute in FAKES[kind].items()}

    monkeypatch.setattr(registry, "entries", entries)


@pytest.fixture
def spoken(monkeypatch: pytest.MonkeyPatch) -> None:
    """The dataset ``speech`` has samples."""
    monkeypatch.setattr(Speech, "load", lambda self: three_samples())


@pytest.fixture
def load(fakes: None, tmp_path: Path) -> Callable[..., Suite]:
    """Loads the text of a suite, with overrides as keywords."""

    def load(text: str, name: str = "some.yaml", **overrides: object) -> Suite:
        path = tmp_path / name
        path.write_text(text, encoding="utf-8")
        return load_suite(path, Overrides(**overrides))  # type: ignore[arg-type]

    return load


@pytest.fixture
def mistake(load: Callable[..., Suite]) -> Callable[..., UserError]:
    """The error that the text of a suite raises."""

    def mistake(text: str, **overrides: object) -> UserError:
        with pytest.raises(UserError) as caught:
            load(text, **overrides)
        return caught.value

    return mistake
