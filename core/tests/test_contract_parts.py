"""Contracts of memories, networks, normalizers, reporters, launchers and environments: each defect fails its check."""

import json
from dataclasses import replace
from typing import ClassVar

import numpy as np
import pytest
import torch
from torch import nn

from slmk import (
    Component,
    LauncherConfig,
    NormalizerConfig,
    ReporterConfig,
    hookimpl,
)
from slmk.builtin import RunningConfig
from slmk.builtin.running import Running
from slmk.config import EnvConfig
from slmk.job import run_job
from slmk.registry import Registry
from slmk.testing import Subject, check_subject, checks_of
from slmk.testing.toy_envs import TASKS, ToyEnv
from slmk.testing.toy_networks import Elman, ElmanConfig, TwoLayers, TwoLayersConfig
from slmk.testing.toy_parts import Recent, RecentConfig, Rollout, RolloutConfig


class StoresTheNextEpisode(Rollout):
    """Takes the first observation of the next episode for the last one of the old."""

    def add(self, obs, act, step):
        super().add(obs, act, step)
        self.steps[-1].next_obs = dict(step.obs)


class RoundsObservations(Rollout):
    """Stores observations in half precision, as SLM-Lab 5 did."""

    def take(self):
        batch = super().take()
        batch.obs["number"] = batch.obs["number"].half()
        return batch


class TurnsTimeRound(Rollout):
    """Gives the latest step first."""

    def take(self):
        return super().take().map(lambda x: x.flip(0))


class RemembersForEver(Rollout):
    """Never forgets."""

    def take(self):
        steps = list(self.steps)
        taken = super().take()
        self.steps = steps
        return taken


class ReusesItsBuffer(Rollout):
    """Hands the same tensor out again and again."""

    def take(self):
        batch = super().take()
        self.buffer = getattr(self, "buffer", batch.reward)
        self.buffer.resize_(batch.reward.shape).copy_(batch.reward)
        batch.reward = self.buffer
        return batch


class SavesNothing(Rollout):
    """Loses the steps of an unfinished rollout."""

    def state_dict(self):
        return {"steps": []}


class PrefersTheFirst(Recent):
    """Draws the first of two draws that is older."""

    def sample(self, batch_size, **options):
        both = super().sample(2 * batch_size, **options)
        order = both.reward.view(2, -1).argmin(0) * batch_size + torch.arange(batch_size)
        return both.map(lambda x: x[order])


class KeepsTooMuch(Recent):
    """Takes the capacity for one of vector steps."""

    def __init__(self, config, env, horizon, generator):
        super().__init__(
            config.model_copy(update={"capacity": config.capacity * env.num_envs}), env, horizon, generator
        )


class DrawsGlobally(Recent):
    """Draws from torch's global generator."""

    def __init__(self, config, env, horizon, generator):
        super().__init__(config, env, horizon, torch.default_generator)


class DiesOfFeedback(Recent):
    """Cannot be told how surprising a sample was."""

    feedback = None


class LosesItsPlace(Recent):
    """Takes the newest step for the oldest when it is full and restored."""

    def load_state_dict(self, state):
        super().load_state_dict(state)
        if len(self.steps) == self.steps.maxlen:
            self.steps.rotate()


class ForgetsErrors(PrefersTheFirst):
    """Draws in another way once it was told errors, and does not save that it was."""

    is_told = False

    def sample(self, batch_size, **options):
        way = super() if self.is_told else super(PrefersTheFirst, self)
        return way.sample(batch_size, **options)

    def feedback(self, batch, error):
        self.is_told = True


class DrawsGlobalWeights(TwoLayers):
    """Leaves the initial weights to torch."""

    def __init__(self, config, inputs, role, generator):
        super().__init__(config, inputs, role, generator)
        nn.init.normal_(self.weight)


class HasAnUnusedLayer(TwoLayers):
    """Has a parameter that does nothing."""

    def __init__(self, config, inputs, role, generator):
        super().__init__(config, inputs, role, generator)
        self.unused = nn.Parameter(torch.zeros(3))


class NormalisesByTheBatch(TwoLayers):
    """Subtracts the mean of whoever acts at the same time."""

    def forward(self, obs, members=None):
        x = super().forward(obs, members)
        return x - x.reshape(-1, x.shape[-1]).mean(0)


class NeedsABatch(TwoLayers):
    """Cannot do with a single observation."""

    def forward(self, obs, members=None):
        x = super().forward(obs, members)
        return x if x.dim() > 1 else x[None]


