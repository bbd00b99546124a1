"""A partition of positions: what is tied is one class, and what is pinned stays."""

from __future__ import annotations

import numpy as np

from tvmcomp.compress.channels.classes import Classes


def test_what_is_tied_is_one_class():
    classes = Classes()
    a, b, c = (classes.fresh(3) for _ in range(3))
    assert classes.unify(a, b[::-1], "") is a
    assert classes.roots(a).tolist() == classes.roots(b)[::-1].tolist()
    assert classes.distinct(np.concatenate([a, b, c])) == 6
    classes.tie(np.stack([a, c]))
    assert classes.distinct(np.concatenate([a, b, c])) == 3


def test_what_meets_what_stays_stays_for_its_first_reason():
    classes = Classes()
    a, b = classes.fresh(2), classes.fresh(2)
    classes.pin(a[:1], "first")
    classes.unify(b, a, "")
    assert [classes.reason(int(root)) for root in classes.roots(b)] == ["first", None]
    assert classes.unify(None, b, "second") is None
    assert [classes.reason(int(root)) for root in classes.roots(a)] == ["first", "second"]
