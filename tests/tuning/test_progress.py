import io

from rich.console import Console

from tvmcomp.tuning.events import Improved, TaskStarted, TaskSummary, TrialDone, TuningStarted
from tvmcomp.tuning.progress import LiveProgress, times


def shown(progress):
    text = io.StringIO()
    Console(file=text, width=120).print(progress._view())
    return text.getvalue()


def test_view_shows_share_best_roofline_and_failures():
    with LiveProgress(Console(file=io.StringIO())) as progress:
        progress(TuningStarted(("conv", "matmul"), 4, None, "log"))
        progress(TrialDone("conv", 0.004, None, 0.004, 0.004))
        progress(TrialDone("matmul", 0.001, None, 0.001, 0.001))
        progress(TaskStarted("conv", 2, 1, 0.004, 0.004, 0.0005))
        progress(TaskStarted("matmul", 1, 1, 0.001, 0.001, 0.0005))
        progress(TrialDone("conv", 0.001, None, 0.004, 0.004))
        progress(Improved("conv", 0.001, 0.004))
        progress(TrialDone("conv", None, "build error: no", 0.001, 0.004))
        half_way = shown(progress)
        progress(TaskSummary("conv", 2, "settled", 0.004, 0.001, 3, {"build error": 1}, 0.0005))
        later = shown(progress)
    assert "50%" in half_way and "4 trials" in half_way and "build error 1" in half_way
    assert "4.000 -> 1.000 ms (4.00x)" in half_way and "roofline 0.500" in half_way
    assert "kernels of an inference: 9.000 -> 3.000 ms (3.00x), roofline 1.500 ms" in half_way
    assert "62%" in later and "settled" in later


def test_a_budget_is_the_share_where_it_ends_first():
    progress = LiveProgress(Console(file=io.StringIO()))
    progress(TuningStarted(("conv", "matmul"), None, 0.001, "log"))
    assert progress._share(elapsed=0.0005) == 0.5
    assert progress._share(elapsed=1.0) == 1.0


def test_times():
    assert times(0.002, 0.001) == "2.000 -> 1.000 ms (2.00x)"
    assert times(None, 0.001) == "1.000 ms"
    assert times(0.001, None) == "–"
