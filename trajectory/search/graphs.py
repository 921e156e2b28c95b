"""Play a plan again on a GPU as it was recorded once: a CUDA graph, in which no kernel waits for Python.

A plan launches some ten thousand small kernels, each sooner done than launched. Nothing in it depends on what the
host sees, so all of them can be recorded, and launched as one, with other tokens and other random numbers.
"""

import logging
from collections.abc import Callable

import torch
from torch import Tensor

log = logging.getLogger(__name__)


class Graphs:
    """Recorded functions of tensors, one for each key; where they cannot be recorded, they are called."""

    def __init__(self):
        self.recorded = {}
        self.works = True
        self.why_not = None  # the error, once recording has failed

    def __call__(self, key, function: Callable, *inputs: Tensor) -> Tensor:
        """What `function` makes of the inputs.

        key      : everything it depends on but the rows of its inputs: their number and their numbers
        function : from tensors to a tensor, row by row; it may not look at a number on the host

        A graph that was recorded for more rows serves fewer: episodes end one by one, and to record anew takes seconds.
        """
        if not self.works or any(x.device.type != 'cuda' for x in inputs):
            return function(*inputs)
        n_rows = len(inputs[0])
        if key not in self.recorded or len(self.recorded[key][1][0]) < n_rows:
            try:
                self.recorded[key] = _record(function, inputs)
            except RuntimeError as error:  # an old driver, or too little memory: slower, and equal
                log.warning('plans cannot be recorded as CUDA graphs (%s); planning goes on without', error)
                self.works, self.why_not = False, str(error)
                return function(*inputs)
        graph, places, result = self.recorded[key]
        for place, x in zip(places, inputs, strict=True):
            place[:n_rows].copy_(x)
        graph.replay()
        return result[:n_rows].clone()


def _record(function, inputs):
    """returns : the graph, and where it reads its inputs and writes its result"""
    places = [x.clone() for x in inputs]
    beside = torch.cuda.Stream(places[0].device)
    beside.wait_stream(torch.cuda.current_stream(places[0].device))
    with torch.cuda.stream(beside):  # libraries set themselves up in the first calls, which cannot be recorded
        for _ in range(2):
            function(*places)
    torch.cuda.current_stream(places[0].device).wait_stream(beside)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        result = function(*places)
    return graph, places, result