class LooksAtValues(TwoLayers):
    """Decides by a tensor's value, which no graph can hold."""

    def forward(self, obs, members=None):
        x = super().forward(obs, members)
        return x if x.sum() > -1e9 else -x


class HidesAProjection(TwoLayers):
    """Keeps random weights that are neither parameter nor buffer."""

    def __init__(self, config, inputs, role, generator):
        super().__init__(config, inputs, role, generator)
        self.hidden = [torch.randn(role.outputs, role.outputs, generator=generator)]

    def forward(self, obs, members=None):
        return super().forward(obs, members) @ self.hidden[0]


class CopiesItsMembers(TwoLayers):
    """Draws one member, and takes it for all of them."""

    def __init__(self, config, inputs, role, generator):
        super().__init__(config, inputs, role, generator)
        if role.ensemble:
            for parameter in self.parameters():
                parameter.data[:] = parameter.data[:1]


class AnswersWithEveryMember(TwoLayers):
    """Does not listen to who is asked."""

    def forward(self, obs, members=None):
        return super().forward(obs)


class NeverForgets(Elman):
    """Takes no notice of where episodes begin."""

    def forward(self, obs, members=None):
        return super().forward({**obs, "first": torch.zeros_like(obs["first"])}, members)


class ForgetsEveryStep(Elman):
    """Unrolls as if every step began an episode, so that what is carried is lost."""

    def forward(self, obs, members=None):
        return super().forward({**obs, "first": torch.ones_like(obs["first"])}, members)


class LearnsNothingOfTime(Elman):
    """Cuts the gradient between steps."""

    def _next(self, x, hidden):
        return super()._next(x, hidden.detach())


class StatesTheWrongWidth(Elman):
    """Remembers less than it says."""

    def advance(self, obs):
        return super().advance(obs)[..., :-1]


class HasNoWindow(Elman):
    """Has options of a network without memory, so that no spec is asked for sequences."""


class RemembersWithoutLooking(Elman):
    """Carries on what it remembers as it is."""

    def advance(self, obs):
        return obs["carry"].clone()


class RemembersActions(Elman):
    """Takes a role's extra inputs for observations."""

    def __init__(self, config, inputs, role, generator):
        super().__init__(config, inputs, replace(role, extra={}), generator)


class MovesWhenUsed(Running):
    """Counts everything that it normalises."""

    def forward(self, x):
        y = super().forward(x)
        self.update(x)
        return y


class ShiftsWhenScaling(Running):
    """Subtracts the mean where only the spread should go."""

    def scale(self, x):
        return self(x)


class ForgetsItsShift(Running):
    """Does not save what it normalises with."""

    def __init__(self, config, shape):
        super().__init__(config, shape)
        self.register_buffer("shift", torch.zeros(shape), persistent=False)


class InvertsHalf(Running):
    """Forgets the mean when it goes back."""

    def inverse(self, x):
        return x / self.factor


class DividesByZero(Running):
    """Divides by a spread that may be none."""

    def update(self, x):
        super().update(x)
        self.factor.copy_(self.variance.rsqrt())


class AveragesBatches(Running):
    """Counts every batch alike, however large it is."""

    def update(self, x):
        super().update(x)
        self.count.fill_(1)


class Writer:
    """A right reporter: one line for each row."""

    scope = "seed"

    def __init__(self, config, directory):
        self.path = directory / "rows.txt"

    def start(self, run):
        self.file = self.path.open("a")

    def report(self, row):
        self.file.write(json.dumps(row) + "\n")

    def finish(self, summary):
        self.file.close()


class WritesElsewhere(Writer):
    """Leaves a file in the working directory."""

    def start(self, run):
        super().start(run)
        with open("notes.txt", "w") as file:
            file.write("here I was")


class BelievesInNumbers(Writer):
    """Takes every metric for a finite number."""

    def report(self, row):
        numbers = [value for name, value in row.items() if name.startswith("loss/")]
        assert all(abs(value) < float("inf") for value in numbers)


class StartsAllOver(Writer):
    """Empties its file on resume."""

    def start(self, run):
        self.file = self.path.open("w" if run["resume_from"] else "a")

    def report(self, row):
        if row["env_steps"] <= 64:
            super().report(row)


class EatsRows(Writer):
    """Takes from a row what it has written."""

    def report(self, row):
        super().report(row)
        row.clear()


class AveragesRows(Writer):
    """Divides by the number of rows."""

    def start(self, run):
        super().start(run)
        self.rows = 0

    def report(self, row):
        super().report(row)
        self.rows += 1

    def finish(self, summary):
        self.file.write(str(1 / self.rows))


