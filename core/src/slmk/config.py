"""Typed, frozen options: the base of every component's config and the sections the kernel itself reads."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from math import ceil
from typing import Annotated, Any, ClassVar, Literal, Self

from pydantic import AfterValidator, BaseModel, ConfigDict, Field

__all__ = [
    "Activation",
    "AlgorithmConfig",
    "Compile",
    "Config",
    "EnvConfig",
    "Exploration",
    "Fraction",
    "FractionSchedule",
    "Gaussian",
    "Init",
    "LauncherConfig",
    "Linear",
    "MemoryConfig",
    "NetworkConfig",
    "NonNegative",
    "NonNegativeInt",
    "NonNegativeSchedule",
    "NormalizerConfig",
    "OffPolicyConfig",
    "Positive",
    "PositiveInt",
    "PositiveSchedule",
    "RecurrentNetworkConfig",
    "ReporterConfig",
    "RunConfig",
    "Schedule",
    "TargetConfig",
]

NonNegative = Annotated[float, Field(ge=0)]
"""A float of 0 or more."""
Positive = Annotated[float, Field(gt=0)]
"""A float above 0."""
PositiveInt = Annotated[int, Field(gt=0)]
"""An int above 0."""
NonNegativeInt = Annotated[int, Field(ge=0)]
"""An int of 0 or more."""
Fraction = Annotated[float, Field(ge=0, le=1)]
"""A float in [0, 1]."""
Compile = Literal["auto", "on", "off"]
"""Whether to compile update steps; ``auto`` where that is measured to pay back."""
Activation = Literal["tanh", "relu", "elu", "swish", "gelu"]
"""Names of activations; `slmk.toolbox.layers.ACTIVATIONS` has the functions."""
Init = Literal["orthogonal", "lecun_uniform", "kaiming_uniform", "pytorch"]
"""Schemes of initial weights, which `slmk.toolbox.layers.linear` draws.

