"""The card of a contribution: what it must say, and what is said of one that is wrong."""

from pathlib import Path

import pytest
import yaml

from mlabench import __version__
from mlabench.contributing import Card, read_card, write_template
from mlabench.errors import UserError

GOOD = {
    "name": "my_method",
    "title": "My method",
    "authors": ["Ada Lovelace"],
    "contact": "ada@example.org",
    "licence": "MIT",
    "encoder_saw_data": False,
    "tuned": "nothing",
    "mlabench": __version__,
}


def write(folder: Path, **changes: object) -> Path:
    content = {field: value for field, value in {**GOOD, **changes}.items() if value is not ...}
    path = folder / "card.yaml"
    path.write_text(yaml.safe_dump(content), encoding="utf-8")
    return path


def test_a_card_needs_few_fields(tmp_path):
    card = read_card(write(tmp_path))
    assert card == Card.model_validate(GOOD)
    assert (card.paper, card.code) == (None, None)


def test_yes_and_no_are_answers(tmp_path):
    path = write(tmp_path)
    path.write_text(path.read_text().replace("encoder_saw_data: false", "encoder_saw_data: yes"))
    assert read_card(path).encoder_saw_data is True


@pytest.mark.parametrize("field", sorted(GOOD))
def test_what_is_missing_is_named_with_a_remedy(tmp_path, field):
    with pytest.raises(UserError, match=rf"card\.yaml: {field}: is required\. \w+"):
        read_card(write(tmp_path, **{field: ...}))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("name", "../elsewhere"),
        ("name", "My Method"),
        ("title", ""),
        ("title", "two\nlines"),
        ("title", None),
        ("authors", []),
        ("authors", "Ada"),
        ("contact", 5),
        ("encoder_saw_data", "perhaps"),
        ("code", "not public"),
        ("code", "javascript:alert(1)"),
    ],
)
def test_what_is_wrong_is_named_with_a_remedy(tmp_path, field, value):
    with pytest.raises(UserError, match=rf"card\.yaml: {field}: .*\. \w+"):
        read_card(write(tmp_path, **{field: value}))


def test_all_mistakes_are_named_at_once(tmp_path):
    with pytest.raises(UserError) as error:
        read_card(write(tmp_path, title=..., licence=..., autors=["Ada"]))
    assert [one.split(": ")[1] for one in str(error.value).splitlines()] == ["title", "licence", "autors"]
    assert "Did you mean 'authors'?" in str(error.value)


@pytest.mark.parametrize(
    "text", ["", "- a list", "a: [", "!!python/object/apply:os.system [true]", "x: \x00", "9" * 70000]
)
def test_what_is_not_a_card_is_refused(tmp_path, text):
    path = tmp_path / "card.yaml"
    path.write_text(text)
    with pytest.raises(UserError, match=r"card\.yaml: "):
        read_card(path)


def test_the_template_asks_for_what_is_required(tmp_path):
    path = tmp_path / "card.yaml"
    write_template(path, "my_fusion")
    with pytest.raises(UserError) as error:
        read_card(path)
    named = [one.split(": ")[1] for one in str(error.value).splitlines()]
    assert named == ["title", "authors", "contact", "licence", "encoder_saw_data", "tuned"]
    assert str(error.value).count(": is empty. ") == len(named)
    filled = {**yaml.safe_load(path.read_text()), **{field: GOOD[field] for field in named}}
    path.write_text(yaml.safe_dump(filled))
    assert read_card(path) == Card.model_validate({**GOOD, "name": "my_fusion"})