class BelievesToHaveWritten(Writer):
    """Names a file that is not there."""

    def finish(self, summary):
        super().finish(summary)
        return self.path.with_name("page.html")


class InTurn:
    """A right launcher: one session after the other, in this process."""

    def __init__(self, config):
        pass

    def launch(self, jobs, on_row):
        return [run_job(job, on_row) for job in jobs]


class TellsNothing(InTurn):
    """Does not pass rows on."""

    def launch(self, jobs, on_row):
        return super().launch(jobs, lambda row: None)


class HushesErrors(InTurn):
    """Returns what it has when a session fails."""

    def launch(self, jobs, on_row):
        try:
            return super().launch(jobs, on_row)
        except Exception:
            return []


class Overwrites(ToyEnv):
    """Hands out one reward tensor for ever."""

    def step(self, action):
        step = super().step(action)
        self.reward = getattr(self, "reward", step.reward)
        step.reward = self.reward.copy_(step.reward)
        return step


class ForgetsItsSteps(ToyEnv):
    """Claims exact state and leaves out how far the episodes are."""

    def state_dict(self):
        return {**super().state_dict(), "steps": 0}


class ScalesByItself(ToyEnv):
    """Multiplies rewards by an option that the kernel applies."""

    def __init__(self, task, config, *, device, seed):
        super().__init__(task, config, device=device, seed=seed)
        self._scale = config.reward_scale

    def step(self, action):
        step = super().step(action)
        step.reward = step.reward * self._scale
        return step


class AddsUpForEver(ToyEnv):
    """Reports a figure since the beginning of time rather than since it was asked."""

    def metrics(self):
        return {"env/figure": torch.ones(())}


class KeysByNumber(ToyEnv):
    """Saves a dict whose keys are numbers, which are strings in a file."""

    def state_dict(self):
        return {**super().state_dict(), "steps": {0: self._steps}}

    def load_state_dict(self, state):
        super().load_state_dict({**state, "steps": state["steps"][0]})


class CountsInNumpy(ToyEnv):
    """Saves a number of numpy, which comes back as one of Python."""

    def state_dict(self):
        return {**super().state_dict(), "steps": np.int64(self._steps)}


def overwrites(config, *, device, seed):
    """A factory, as an environment's target may be."""
    return Overwrites(TASKS["toy-bandit"], config, device=device, seed=seed)


def scales_by_itself(config, *, device, seed):
    """Likewise."""
    return ScalesByItself(TASKS["toy-truncating"], config, device=device, seed=seed)


def forgets_its_steps(config, *, device, seed):
    """Likewise."""
    return ForgetsItsSteps(TASKS["toy-truncating"], config, device=device, seed=seed)


def keys_by_number(config, *, device, seed):
    """Likewise."""
    return KeysByNumber(TASKS["toy-truncating"], config, device=device, seed=seed)


def counts_in_numpy(config, *, device, seed):
    """Likewise."""
    return CountsInNumpy(TASKS["toy-truncating"], config, device=device, seed=seed)


def adds_up_for_ever(config, *, device, seed):
    """Likewise."""
    return AddsUpForEver(TASKS["toy-bandit"], config, device=device, seed=seed)


class PooledConfig(NormalizerConfig):
    """Options that claim to pool all data."""

    pooled: ClassVar = True
    clip: float = 10.0
    """As Running."""
    epsilon: float = 1e-8
    """As Running."""


