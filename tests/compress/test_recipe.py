"""Recipes: what options and files choose, in which order, and what makes no sense."""

from __future__ import annotations

from pathlib import Path

import coarse_weights
import numpy as np
import pytest

from tvmcomp.compress.recipe import recipe_of
from tvmcomp.compress.technique import TECHNIQUES, all_techniques, technique
from tvmcomp.errors import ConfigError


@pytest.fixture(autouse=True)
def techniques():
    """``coarse`` at place 40; ``later`` at 60, and ``mending``, which may stand anywhere."""
    coarse_weights.register()

    def other(name, place, repeats=False):
        @technique(name, place=place, repeats=repeats)
        class Other(TECHNIQUES["coarse"]):
            chosen_by = (name,)
            on_command_line = (name, "mantissa")

    other("later", 60)
    other("mending", 90, repeats=True)
    yield
    coarse_weights.unregister()
    del TECHNIQUES["later"], TECHNIQUES["mending"]


def names(recipe) -> list[str]:
    return [step.name for step in recipe.steps]


def write(path: Path, text: str) -> Path:
    path.write_text(text, encoding="utf-8")
    return path


def refused(source, options=None) -> str:
    with pytest.raises(ConfigError) as found:
        recipe_of(source, options or {})
    return str(found.value)


def test_all_techniques_stand_in_the_order_of_their_places():
    places = [kind.place for kind in all_techniques().values()]
    assert places == sorted(places) and len(places) >= 3


def test_options_are_put_in_order_and_shared():
    recipe = recipe_of(None, {"mending": True, "later": True, "coarse": True, "mantissa": 3})
    assert names(recipe) == ["coarse", "later", "mending"]
    assert [step.options.mantissa for step in recipe.steps] == [3, 3, 3]


def test_an_option_alone_chooses_its_technique():
    recipe = recipe_of(None, {"mantissa": 3, "later": False, "mending": None})
    assert names(recipe) == ["coarse"]
    assert recipe.described() == [{"name": "coarse", "mantissa": 3}]


@pytest.mark.parametrize("value", [8, 0, 0.5, "yes", [True]])
def test_a_flag_takes_no_value(value):
    message = refused(None, {"later": value})
    assert f"--later is {value!r}, not True or False" in message and "mantissa" in message


@pytest.mark.parametrize("value", [np.int64(3), np.array([3]), {}, "3"])
def test_a_value_of_another_type_is_refused_by_its_name(value):
    assert "mantissa" in refused(None, {"mantissa": value})


def test_nothing_asked_for_is_an_empty_recipe():
    assert recipe_of(None, {}).steps == ()


def test_a_file_says_the_order(tmp_path):
    path = write(
        tmp_path / "r.toml",
        """
        [[technique]]
        name = "coarse"
        mantissa = 5
        [[technique]]
        name = "mending"
        [[technique]]
        name = "later"
        [[technique]]
        name = "mending"
        """,
    )
    recipe = recipe_of(path, {})
    assert names(recipe) == ["coarse", "mending", "later", "mending"]
    assert recipe.steps[0].options.mantissa == 5
    # What it says of itself is a recipe again.
    assert recipe_of(recipe.described(), {}).described() == recipe.described()


def test_a_file_may_say_how_images_are_read_beside_options(tmp_path):
    path = write(
        tmp_path / "r.toml", '[images]\nlayout = "NCHW"\ncolor = "gray"\nscale = 0.00390625\n'
    )
    recipe = recipe_of(path, {"mantissa": 3})
    assert names(recipe) == ["coarse"] and recipe.images.color == "gray"


def test_a_file_that_says_nothing_is_refused(tmp_path):
    empty = write(tmp_path / "empty.toml", "# bits = 4\n")
    assert "says nothing to do" in refused(empty)
    assert names(recipe_of(empty, {"coarse": True})) == ["coarse"]


def test_orders_that_make_no_sense():
    assert "coarse can't come after later" in refused([{"name": "later"}, {"name": "coarse"}])
    assert "twice" in refused([{"name": "later"}, {"name": "mending"}, {"name": "later"}])


def test_what_is_no_recipe(tmp_path):
    assert "can't be read" in refused(tmp_path / "absent.toml")
    assert "not valid TOML" in refused(write(tmp_path / "a.toml", "[[technique"))
    assert "Allowed keys: technique, images" in refused(write(tmp_path / "b.toml", "tecnique = 1"))
    message = refused([{"name": "coarser"}])
    assert "technique 1" in message and "'coarser'" in message and "coarse, " in message
    assert "has no name" in refused([{"mantissa": 3}])
    assert "no technique ['coarse']" in refused([{"name": ["coarse"]}])
    assert "Allowed keys: mantissa" in refused([{"name": "coarse", "mantisa": 3}])
    assert "coarse), mantissa" in refused([{"name": "coarse", "mantissa": 99}])
    assert "a recipe says what is done" in refused([{"name": "coarse"}], {"mantissa": 3})


def test_options_that_belong_to_nothing():
    class Options(TECHNIQUES["coarse"].Options, frozen=True):
        depth: int = 1

    TECHNIQUES["later"].Options = Options
    assert "--depth goes with --later" in refused(None, {"depth": 2})
    assert "no option 'width'" in refused(None, {"width": 2, "coarse": True})
