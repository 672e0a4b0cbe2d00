"""What ``slmk doctor`` looks at for Playground: JAX with its devices, and the models of robots."""

from __future__ import annotations

from collections.abc import Iterator
from importlib.util import find_spec

from slmk.findings import Finding

__all__ = ["install_for_cuda", "jax_devices", "menagerie"]


def install_for_cuda() -> str:
    """The command that installs JAX for GPUs: for the version of CUDA that torch was made for, as both share one."""
    import torch

    major = (torch.version.cuda or "12").split(".")[0]
    return f"pip install 'jax[cuda{major}]'"


def jax_devices() -> Iterator[Finding]:
    """Whether JAX can be imported after torch, as in a run, and whether it sees the GPU that torch sees."""
    if find_spec("jax") is None:
        return
    from slmk_env_playground import PlaygroundConfig

    PlaygroundConfig(id="any").prepare()  # Before JAX is imported, so that it leaves torch its memory.
    import torch

    try:
        import jax

        devices = jax.devices()
    except Exception as error:
        yield Finding("bad", "jax", f"cannot be used after torch: {error}", "pip install --upgrade jax jaxlib")
        return
    detail = f"{jax.__version__} on {', '.join(str(device) for device in devices)}"
    if torch.cuda.is_available() and all(device.platform == "cpu" for device in devices):
        yield Finding("bad", "jax", f"{detail}, but torch sees a GPU", install_for_cuda())
    else:
        yield Finding("ok", "jax", detail)


def menagerie() -> Iterator[Finding]:
    """Whether the robots' models are there, or in packages from which they are linked, or have to be cloned."""
    from slmk_env_playground.assets import folders, is_whole, place_of_menagerie

    place = place_of_menagerie()
    if place is None:
        return
    if is_whole(place):
        robots = sum(each.is_dir() for each in place.glob("[!.]*"))
        yield Finding("ok", "menagerie", f"{robots} robots in {place}")
    elif folders():
        yield Finding("ok", "menagerie", "in installed packages, linked when the first robot is loaded")
    else:
        advice = "pip install 'slmk-env-playground[menagerie]'; without it the first robot clones them from GitHub"
        yield Finding("note", "menagerie", "models of robots are not there", advice)
