"""Writes a policy as an ONNX file that says what goes in and out, and compares it with the policy."""

from __future__ import annotations

import json
import logging
import math
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime
import torch
from torch import Tensor

from slmk import Policy, RunError
from slmk.batch import FIRST
from slmk.env_info import space_to_json
from slmk.files import replacing
from slmk.policy import find_checkpoint, registry_of
from slmk_exporter_onnx.graph import ACTION, NEXT, Graph

__all__ = ["METADATA", "TOLERANCE", "Export", "Model", "convert", "write"]

METADATA = "slmk"
"""The key of the model's metadata under which its description lies, as JSON."""
TOLERANCE = 1e-4
"""The largest difference of an action's component that is accepted, of 1 or of its own size where that is larger."""
BATCHES = (1, 7)
"""Sizes of the batches with which the file is compared."""
STEPS = 5
"""Successive observations of each comparison; an episode ends on the way."""


@dataclass(frozen=True, slots=True)
class Model:
    """A policy in ONNX's form."""

    content: bytes
    inputs: tuple[str, ...]
    difference: float
    """The largest between its actions and those of the policy, relative where actions are above 1."""


@dataclass(frozen=True, slots=True)
class Export:
    """What was written."""

    path: Path
    checkpoint: Path
    model: Model

    def __str__(self) -> str:
        size = len(self.model.content) / 1024
        return (
            f"{self.path} ({size:,.0f} KiB): {', '.join(self.model.inputs)} → {ACTION}, from {self.checkpoint}\n"
            f"compared in onnxruntime on batches of {' and '.join(map(str, BATCHES))}, {STEPS} steps each: "
            f"largest difference {self.model.difference:.1g}"
        )


def write(path: Path, target: Path) -> Export:
    """Write the deterministic policy of a checkpoint to `target`, with its frozen statistics.

    Args:
        path: a run, one of its seeds, or a checkpoint; see `slmk.policy.find_checkpoint`.
        target: the file; it appears only when it was compared with the policy.

    Raises:
        CheckpointError: there is no run or no checkpoint.
        RunError: see `convert`; or the file cannot be written.
    """
    checkpoint = find_checkpoint(path)
    model = convert(Policy.load(checkpoint, registry=registry_of(checkpoint)))
    with replacing(target) as temporary:
        temporary.write_bytes(model.content)
    return Export(target, checkpoint, model)


def convert(policy: Policy) -> Model:
    """The ONNX model of a policy, which does what the policy does.

    Raises:
        RunError: the policy has no ONNX form, or the model does what the policy does not.
    """
    graph = Graph(policy)
    content = _onnx(graph, _description(policy, graph))
    difference = _difference(onnxruntime.InferenceSession(content), policy, graph)
    if not difference <= TOLERANCE:
        raise RunError(f"onnxruntime's actions differ from the policy's by {difference:.1g}")
    return Model(content, tuple(graph.example), difference)


def _onnx(graph: Graph, description: dict[str, Any]) -> bytes:
    """The graph as an ONNX model with any size of batch, and `description` as its metadata."""
    # Two rows: torch takes an axis of size 1 for one that has always this size.
    example = {name: x.expand(2, *x.shape[1:]).clone() for name, x in graph.example.items()}
    rows = torch.export.Dim("batch")
    with _quiet():
        try:
            traced = torch.export.export(graph, (example,), dynamic_shapes=({name: {0: rows} for name in example},))
            program = torch.onnx.export(
                traced,
                (example,),
                input_names=list(example),
                output_names=graph.outputs,
                dynamic_shapes=({name: {0: "batch"} for name in example},),
                verbose=False,
            )
        except Exception as error:  # Whatever a third party's network does: torch raises errors of many kinds.
            reason = (str(error) or type(error).__name__).splitlines()[0]
            raise RunError(f"the policy has no ONNX form: {reason}") from error
    assert program is not None, "no file was named"
    model = program.model_proto
    entry = model.metadata_props.add()
    entry.key, entry.value = METADATA, json.dumps(_finite(description), allow_nan=False)
    return model.SerializeToString()  # type: ignore[no-any-return]


@contextmanager
def _quiet() -> Iterator[None]:
    """No gradients, and nothing of what torch's exporter has to tell its developers."""
    logger = logging.getLogger("torch.onnx")
    level = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with torch.no_grad(), warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(level)


def _description(policy: Policy, graph: Graph) -> dict[str, Any]:
    """What somebody needs to know who has the file alone."""
    return {
        "slmk": version("slmk"),
        "inputs": {name: {"shape": list(x.shape[1:]), "dtype": _name(x)} for name, x in graph.example.items()},
        "carries": {name: NEXT + name for name in graph.carries},
        "observation_spaces": {
            name: space_to_json(space) for name, space in policy.env.observation_spaces.items() if name in policy.reads
        },
        "action_space": space_to_json(policy.env.action_space),
    }


def _finite(value: Any) -> Any:
    """The value with null where a number is not finite: JSON has no others, and a bound that is missing is none."""
    if isinstance(value, dict):
        return {key: _finite(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_finite(each) for each in value]
    return None if isinstance(value, float) and not math.isfinite(value) else value


def _name(x: Tensor) -> str:
    return str(x.dtype).removeprefix("torch.")


def _difference(session: onnxruntime.InferenceSession, policy: Policy, graph: Graph) -> float:
    """The largest difference of actions over random observations, which a recurrent policy sees one after another.

    NaN where an action is not finite.
    """
    random = np.random.default_rng(0)
    differences = []
    for batch in BATCHES:
        carries = {name: np.zeros((batch, *graph.example[name].shape[1:]), np.float32) for name in graph.carries}
        policy.reset()
        for step in range(STEPS):
            obs = {name: _draw(policy.env.observation_spaces[name], batch, random) for name in policy.reads}
            first = random.random(batch) < 0.3 if step else np.ones(batch, dtype=bool)
            wanted = policy(obs, first)
            inputs = obs | carries | ({FIRST: first} if graph.carries else {})
            action, *after = session.run(None, inputs)
            carries = dict(zip(graph.carries, after, strict=True))
            difference = np.abs(action.astype(np.float64) - wanted) / np.maximum(np.abs(wanted), 1.0)
            differences.append(difference.max())
    policy.reset()
    return float(np.max(differences))


def _draw(space: Any, batch: int, random: np.random.Generator) -> npt.NDArray[Any]:
    """Random observations (batch, *shape) of a space, as the policy takes them."""
    space.seed(int(random.integers(2**31)))
    drawn = np.stack([np.asarray(space.sample()) for _ in range(batch)])
    return drawn.astype(np.float32) if drawn.dtype.kind == "f" else drawn
