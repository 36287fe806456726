"""What people and scripts see: durations, progress, listings."""

from __future__ import annotations

import io
import json
import re
from pathlib import Path
from types import SimpleNamespace

import pytest
from rich.console import Console

from mlabench.cli.console import WIDTH_WITHOUT_TERMINAL, make_console, print_listing
from mlabench.running import progress
from mlabench.running.events import Event, Finished, Progressed
from mlabench.running.progress import Watch
from mlabench.words import duration

#: Text that Rich would take for markup, and choke on.
MARKUP = "no [red] in [/blue], [B, C] is [bold]not[/] a tag"


@pytest.mark.parametrize(
    ("seconds", "text"),
    [
        (0, "0 s"),
        (0.4, "0 s"),
        (41.6, "42 s"),
        (59.4, "59 s"),
        (59.6, "1 min 00 s"),
        (185, "3 min 05 s"),
        (3599.4, "59 min 59 s"),
        (3599.6, "1 h 00 min"),
        (7859, "2 h 10 min"),
        (100 * 3600, "100 h 00 min"),
    ],
)
def test_durations(seconds: float, text: str) -> None:
    assert duration(seconds) == text


class Clock:
    """Says what it is told."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 100.0
        monkeypatch.setattr(progress, "time", SimpleNamespace(monotonic=lambda: self.now))


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> Clock:
    return Clock(monkeypatch)


def console(*, terminal: bool = False) -> tuple[Console, io.StringIO]:
    written = io.StringIO()
    return Console(file=written, width=200, force_terminal=terminal, highlight=False, _environ={}), written


def test_without_a_terminal_there_is_one_line_per_trial(clock: Clock) -> None:
    output, written = console()
    events: list[tuple[float, Event]] = [
        (0, Progressed("one", "train", 0, 3)),
        (5, Progressed("one", "train", 2, 3)),
        (20, Finished("one", "", 19.6)),
        (30, Finished("two", f"ValueError: {MARKUP} " + 50 * "and so on ", 3)),
        (90, Finished("three", "", 61)),
    ]
    with Watch(output, 4) as watch:
        for at, event in events:
            clock.now = 100.0 + at
            watch.see(event)
    assert written.getvalue().splitlines() == [
        "1/4 one in 20 s, 1 min 00 s left",
        f"failed two: ValueError: {MARKUP} " + 50 * "and so on ",
        "3/4 three in 1 min 01 s, 30 s left",
    ]
    assert watch.finished == 3
    assert watch.failed == 1


def test_on_a_terminal_there_are_bars() -> None:
    output, written = console(terminal=True)
    with Watch(output, 2) as watch:
        watch.see(Progressed("one", f"stage {MARKUP}", 1, 3))
        watch._bars.refresh()
        watch.see(Finished("one", MARKUP, 1))
        watch.see(Finished("two", "", 1))
    lines = re.sub(r"\x1b\[[0-9;?]*[A-Za-z]", "", written.getvalue()).replace("\r", "\n").splitlines()
    assert any(line.startswith(f"one stage {MARKUP} ") and "1/3" in line for line in lines)
    assert f"failed one: {MARKUP}" in lines
    assert any(line.startswith("all trials") and "2/2" in line for line in lines)
    assert not any(line.startswith("2/2 two") for line in lines)


COLUMNS = ("Name", "Number of Options", "What it is")
ROWS = [("mla", 3, MARKUP), ("größe", None, Path("some/where"))]


def test_a_listing_as_json(capsys: pytest.CaptureFixture[str]) -> None:
    output, written = console()
    print_listing(output, "Some things", COLUMNS, ROWS, as_json=True)
    text = capsys.readouterr().out
    assert json.loads(text) == [
        {"name": "mla", "number_of_options": 3, "what_it_is": MARKUP},
        {"name": "größe", "number_of_options": None, "what_it_is": str(Path("some/where"))},
    ]
    assert "größe" in text
    assert written.getvalue() == ""


def test_a_listing_as_json_may_be_empty(capsys: pytest.CaptureFixture[str]) -> None:
    print_listing(console()[0], "Nothing", COLUMNS, [], as_json=True)
    assert json.loads(capsys.readouterr().out) == []


def test_a_row_that_does_not_fit_its_columns_is_an_error() -> None:
    with pytest.raises(ValueError, match="zip"):
        print_listing(console()[0], "Some things", COLUMNS, [("mla", 3)], as_json=True)


def test_a_listing_as_a_table(capsys: pytest.CaptureFixture[str]) -> None:
    output, written = console()
    print_listing(output, f"Plan of {MARKUP}", COLUMNS, ROWS, as_json=False)
    lines = written.getvalue().splitlines()
    assert lines[0] == f"Plan of {MARKUP}"
    cells = [[cell.strip() for cell in re.split("[│┃]", line)[1:-1]] for line in lines if line[0] in "│┃"]
    assert cells == [list(COLUMNS), ["mla", "3", MARKUP], ["größe", "", str(Path("some/where"))]]
    assert capsys.readouterr().out == ""


def test_a_pipe_gets_wide_tables(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("COLUMNS", raising=False)
    assert make_console().width == WIDTH_WITHOUT_TERMINAL
    assert make_console(stderr=True).stderr
