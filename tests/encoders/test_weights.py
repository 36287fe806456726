from __future__ import annotations

import pickle
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file
from torch import nn

from mlabench.encoders.weights import load_into, load_weights
from mlabench.errors import UserError

STATE = {"0.weight": torch.arange(6.0).view(2, 3), "0.bias": torch.tensor([1.0, -1.0])}


def same(one, other):
    return one.keys() == other.keys() and all(torch.equal(one[name], other[name]) for name in one)


def test_every_kind_of_file(tmp_path):
    save_file(STATE, tmp_path / "a.safetensors")
    assert same(load_weights(tmp_path / "a.safetensors"), STATE)
    for name in ("a.pt", "a.pth", "a.bin"):
        torch.save(STATE, tmp_path / name)
        assert same(load_weights(tmp_path / name), STATE)


@pytest.mark.parametrize("key", ["state_dict", "model", "model_state_dict"])
def test_state_dict_inside_a_checkpoint(tmp_path, key):
    torch.save({"epoch": 3, key: STATE}, tmp_path / "a.pt")
    assert same(load_weights(tmp_path / "a.pt"), STATE)


def test_data_parallel_prefix_is_removed_where_all_have_it(tmp_path):
    torch.save({f"module.{name}": value for name, value in STATE.items()}, tmp_path / "a.pt")
    assert same(load_weights(tmp_path / "a.pt"), STATE)
    mixed = {"module.a": torch.ones(1), "b": torch.ones(1)}
    torch.save(mixed, tmp_path / "b.pt")
    assert same(load_weights(tmp_path / "b.pt"), mixed)


def test_home_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    torch.save(STATE, tmp_path / "a.pt")
    assert same(load_weights(Path("~/a.pt")), STATE)


class Attack:
    def __reduce__(self):
        return Path.touch, (Path("/tmp/mlabench-was-here"),)


def test_code_in_a_file_is_not_run(tmp_path):
    mark = Path("/tmp/mlabench-was-here")
    mark.unlink(missing_ok=True)
    torch.save({"a": Attack()}, tmp_path / "a.pt")
    (tmp_path / "b.pt").write_bytes(pickle.dumps(Attack()))
    for name in ("a.pt", "b.pt"):
        with pytest.raises(UserError, match="might run code"):
            load_weights(tmp_path / name)
    assert not mark.exists()


def damaged(folder: Path) -> dict[str, Path]:
    torch.save(STATE, folder / "good.pt")
    save_file(STATE, folder / "good.safetensors")
    contents = {
        "empty.pt": b"",
        "text.pt": b"not weights at all",
        "cut.pt": (folder / "good.pt").read_bytes()[:300],
        "empty.safetensors": b"",
        "cut.safetensors": (folder / "good.safetensors").read_bytes()[:-8],
        "text.safetensors": b"not weights at all",
        "unknown.npz": b"",
    }
    for name, content in contents.items():
        (folder / name).write_bytes(content)
    torch.save([torch.ones(2)], folder / "list.pt")
    torch.save({"a": 1}, folder / "number.pt")
    torch.save({}, folder / "nothing.pt")
    torch.save({"state_dict": {}}, folder / "nothing_inside.pt")
    torch.save({3: torch.ones(2)}, folder / "numbered.pt")
    (folder / "folder.pt").mkdir()
    names = [
        *contents,
        "list.pt",
        "number.pt",
        "nothing.pt",
        "nothing_inside.pt",
        "numbered.pt",
        "folder.pt",
        "absent.pt",
    ]
    return {name: folder / name for name in names}


def test_anything_else_is_the_users_error(tmp_path):
    for name, path in damaged(tmp_path).items():
        with pytest.raises(UserError) as caught:
            load_weights(path)
        assert str(path) in str(caught.value), name
        assert ".safetensors, .pt" in str(caught.value), name


@given(data=st.data())
def test_no_damage_ends_in_anything_else(tmp_path_factory, data):
    folder = tmp_path_factory.mktemp("damage")
    path = folder / data.draw(st.sampled_from(["a.pt", "a.safetensors"]))
    torch.save(STATE, path) if path.suffix == ".pt" else save_file(STATE, path)
    content = bytearray(path.read_bytes())
    for _ in range(data.draw(st.integers(1, 4))):
        content[data.draw(st.integers(0, len(content) - 1))] = data.draw(st.integers(0, 255))
    path.write_bytes(content[: data.draw(st.integers(0, len(content)))])
    try:
        load_weights(path)
    except UserError as error:
        assert str(path) in str(error)


def network():
    return nn.Sequential(nn.Linear(3, 2))


def test_weights_arrive(tmp_path):
    target = network()
    load_into(target, STATE, tmp_path)
    assert same(target.state_dict(), STATE)


def test_classifier_may_be_left_over(tmp_path):
    target = network()
    load_into(target, {**STATE, "fc.weight": torch.ones(9)}, tmp_path, unused=["fc."])
    assert same(target.state_dict(), STATE)


def test_names_and_shapes_that_do_not_fit_are_listed(tmp_path):
    target = network()
    before = {name: value.clone() for name, value in target.state_dict().items()}
    wrong = {"0.weight": torch.ones(2, 4), "extra": torch.ones(1), "fc.bias": torch.ones(1)}
    with pytest.raises(UserError) as caught:
        load_into(target, wrong, tmp_path / "a.pt")
    message = str(caught.value)
    assert "missing: 0.bias" in message
    assert "not in the network: extra, fc.bias" in message
    assert "of another shape: 0.weight [2, 4] instead of [2, 3]" in message
    assert "a.pt" in message
    assert same(target.state_dict(), before), "nothing is loaded by halves"
    with pytest.raises(UserError, match=r"a0, a1, a2, a3, a4 and 3 more"):
        load_into(target, {**STATE, **{f"a{n}": torch.ones(1) for n in range(8)}}, tmp_path / "a.pt")
