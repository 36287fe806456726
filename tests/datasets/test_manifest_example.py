"""The worked example of ``manifest`` in the documentation runs as it stands there."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.command_line import mlabench
from tests.datasets.media_files import write_picture, write_wav

README = (Path(__file__).parents[2] / "mlabench/datasets/README.md").read_text(encoding="utf-8")


@pytest.mark.slow
def test_the_example_runs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MLABENCH_CACHE", str(tmp_path / "cache"))
    header, row = re.search(r"```csv\n(.*)\n(.*)\n```", README).groups()  # type: ignore[union-attr]
    suite, commands = re.search(  # type: ignore[union-attr]
        r"<!-- example: manifest -->\n```yaml\n(.*?)```.*?```sh\n(.*?)```", README, re.DOTALL
    ).groups()
    lines = [header, row]
    for number in range(1, 31):
        name, label = f"{number:03}", ("happy", "sad")[number % 2]
        split = ("train", "train", "train", "validation", "test")[number % 5]
        if number > 1:
            lines.append(f"{name},{label},{split},speaker {number},faces/{name}.jpg,speech/{name}.wav,Words of {name}")
        write_picture(tmp_path / f"my-data/faces/{name}.jpg", (8 * number, 0, 255))
        write_wav(tmp_path / f"my-data/speech/{name}.wav", seconds=0.2)
    (tmp_path / "my-data/table.csv").write_text("\n".join(lines) + "\n")
    (tmp_path / "mine.yaml").write_text(suite)
    check, run = re.findall(r"^mlabench (.*)$", commands, re.MULTILINE)
    words = [word.strip("'") for word in re.findall(r"'[^']*'|\S+", check)]
    checked = mlabench(*words, cwd=tmp_path)
    assert checked.returncode == 0, checked.stderr
    assert "table.csv" in checked.stdout or "30 samples" in checked.stdout
    ran = mlabench(*run.split(), "--set", "training.epochs=1", "--jobs", "1", cwd=tmp_path)
    assert ran.returncode == 0, ran.stdout + ran.stderr
    records = [json.loads(path.read_text()) for path in (tmp_path / "results").rglob("record.json")]
    assert [record["status"] for record in records] == ["ok"] * 4