BROKEN = {
    "memory": {
        StoresTheNextEpisode: {"transitions_are_true"},
        RoundsObservations: {"transitions_are_true"},
        TurnsTimeRound: {"order"},
        RemembersForEver: {"forgets_what_was_taken"},
        ReusesItsBuffer: {"keeps_tensors"},
        SavesNothing: {"state_round_trip"},
        PrefersTheFirst: {"uniform"},
        KeepsTooMuch: {"forgets_the_oldest"},
        DrawsGlobally: {"random_streams", "state_round_trip"},
        DiesOfFeedback: {"feedback", "state_round_trip"},
        LosesItsPlace: {"state_round_trip"},
        ForgetsErrors: {"state_round_trip"},
    },
    "net": {
        DrawsGlobalWeights: {"initial_weights"},
        HasAnUnusedLayer: {"every_parameter_gets_a_gradient"},
        NormalisesByTheBatch: {"rows_are_independent", "ensemble"},
        NeedsABatch: {"shapes", "rows_are_independent"},
        LooksAtValues: {"compiles"},
        HidesAProjection: {"state_round_trip", "works_with_functional_call"},
        CopiesItsMembers: {"ensemble"},
        AnswersWithEveryMember: {"ensemble"},
        NeverForgets: {"unrolls_as_it_steps", "forgets_where_episodes_begin"},
        ForgetsEveryStep: {"unrolls_as_it_steps", "forgets_where_episodes_begin", "learns_through_time"},
        LearnsNothingOfTime: {"learns_through_time"},
        StatesTheWrongWidth: {"remembers_so_much", "unrolls_as_it_steps"},
        HasNoWindow: {"remembers_so_much"},
        RemembersWithoutLooking: {"remembers_so_much", "unrolls_as_it_steps"},
        RemembersActions: {"remembers_observations_alone"},
    },
    "normalizer": {
        MovesWhenUsed: {"is_frozen", "identity_before_data", "inverse"},
        ShiftsWhenScaling: {"scale_keeps_sign"},
        ForgetsItsShift: {"state_round_trip"},
        InvertsHalf: {"inverse"},
        DividesByZero: {"constant_data"},
        AveragesBatches: {"splitting"},
    },
    "reporter": {
        WritesElsewhere: {"stays_in_directory"},
        BelievesInNumbers: {"gaps"},
        StartsAllOver: {"resume"},
        EatsRows: {"leaves_rows_alone"},
        AveragesRows: {"nothing_to_report"},
        BelievesToHaveWritten: {"life"},
    },
    "launcher": {TellsNothing: {"runs_every_job"}, HushesErrors: {"passes_errors_on"}},
    "env": {
        overwrites: {"keeps_tensors", "state_round_trip"},
        forgets_its_steps: {"state_round_trip"},
        scales_by_itself: {"leaves_rewards"},
        keys_by_number: {"state_round_trip"},
        adds_up_for_ever: {"metrics"},
    },
}
RIGHT = {
    "memory": (Rollout, Recent),
    "net": (TwoLayers, Elman),
    "normalizer": (Running,),
    "reporter": (Writer,),
    "launcher": (InTurn,),
    "env": (counts_in_numpy,),
}


class OneConfig(ReporterConfig):
    """No options."""


class OtherConfig(LauncherConfig):
    """No options."""


def config_of(kind, part):
    """The config class of a part of this file."""
    if kind == "memory":
        return RolloutConfig if issubclass(part, Rollout) else RecentConfig
    if kind == "net":
        return ElmanConfig if issubclass(part, Elman) and part is not HasNoWindow else TwoLayersConfig
    configs = {"normalizer": RunningConfig, "reporter": OneConfig, "launcher": OtherConfig}
    return configs.get(kind, EnvConfig)


def offered(kind):
    """A hook that offers every part of a kind."""
    parts = [*BROKEN[kind], *RIGHT.get(kind, ())]
    return lambda self: [
        Component(part.__name__, config_of(kind, part), f"{__name__}:{part.__name__}", "s") for part in parts
    ]


class Plugin:
    """Offers everything in this file."""

    slmk_env_backends = hookimpl(offered("env"), specname="slmk_env_backends")
    slmk_memories = hookimpl(offered("memory"), specname="slmk_memories")
    slmk_networks = hookimpl(offered("net"), specname="slmk_networks")
    slmk_normalizers = hookimpl(offered("normalizer"), specname="slmk_normalizers")
    slmk_reporters = hookimpl(offered("reporter"), specname="slmk_reporters")
    slmk_launchers = hookimpl(offered("launcher"), specname="slmk_launchers")


REGISTRY = Registry.from_modules([Plugin()])


def report_on(kind, part):
    """The outcomes of the checks that belong to the kind alone; of a launcher those that its defect concerns."""
    return check_subject(Subject.find(kind, part.__name__, REGISTRY), checks_of(kind, common=False))


@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind in RIGHT for part in RIGHT[kind]])
def test_a_right_part_passes(kind, part):
    """The parts from which the broken ones are made keep every promise."""
    report = report_on(kind, part)
    assert report.ok, str(report)


@pytest.mark.parametrize(("kind", "part"), [(kind, part) for kind in BROKEN for part in BROKEN[kind]])
def test_a_broken_part_fails_the_check_that_is_about_it(kind, part, tmp_path, monkeypatch):
    """Each defect fails the checks that are about it, and no other."""
    monkeypatch.chdir(tmp_path)  # One of them writes where it stands.
    report = report_on(kind, part)
    assert set(report.of("failed")) == BROKEN[kind][part], str(report)
