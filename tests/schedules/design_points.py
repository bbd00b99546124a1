"""All that the tuner could try of a kernel."""

from tvmcomp.tuning.cost_model import CostModel
from tvmcomp.tuning.space import point
from tvmcomp.tuning.space_search import SpaceSearch
from tvmcomp.tuning.task import arguments_of


def every_kernel(space, func):
    """The points of a design space that make different kernels, in random order."""
    guess = point(space, func)
    search = SpaceSearch(space, func, arguments_of(func), guess, CostModel(), (), (), seed=0)
    return search.propose(10_000)
