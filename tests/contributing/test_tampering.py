"""Whatever is changed in a contribution is found, or stands in a list with the reason why it cannot be.

Two forgers: a clumsy one changes a file; a careful one also renews every seal, so that only what follows from the rest
gives the change away.
"""

from __future__ import annotations

import hashlib
import json
import pickle
import re
import shutil
import struct
import zipfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from mlabench.contributing import verify
from mlabench.contributing.folds import check_dealt
from mlabench.contributing.layout import SUMS, sums
from mlabench.errors import UserError
from mlabench.store import SampleSet, Store
from mlabench.store.records import _seal, _unseal
from tests.command_line import invoke

Path_ = tuple[str | int, ...]

#: What takes predictions, embeddings or the course of training, by pattern of the field: only training again finds it.
FOUND_BY_TRAINING = {
    r"parameters": "of the method, whose code is not run",
    r"(evaluations\.[^.]+|last)\.(multimodal|unimodal\.\w+)\.(macro_f1|ece)": "more than right or wrong",
    r"(evaluations\.[^.]+|last)\.unimodal\.\w+\.brier": "kept of the fused prediction alone",
    r"evaluations\.subset-\w+\.multimodal\.brier": "kept for whole patterns alone",
    r"evaluations\.complete\.probe\.\w+\.(accuracy|macro_f1|uar|ece|brier)": "takes embeddings",
    r"(evaluations\.[^.]+|last)\.modality_gap\..*": "takes embeddings",
    r"(evaluations\.[^.]+|last)\.fusion_weight\.\w+": "takes the weights of each sample",
    r"last\.(multimodal\.(uar|brier)|unimodal\.\w+\.(accuracy|uar))": "outcomes are those of the selected epoch",
    r"curves\.#\.(logs\..*|validation\.(strong|weak))": "leaves no outcome",
}
#: Found where the change would select another epoch.
EITHER = r"curves\.#\.validation\.multimodal"
#: What a careful forger may change in a record.
UNSEEN_IN_RECORDS = FOUND_BY_TRAINING | {
    r"cost\..*": "times and memory differ between any two runs",
    r"environment\.(?!method_source|mlabench).*": "the machine; no result follows from it",
    r"environment\.mlabench": "of several records; the card names a version that any of them has",
    r"notes\.#": "remarks in words",
    r"files\.outcomes\.npz": "a seal, which is renewed",
}
#: The same of a plan.
UNSEEN_IN_PLANS = {
    r"command": "words, for people; absolute paths are found",
    r"cells\.#\.settings": "what an entry changes stands behind whose settings it has, in words",
}
#: The same of the suite in it.
UNSEEN_IN_SUITES = {r"tuning\.(tries|seed|folds)": "how `mlabench tune` would search; nothing was tuned here"}


# -- forging ------------------------------------------------------------------------------------------


def leaves(value: Any, path: Path_ = ()) -> Iterator[tuple[Path_, Any]]:
    """All values that hold no others, empty collections included."""
    inner = value.items() if isinstance(value, dict) else enumerate(value) if isinstance(value, list) else ()
    found = [leaf for key, one in inner for leaf in leaves(one, (*path, key))]
    yield from found or [(path, value)]


def with_leaf(value: Any, path: Path_, new: Any) -> Any:
    if not path:
        return new
    key, *rest = path
    items = dict(value) if isinstance(value, dict) else list(value)
    items[key] = with_leaf(items[key], tuple(rest), new)
    return items


def other(value: Any) -> Any:
    """A value of the same kind, as plausible as can be."""
    if isinstance(value, str):
        digits = re.fullmatch(r"[0-9a-f]{12,64}", value)
        return f"{value[:-1]}{'0' if value[-1] != '0' else '1'}" if digits else f"{value}x"
    if isinstance(value, float):
        return value - 0.125 if value > 0.5 else value + 0.125
    kinds: dict[type, Any] = {
        bool: not value,
        int: 1 if value is None else value,
        dict: {"strong": 0.5},
        list: ["strong"],
    }
    return 1 if value is None else value + 1 if type(value) is int else kinds[type(value)]


