"""Environments with physics of their own: a model of which each has some arrays for itself."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import contextmanager
from functools import partial
from typing import TYPE_CHECKING, Any

import jax

if TYPE_CHECKING:
    from collections.abc import Iterator

    from mujoco_playground import MjxEnv

__all__ = ["Physics"]


class Physics:
    """What a randomiser draws for each environment, and how to call the environment with it.

    Only what is drawn has rows. It goes through compiled functions as an argument, so that they serve all draws.
    """

    def __init__(self, env: MjxEnv, randomizer: Callable[..., Any], count: int) -> None:
        """
        Args:
            env: of Playground; it is left as it is.
            randomizer: makes M models, and the axis of each array in them, of the environment's and M random keys, as
                Playground's domain randomisers do.
            count: M.
        """
        self._env = env
        self._randomizer = randomizer
        self._count = count
        axes = []

        def models(key: jax.Array) -> Any:
            drawn, axis = self._draw(key)
            axes.append(axis)
            return drawn

        shapes = jax.eval_shape(models, jax.ShapeDtypeStruct((2,), "uint32"))
        self._axes, self._tree = jax.tree.flatten(axes[0], is_leaf=lambda axis: axis is None)
        """The axis of each array, None for those that all environments share; and the form of the model."""
        self.shapes = self._own(shapes)
        """The shapes and types of what is drawn."""

    def draw(self, key: jax.Array) -> list[jax.Array]:
        """What M environments have of their own."""
        return self._own(self._draw(key)[0])

    def call(self, method: str, own: list[jax.Array], *arguments: Any, start: Any = 0) -> Any:
        """A method of the environment over rows of arguments, each with the physics of its environment.

        Args:
            method: ``reset`` or ``step``.
            own: of `draw`.
            arguments: trees of (N, …).
            start: the environment of the first row.
        """
        axes = [axis for axis in self._axes if axis is not None]
        rows = partial(jax.lax.dynamic_slice_in_dim, start_index=start, slice_size=len(jax.tree.leaves(arguments)[0]))

        def one(own: list[jax.Array], *arguments: Any) -> Any:
            with exchanged(self._env, self._model(own)):
                return getattr(self._env, method)(*arguments)

        some = [rows(x, axis=axis) for x, axis in zip(own, axes, strict=True)]
        return jax.vmap(one, in_axes=(axes, *[0] * len(arguments)))(some, *arguments)

    def _draw(self, key: jax.Array) -> Any:
        return self._randomizer(self._env.mjx_model, jax.random.split(key, self._count))

    def _own(self, model: Any) -> list[Any]:
        """What has rows in a model."""
        parts = zip(self._axes, self._tree.flatten_up_to(model), strict=True)
        return [x for axis, x in parts if axis is not None]

    def _model(self, own: list[jax.Array]) -> Any:
        """The environment's model, but for what is one's own."""
        mine = iter(own)
        parts = zip(self._axes, self._tree.flatten_up_to(self._env.mjx_model), strict=True)
        return self._tree.unflatten([x if axis is None else next(mine) for axis, x in parts])


@contextmanager
def exchanged(env: MjxEnv, model: Any) -> Iterator[None]:
    """While a function of `env` is traced, give it another model; Playground's own wrapper does it like this."""
    inner = env.unwrapped
    before = inner._mjx_model
    inner._mjx_model = model
    try:
        yield
    finally:
        inner._mjx_model = before
