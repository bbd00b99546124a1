import io

from rich.console import Console

from tvmcomp.tuning.events import TaskStarted, TaskSummary, TrialDone, TuningStarted
from tvmcomp.tuning.progress import LiveProgress, times


def test_view_shows_share_best_and_failures():
    text = io.StringIO()
    console = Console(file=text, force_terminal=True, width=100)
    with LiveProgress(console) as progress:
        progress(TuningStarted(("conv", "matmul"), 4, "log"))
        progress(TaskStarted("conv", 0))
        progress(TrialDone("conv", 0.004, None, 0.004, 0.004))
        progress(TrialDone("conv", 0.001, None, 0.001, 0.004))
        progress(TrialDone("conv", None, "build error: no", 0.001, 0.004))
        console.print(progress._view())
        half_way = text.getvalue()
        progress(TaskSummary("conv", 1, "tuned", 0.004, 0.001, 3, {"build error": 1}))
        progress(TaskStarted("matmul", 0))
        console.print(progress._view())
    assert "38%" in half_way and "3 trials" in half_way and "build error 1" in half_way
    assert "4.000 -> 1.000 ms (4.00x)" in half_way
    assert "50%" in text.getvalue() and "matmul" in text.getvalue()


def test_times():
    assert times(0.002, 0.001) == "2.000 -> 1.000 ms (2.00x)"
    assert times(None, 0.001) == "1.000 ms"
    assert times(0.001, None) == "–"