``orthogonal``: singular values equal to the gain, biases 0 (Saxe et al. 2014, arXiv:1312.6120).
``lecun_uniform``: ±√(3 / inputs), biases 0 (LeCun et al. 1998, "Efficient BackProp"; JAX's habit).
``kaiming_uniform``: ±√(6 / inputs), biases 0 (He et al. 2015, arXiv:1502.01852).
``pytorch``: ±√(1 / inputs), biases too; that of `torch.nn.Linear`.
"""
Gaussian = Literal["state_independent", "state_dependent", "tanh", "tanh_clamped"]
"""Kinds of continuous actions, for which `slmk.toolbox.heads.action_head` has heads.

``state_independent``: a Gaussian whose log standard deviation is a parameter of the head; clipped to the bounds.
``state_dependent``: the network gives mean and standard deviation; clipped to the bounds.
``tanh``: as the one before, but squashed by tanh and stretched to the bounds, which must be finite.
``tanh_clamped``: as ``tanh``, but the network gives the logarithm of the standard deviation, clamped, as in SAC.
"""
Exploration = Literal["epsilon", "boltzmann"]
"""How to act by values (`slmk.toolbox.values.value_policy`): greedily but for a share ε of random actions, or each
action with probability ∝ exp(Q / T)."""


class Config(BaseModel):
    """Base of all options: frozen, strictly typed, and an unknown key is an error.

    Types are strict (``"3"`` is not 3, ``true`` is not 1), except that an int may stand for a float. Sequences are
    tuples. The string literal under a field is its documentation.
    """

    # `defer_build`: a schema is compiled when it is first used; all at import would cost `slmk --help` 60 ms.
    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, defer_build=True)

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """Yield ``(path, message)`` for what is wrong with these options in the light of the whole spec.

        Args:
            spec: the validated configs by section: ``run``, ``env``, ``algorithm``, ``memory``, ``network`` (by
                role), ``normalizer`` (by role). A section with problems of its own is missing.

        A path is relative to the component's own section, such as ``minibatches``.
        """
        return ()


class Linear(Config):
    """A value that moves in a straight line from `start` to `end` over the run (or the first part of it)."""

    start: float
    """Value at the beginning of the run."""
    end: float
    """Value at `until`, kept from there on."""
    until: Annotated[float, Field(gt=0, le=1)] = 1.0
    """Fraction of `run.env_steps` at which `end` is reached."""


def _limited(allowed: Callable[[float], bool], words: str) -> AfterValidator:
    """Asks of a line what is `allowed` of a number: where both its ends are, all values between them are."""

    def check(line: Linear) -> Linear:
        if not (allowed(line.start) and allowed(line.end)):
            raise ValueError(f"goes from {line.start:g} to {line.end:g}, and has to {words}")
        return line

    return AfterValidator(check)


Schedule = float | Linear
"""A constant, or ``{ start = …, end = … }``. `slmk.toolbox.schedules.at` evaluates it."""
NonNegativeSchedule = NonNegative | Annotated[Linear, _limited(lambda x: x >= 0, "be at least 0")]
"""A schedule whose values are 0 or more."""
PositiveSchedule = Positive | Annotated[Linear, _limited(lambda x: x > 0, "stay above 0")]
"""A schedule whose values are above 0."""
FractionSchedule = Fraction | Annotated[Linear, _limited(lambda x: 0 <= x <= 1, "stay within [0, 1]")]
"""A schedule whose values lie in [0, 1]."""


class EnvConfig(Config):
    """Base of environment options. A backend adds its own fields, an `id` among them where it has ids.

    Rewards are scaled by the kernel: a backend returns them as they are.
    """

    incidental: ClassVar[frozenset[str]] = frozenset({"num_envs", "render", "reward_scale"})
    """Options by which the task stays what it is: for speed, pictures, another scale, noise that no evaluation has."""

    num_envs: PositiveInt = 1
    """Environments stepped together (N)."""
    reward_scale: Positive = 1.0
    """Factor on training rewards, hence on training returns. Evaluation leaves rewards as they are."""
    render: bool = False
    """Be ready to give pictures, as ``slmk eval`` asks for them to show or film episodes."""

    @classmethod
    def __pydantic_init_subclass__(cls, **kwargs: Any) -> None:
        """Refuse `incidental` names that no option has, or a misspelt one would count as part of the task."""
        if unknown := sorted(set(cls.incidental) - set(cls.model_fields)):
            raise TypeError(f"{cls.__name__}.incidental names {', '.join(unknown)}, which it has no options for")

    def task(self) -> dict[str, Any]:
        """The options that say what is observed, rewarded and ended, and what an action does; as JSON types."""
        return self.model_dump(mode="json", exclude=set(self.incidental))

    def prepare(self) -> None:
        """Do what must happen in this process before torch or the simulator is imported. Nothing, by default."""

    def for_evaluation(self, num_envs: int) -> Self:
        """These options for `num_envs` evaluation environments, with plain rewards.

        A backend that has more to switch off changes what this returns.
        """
        return self.model_copy(update={"num_envs": num_envs, "reward_scale": 1.0})


class AlgorithmConfig(Config):
    """Base of algorithm options. The class variables let a spec be checked without importing the algorithm."""

    memory: ClassVar[Literal["take", "sample", "none"]]
    """What it needs: a rollout to ``take``, a replay to ``sample`` from, or ``none``."""
    roles: ClassVar[tuple[str, ...]] = ()
    """Names of the networks it needs: the tables ``[network.<role>]``."""
    normalizers: ClassVar[tuple[str, ...]] = ()
    """Names of the normalizers it can use: the tables ``[normalizer.<role>]``; ``obs`` means observations.

    The algorithm moves the statistics; by `Model.observe` those of observations, of which each acted on counts once.
    """
    windowed: ClassVar[bool] = True
    """Whether rollouts are cut into the windows of recurrent networks, rather than into segments of its own."""
    deterministic_policy: ClassVar[bool] = True
    """Whether `Algorithm.policy` gives one and the same action for an observation."""

    horizon: PositiveInt = 1
    """Vector steps (T) between two calls of `learn`."""


class OffPolicyConfig(AlgorithmConfig):
    """Base of options of an algorithm that learns from samples of a memory, after a warm-up."""

    memory: ClassVar = "sample"

    learning_starts: NonNegativeInt = 0
    """Environment steps with uniformly random actions before learning starts. ``slmk run --dev`` shortens them."""
    utd_ratio: Positive = 1.0
    """Gradient steps per environment transition, whatever `env.num_envs` and `horizon` are."""
    batch_size: PositiveInt = 256
    """Transitions, or sequences, in each gradient step."""

    def problems(self, spec: Mapping[str, Any]) -> Iterable[tuple[str, str]]:
        """There must be a gradient step within the run."""
        if "run" not in spec or "env" not in spec:
            return
        steps = self.horizon * spec["env"].num_envs
        iterations = ceil(spec["run"].env_steps / steps)
        warm_up = ceil(self.learning_starts / steps)
        filling = ceil(self.batch_size / steps) - 1
        rest = (iterations - max(warm_up, filling)) * steps
        if warm_up >= iterations:
            last = (iterations - 1) * steps
            yield "learning_starts", f"the last iteration begins after {last:,} environment steps, too early to learn"
        elif filling >= iterations:
            yield "batch_size", f"all {iterations * steps:,} transitions of the run are less than one batch"
        elif self.utd_ratio * rest < 1:
            yield "utd_ratio", f"{self.utd_ratio:g} gradient steps for each of {rest:,} transitions are less than one"


class MemoryConfig(Config):
    """Base of memory options."""

    offers: ClassVar[Literal["take", "sample"]]
    """How experience comes out: all at once and then forgotten (``take``), or by drawing (``sample``)."""


class NetworkConfig(Config):
    """Base of network options."""

    obs: tuple[str, ...] = ()
    """Observation groups this role reads, in order; empty for all the environment has, but for a ``mask`` of discrete
    actions."""


class RecurrentNetworkConfig(NetworkConfig):
    """Base of options of a network that remembers. A spec is checked to give it sequences to train on."""

    window: PositiveInt = 16
    """Steps through which gradients flow in training on rollouts: the same for all roles, a divisor of the algorithm's
    horizon. Sampled sequences have their length from the memory instead, and those of ``ppo_brax`` from its
    `unroll_length`."""


class NormalizerConfig(Config):
    """Base of normalizer options."""

    pooled: ClassVar[bool] = False
    """Whether its statistics are those of all data seen, so that it does not matter how that was split into batches."""


class ReporterConfig(Config):
    """Base of reporter options."""


class LauncherConfig(Config):
    """Base of launcher options."""


Matmul = Literal["float32", "tf32", "bf16"]
"""What factors of matrix products, and on GPUs of convolutions, are rounded to: not at all, to 10 bits of mantissa, or
to 7. Sums are float32."""


class RunConfig(Config):
    """The section ``[run]``: what the kernel itself needs to know."""

    env_steps: PositiveInt
    """Budget: transitions summed over environments. The run stops at the first iteration that reaches it."""
    seed: NonNegativeInt = 0
    """Seed of the first session; session k uses ``seed + k``."""
    seeds: PositiveInt = 1
    """Sessions (independent repetitions) of the trial."""
    device: Annotated[str, Field(pattern=r"^(cpu|cuda|xpu)(:\d+)?$")] = "cpu"
    """Device of environments, memory and networks, such as ``cpu``, ``cuda`` or ``cuda:1``."""
    threads: PositiveInt = 1
    """torch threads of each session. One is fastest for small networks."""
    matmul: Matmul = "float32"
    """Arithmetic of matrix products, where `device` has it: ``tf32`` on NVIDIA GPUs since Ampere, there for
    convolutions and recurrent layers too; ``bf16`` in compiled updates on CPUs with AMX or AVX-512 BF16. Faster for
    wide networks; may cost some of the score."""
    compile: Compile = "auto"
    """Compile the update step: ``auto`` measures whether it pays back within this run, and records the choice."""
    report_every: NonNegativeInt = 0
    """Environment steps between two metrics rows; 0 for a 200th of the budget."""
    eval_every: NonNegativeInt = 0
    """Environment steps between two evaluations; 0 for a tenth of the budget."""
    eval_episodes: NonNegativeInt = 10
    """Episodes of each evaluation; 0 for no evaluation."""
    checkpoint_every: NonNegativeInt = 0
    """Environment steps between two checkpoints; 0 for a tenth of the budget."""
    restart_every: NonNegativeInt = 0
    """Environment steps after which all environments begin new episodes at once, at the end of an iteration; 0 for
    never. Keeps training near where episodes begin, as Brax does. Episodes given up so have no return."""
    debug: bool = False
    """Check every iteration for values that are not finite and for wrong shapes (slower)."""


class TargetConfig(Config):
    """The section ``[target]``: the score this spec is expected to reach, and who says so."""

    score: float
    """The target, compared with `metric` of the mean over seeds."""
    metric: Literal["final_return_ma", "final_eval_return", "max_return_ma"] = "final_return_ma"
    """Which score of ``summary.json`` is compared: the moving average over the last 100 training episodes at the end,
    the mean return of the last evaluation, or the highest moving average."""
    source: str
    """Where the target comes from."""
    env_steps: PositiveInt | None = None
    """Environment steps after which the source has that score; a run of fewer is said to be so. None if as many as the
    spec's own budget."""