def reseal(folder: Path) -> None:
    """Renews the seals of all records and files."""
    for path in folder.glob("trials/*/record.json"):
        try:
            content = json.loads(_unseal(path.read_text())[0])
        except ValueError:
            continue
        outcomes = path.with_name("outcomes.npz")
        if isinstance(content.get("files"), dict) and "outcomes.npz" in content["files"] and outcomes.is_file():
            content["files"]["outcomes.npz"] = hashlib.sha256(outcomes.read_bytes()).hexdigest()
        path.write_text(_seal(json.dumps(content, separators=(",", ":"))))
    (folder / SUMS).write_text(sums(folder))


@contextmanager
def as_before(folder: Path) -> Iterator[None]:
    """Whatever is done to the folder inside is undone."""
    before = {path: path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    yield
    for path in folder.rglob("*"):
        if path.is_file() and path not in before:
            path.unlink()
    for path, content in before.items():
        if not path.is_file() or path.read_bytes() != content:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(content)


def messages(folder: Path) -> list[str]:
    return [str(finding) for finding in verify(folder).findings]


def dotted(path: Path_) -> str:
    return ".".join(map(str, path))


def kinds(content: Any) -> dict[str, tuple[Path_, Any]]:
    """A leaf of each kind: the last of those that differ in their places in lists alone."""
    return {
        dotted(tuple("#" if isinstance(key, int) else key for key in path)): (path, value)
        for path, value in leaves(content)
    }


def forge(
    folder: Path, file: Path, read: Callable[[str], Any], write: Callable[[Any], str], unseen: Mapping[str, str]
) -> None:
    """Changes a leaf of each kind of a file, one at a time, with new seals: all are found but the ``unseen`` ones."""
    content = read(file.read_text(encoding="utf-8"))
    missed, seen = [], []
    for name, (path, value) in kinds(content).items():
        with as_before(folder):
            file.write_text(write(with_leaf(content, path, other(value))), encoding="utf-8")
            reseal(folder)
            found = messages(folder)
        expected = any(re.fullmatch(pattern, name) for pattern in unseen)
        if bool(found) == expected and not re.fullmatch(EITHER, name):
            (seen if found else missed).append(name)
    assert missed == []
    assert seen == [], "these are found after all"
    unknown = [pattern for pattern in unseen if not any(re.fullmatch(pattern, name) for name in kinds(content))]
    assert unknown == []


def unsealed(text: str) -> Any:
    return json.loads(_unseal(text)[0])


def resealed(content: Any) -> str:
    return _seal(json.dumps(content, separators=(",", ":")))


def a_record(folder: Path) -> Path:
    """Of a training on complete samples, with weights of the modalities, a probe and three test patterns."""
    return next(iter(sorted(folder.glob("trials/*-complete-*fold2*/record.json"))))


# -- the careful forger -------------------------------------------------------------------------------


def test_new_seals_alone_change_nothing(small: Path) -> None:
    reseal(small)
    assert messages(small) == []


def test_each_field_of_a_record(small: Path) -> None:
    forge(small, a_record(small), unsealed, resealed, UNSEEN_IN_RECORDS)


def test_each_field_of_a_plan(small: Path) -> None:
    forge(small, small / "plans/mine.json", json.loads, json.dumps, UNSEEN_IN_PLANS)


def test_each_field_of_the_suite_in_a_plan(small: Path) -> None:
    def write(source: Any) -> str:
        return json.dumps({**plan, "source": yaml.safe_dump(source)})

    plan = json.loads((small / "plans/mine.json").read_text())
    forge(
        small,
        small / "plans/mine.json",
        lambda text: yaml.safe_load(json.loads(text)["source"]),
        write,
        UNSEEN_IN_SUITES,
    )


def test_each_field_of_the_card(small: Path) -> None:
    unseen = dict.fromkeys(
        ("title", r"authors\.#", "contact", "licence", "encoder_saw_data", "tuned"), "SHA256SUMS alone"
    )
    forge(small, small / "card.yaml", yaml.safe_load, yaml.safe_dump, unseen)


def rewrite(path: Path, **arrays: Any) -> None:
    with np.load(path) as archive:
        old = dict(archive)
    np.savez_compressed(path, **{**old, **arrays})


@pytest.mark.parametrize("name", ["present", "correct", "brier", "about"])
def test_each_array_of_outcomes(small: Path, name: str) -> None:
    path = a_record(small).with_name("outcomes.npz")
    with np.load(path) as archive:
        array = archive[name].copy()
    if name == "brier":
        array[0, :] = array[0, ::-1] / 2
    elif name == "about":
        array = np.frombuffer(array.tobytes().replace(b'"strong", "weak"', b'"weak", "strong"'), np.uint8)
    else:
        array[0] ^= 128  # of the first sample, the first modality
    rewrite(path, **{name: array})
    reseal(small)
    assert messages(small) != []


@pytest.mark.parametrize("name", ["ids", "groups", "labels"])
def test_each_array_of_samples(small: Path, name: str) -> None:
    """With the samples' new hash in all that name them."""
    path = sorted((small / "samples").iterdir())[0]
    with np.load(path) as archive:
        arrays = dict(archive)
    arrays[name] = arrays[name][::-1].copy()
    key = SampleSet(**arrays).key
    path.unlink()
    np.savez_compressed(small / "samples" / f"{key}.npz", **arrays)
    for outcomes in small.glob("trials/*/outcomes.npz"):
        with np.load(outcomes) as archive:
            about = archive["about"].tobytes().replace(path.stem.encode(), key.encode())
        rewrite(outcomes, about=np.frombuffer(about, np.uint8))
    reseal(small)
    assert messages(small) != []


def test_verdicts(small: Path) -> None:
    (small / "verdicts.json").write_text('[{"first": "my_method", "verdict": "better"}]')
    reseal(small)
    assert [one.split(":")[0] for one in messages(small)] == ["verdicts.json"]


def test_the_plugin(small: Path) -> None:
    path = small / "plugin.py"
    path.write_text(path.read_text().replace('"my_method_weighted"', '"my_method_weighted" or ""'))
    reseal(small)
    assert {one.split(": ", 1)[1].split(":")[0] for one in messages(small)} == {"environment.method_source"}


def test_a_trial_that_is_left_out(small: Path) -> None:
    shutil.rmtree(a_record(small).parent)
    reseal(small)
    assert any("is missing" in one for one in messages(small))


def test_a_seed_that_is_left_out_everywhere(small: Path) -> None:
    """Out of record, plan and folder alike: the suite in the plan still asks for it."""
    path = small / "plans/mine.json"
    plan = json.loads(path.read_text())
    plan["cells"] = [cell for cell in plan["cells"] if cell["trial"]["fold"]["name"] == "1"]
    path.write_text(json.dumps(plan))
    for trial in small.glob("trials/*fold2*"):
        shutil.rmtree(trial)
    reseal(small)
    assert any(one.startswith("plans/mine.json: cells.") for one in messages(small))


def test_a_suite_that_is_not_what_its_name_says(small: Path) -> None:
    """All agrees, but the name stands for something else."""
    path = small / "plans/mine.json"
    text = (
        path.read_text()
        .replace("name: mine", "name: verify_missing")
        .replace('"name": "mine"', '"name": "verify_missing"')
    )
    text = text.replace('"name":"mine"', '"name":"verify_missing"')
    path.unlink()
    (small / "plans/verify_missing.json").write_text(text)
    reseal(small)
    found = messages(small)
    assert any("Give a changed suite a name of its own" in one for one in found)


def test_folds_that_are_not_dealt_so_are_found_without_the_data(small: Path) -> None:
    store, found = Store(small), verify(small)
    trials = {
        trial_id: (record.trial, store.outcomes(trial_id).samples)  # type: ignore[union-attr]
        for trial_id, record in found.records.items()
    }
    assert [*check_dealt(trials)] == []
    first, second = sorted({samples.key: samples for _, samples in trials.values()}.values(), key=lambda one: one.key)
    swapped = {first.key: second, second.key: first}
    forged = {trial_id: (trial, swapped[samples.key]) for trial_id, (trial, samples) in trials.items()}
    assert any("belongs to fold" in str(one) for one in check_dealt(forged))


# -- the clumsy forger --------------------------------------------------------------------------------


@given(st.data())
def test_any_byte_of_any_file(packed: Path, data: st.DataObject) -> None:
    names = sorted(path.relative_to(packed).as_posix() for path in packed.rglob("*") if path.is_file())
    path = packed / data.draw(st.sampled_from(names))
    with as_before(packed):
        content = bytearray(path.read_bytes())
        content[data.draw(st.integers(0, len(content) - 1))] ^= data.draw(st.integers(1, 255))
        path.write_bytes(content)
        assert messages(packed) != []


def test_a_file_more_or_less(small: Path) -> None:
    path = small / "plans/mine.json"
    with as_before(small):
        (small / "plans/other.json").write_bytes(path.read_bytes())
        assert any("plans/other.json" in one for one in messages(small))
    path.unlink()
    assert any("plans/mine.json" in one for one in messages(small))


# -- what might harm ----------------------------------------------------------------------------------


def test_links_are_not_followed(small: Path, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.mkdir()
    (secret / "record.json").write_text("{}")
    (small / "trials/away").symlink_to(secret)
    (small / "verdicts.json").unlink()
    (small / "verdicts.json").symlink_to(secret / "record.json")
    assert messages(small) == ["trials/away: is not a plain file.", "verdicts.json: is not a plain file."]
    with pytest.raises(UserError, match="no card"):
        (tmp_path / "link").symlink_to(small)
        verify(tmp_path / "link")


@pytest.mark.parametrize(
    "name", ["model.safetensors", "trials/x/model.safetensors", "plans/a/b.json", "plans/.x.json", "code.py"]
)
def test_other_files_have_no_place(small: Path, name: str) -> None:
    (small / name).parent.mkdir(parents=True, exist_ok=True)
    (small / name).write_text("x")
    assert messages(small) == [f"{name}: has no place in a contribution. Remove it."]


def test_names_lead_nowhere_else(small: Path, tmp_path: Path) -> None:
    """Paths in the checksums, the plan's name, the samples' key."""
    outside = tmp_path / "outside.json"
    outside.write_text("{}")
    (small / SUMS).write_text((small / SUMS).read_text() + f"{'0' * 64}  ../outside.json\n")
    plan = small / "plans/mine.json"
    plan.write_text(plan.read_text().replace('"name":"mine"', '"name":"../../outside"'))
    found = messages(small)
    assert "SHA256SUMS: ../outside.json: stored " in "\n".join(found)
    assert "plans/mine.json: is not a plan (ValidationError)." in found
    assert outside.read_text() == "{}"


def test_control_characters_are_escaped(small: Path) -> None:
    (small / "plans" / "\x1b[2J.json").write_text("{}")
    (found,) = messages(small)
    assert "\x1b" not in found


@pytest.mark.parametrize("name", ["card.yaml", "plans/mine.json", "verdicts.json", "plugin.py"])
def test_huge_files_are_not_read(small: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    with (small / name).open("r+b") as file:
        file.truncate(2**30)  # no block of it is written
    monkeypatch.setattr(Path, "read_bytes", lambda path: pytest.fail(f"read {path}"))
    (found,) = messages(small)
    assert found.startswith(f"{name}: has 1,073,741,824 bytes, more than")


def npy(shape: tuple[int, ...], kind: str, content: bytes) -> bytes:
    header = f"{{'descr': '{kind}', 'fortran_order': False, 'shape': {shape}, }}".encode().ljust(117) + b"\n"
    return b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + content


@pytest.mark.parametrize(
    ("arrays", "message"),
    [
        ({"ids": npy((10**12,), "|u1", b"x")}, "not an array of the size that it says"),
        ({"ids": npy((2,), "|O", pickle.dumps(["a", "b"]))}, "not an array of the size that it says"),
        ({"ids": npy((2**27,), "|u1", bytes(2**27))}, "takes more than"),
        ({"ids": b"not an array"}, "cannot be read"),
        ({"raw_pictures": npy((1,), "|u1", b"x")}, "and nothing else"),
    ],
)
def test_archives_are_as_large_as_they_say(small: Path, arrays: dict[str, bytes], message: str) -> None:
    path = sorted((small / "samples").iterdir())[0]
    members = {name: npy((1,), "|u1", b"x") for name in ("ids", "groups", "labels")} | arrays
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in members.items():
            archive.writestr(f"{name}.npy", content)
    (found,) = messages(small)
    assert message in found


@pytest.mark.parametrize("text", ["", "not JSON", "[" * 100_000, "null", "[]", '{"a": NaN}', "\x00", "\udc80"])
@pytest.mark.parametrize("name", ["plans/mine.json", "record", "verdicts.json", "SHA256SUMS"])
def test_what_is_not_json_is_said_to_be_so(small: Path, name: str, text: str) -> None:
    path = a_record(small) if name == "record" else small / name
    path.write_bytes(text.encode(errors="surrogateescape"))
    if name != "SHA256SUMS":
        reseal(small)
    assert messages(small) != [] or (name, text) == ("verdicts.json", "[]")


def test_a_suite_that_grows_without_bound_is_not_expanded(small: Path) -> None:
    path = small / "plans/mine.json"
    levels = "".join(f"x{n}: &x{n} [{', '.join([f'*x{n - 1}'] * 9)}]\n" for n in range(1, 12))
    plan = json.loads(path.read_text())
    bomb = f"title:\n  x0: &x0 [a]\n{levels}".replace("\nx", "\n  x")
    path.write_text(json.dumps({**plan, "source": plan["source"].replace(f"title: {plan['title']}\n", bomb)}))
    reseal(small)
    assert any("plans/mine.json: source: is not a suite" in one and "too large" in one for one in messages(small))


def test_nothing_of_the_folder_is_run(small: Path) -> None:
    path = small / "plugin.py"
    path.write_text(f"{path.read_text()}\nraise SystemExit('it ran')\n")
    reseal(small)
    assert all("environment.method_source" in one for one in messages(small))
    refused = invoke("verify", small, "--rerun", "1")
    assert refused.returncode == 2
    assert "executes the code in plugin.py" in refused.stderr


# -- running again ------------------------------------------------------------------------------------


def test_running_again_finds_what_nothing_else_gives_away(small: Path) -> None:
    path = a_record(small)
    untouched = invoke("verify", small, "--rerun", path.parent.name[:-3], "--trust")
    assert untouched.returncode == 0, untouched.stdout
    content = unsealed(path.read_text())
    by_training = [
        (name, leaf)
        for name, leaf in kinds(content).items()
        if any(re.fullmatch(pattern, name) for pattern in FOUND_BY_TRAINING)
    ]
    assert len(by_training) > 30
    for _, (place, value) in by_training:
        content = with_leaf(content, place, other(value))
    path.write_text(resealed(content))
    reseal(small)
    assert messages(small) == []
    done = invoke("verify", small, "--rerun", path.parent.name, "--trust", "--json")
    assert done.returncode == 1
    (found,) = json.loads(done.stdout)
    fields = {re.sub(r"\[\d+\]", ".#", one["field"]) for one in found["findings"]}
    assert fields == {name for name, _ in by_training}


def test_the_command_line_says_what_does_not_agree(small: Path) -> None:
    path = a_record(small)
    content = unsealed(path.read_text())
    stored = content["evaluations"]["complete"]["multimodal"]["accuracy"]
    content["evaluations"]["complete"]["multimodal"]["accuracy"] = 0.99
    path.write_text(resealed(content))
    reseal(small)
    done = invoke("verify", small)
    assert done.returncode == 1
    first, *_, last = done.stdout.splitlines()
    field = "evaluations.complete.multimodal.accuracy: stored 0.99, recomputed"
    assert first == f"{path}: {field} {stored}"
    assert last == f"{small}: 4 trials of 1 suite: 2 disagreements."  # the learning curve has it, too
    (as_json,) = json.loads(invoke("verify", small, "--json").stdout)
    assert (as_json["agrees"], as_json["trials"], len(as_json["findings"])) == (False, 4, 2)
    assert invoke("verify", small.parent).returncode == 2
