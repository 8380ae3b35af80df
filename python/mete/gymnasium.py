"""mete's environments as Gymnasium's. Needs gymnasium 1.0 or later.

    import gymnasium, mete, mete.gymnasium                     # the last registers each environment there is
    env = gymnasium.make("mete/cartpole-v0", max_steps=200)    # or mete.make("cartpole", max_steps=200)
    many = mete.make("gridworld", num_envs=64, slip=0.1)       # a vector environment: one call steps all
    mete.make("conf/control/ppo_cartpole.cfg")                 # the `env` of a config

Equal seeds are equal episodes. `info` holds what the environment shows beside the observation, by name (columns,
numbers of a step such as costs, "action_mask"), also what only rewards are meant to see. reset's options: task (the
row of a data environment; by default one after another), evaluation (held-out episodes).

An action or observation that is a text is of the space `Message`: any string. Where actions are indices into a list
that differs from step to step (candidates), the space is as large as the largest list, and info has the list.
No environment here has several agents, and none renders.
"""
from __future__ import annotations

import os
from typing import Any, Optional, Sequence

import gymnasium
import numpy as np
from gymnasium import spaces
from gymnasium.vector import AutoresetMode, VectorEnv
from gymnasium.vector.utils import batch_space

from . import _library as lib
from .world import World, names

__all__ = ["Environment", "VectorEnvironment", "Message", "register"]


class Message(spaces.Text):
    """Any string."""

    def __init__(self) -> None:
        super().__init__(max_length=1 << 30, min_length=0)

    def contains(self, x: Any) -> bool:
        return isinstance(x, str)

    def sample(self, mask: Any = None, probability: Any = None) -> str:
        return "".join(self.np_random.choice(list(self.character_list), int(self.np_random.integers(0, 33))))

    def __repr__(self) -> str:
        return "Message()"

    def __eq__(self, other: Any) -> bool:
        return isinstance(other, Message)


def _space(space: lib.Space, what: str) -> spaces.Space:
    if space.kind == lib.SPACE_BOX:
        bounded = (space.low, space.high) != (0, 0)
        low, high = (space.low, space.high) if bounded else (-np.inf, np.inf)
        return spaces.Box(low, high, (space.size,), np.float32)
    if space.kind == lib.SPACE_TEXT:
        return Message()
    if space.kind == lib.SPACE_NONE:
        return spaces.Discrete(1)
    if not space.count:
        raise ValueError(f"the environment does not say how many {what}s there are, which Gymnasium wants to know")
    return spaces.Discrete(space.count)


class _Lanes:
    """What both kinds of environments do with a World."""

    def __init__(self, environment: "str | os.PathLike[str]", lanes: int, **options: Any) -> None:
        self.world = World(environment, lanes, **options)
        self.observation_space = _space(self.world.spaces.observation, "observation")
        self.action_space = _space(self.world.spaces.action, "action")
        self.talks = isinstance(self.observation_space, Message)
        self.discrete = isinstance(self.observation_space, spaces.Discrete)
        self.task = 0

    def start(self, lanes: Sequence[int], episodes: Sequence[int], options: Optional[dict]) -> None:
        options = dict(options or {})
        first = options.pop("task", self.task)
        evaluation = bool(options.pop("evaluation", False))
        if options:
            raise ValueError(f"reset has no option {', '.join(options)}; it has task and evaluation")
        self.world.reset(lanes, episodes, range(first, first + len(lanes)), evaluation)
        self.task = first + len(lanes)

    def shown(self, array: Optional[np.ndarray]) -> Any:
        """The lanes' observations from an array of them: a copy, in the space's own type."""
        if array is None:
            return np.zeros(self.world.lanes, np.int64)
        return array[:, 0].astype(np.int64) if self.discrete else array.copy()

    def act(self, actions: Any) -> None:
        if self.world.action is None:
            self.world.step(actions)
            return
        self.world.action[:] = actions
        self.world.step()


def _episode(rng: np.random.Generator) -> int:
    return int(rng.integers(1, 2 ** 63))


class Environment(gymnasium.Env):
    """One lane. `options` are the plugin's; also `set` ("path=value" overrides of a config)."""

    metadata = {"render_modes": []}

    def __init__(self, environment: "str | os.PathLike[str]", *, render_mode: Optional[str] = None,
                 **options: Any) -> None:
        if render_mode is not None:
            raise ValueError("mete's environments do not render")
        self.render_mode = None
        self._lanes = _Lanes(environment, 1, **options)
        self.observation_space = self._lanes.observation_space
        self.action_space = self._lanes.action_space
        self._over = True

    def _observation(self, final: bool = False) -> Any:
        world = self._lanes.world
        if self._lanes.talks:
            return world.final_prompt(0) if final else world.prompt(0)
        seen = self._lanes.shown(world.final_observation if final else world.observation)
        return seen[0]

    def _info(self, signals: bool, columns: bool) -> "dict[str, Any]":
        """Columns are of the episode the lane shows: the next one already, once it has ended."""
        world = self._lanes.world
        info = {c.name: c[0] for c in world.columns if (signals if c.signal else columns)}
        if columns and world.action_mask is not None:
            info["action_mask"] = world.action_mask[0].astype(np.int8)
        return info

    def reset(self, *, seed: Optional[int] = None, options: Optional[dict] = None) -> "tuple[Any, dict[str, Any]]":
        super().reset(seed=seed)
        if seed is not None:
            self._lanes.task = 0
        self._lanes.start([0], [_episode(self.np_random)], options)
        self._over = False
        return self._observation(), self._info(False, True)

    def step(self, action: Any) -> "tuple[Any, float, bool, bool, dict[str, Any]]":
        if self._over:
            raise gymnasium.error.ResetNeeded("the episode has ended (or none has begun): call reset() first")
        self._lanes.act([action])
        world = self._lanes.world
        terminated, truncated = bool(world.terminated[0]), bool(world.truncated[0])
        self._over = terminated or truncated
        return (self._observation(self._over), float(world.reward[0]), terminated, truncated,
                self._info(True, not self._over))

    def close(self) -> None:
        if self._lanes.world is not None:
            self._lanes.world.close()
            self._lanes.world = None


class VectorEnvironment(VectorEnv):
    """`num_envs` lanes, stepped by one call (and by `threads`). A lane that ends begins its next episode in that
    step: its last observation is in info["final_obs"], what the step did in info["final_info"].

    After reset(seed=s) lane i begins with the episode that the single environment begins with after reset(seed=s + i).
    """

    metadata = {"render_modes": [], "autoreset_mode": AutoresetMode.SAME_STEP}

    def __init__(self, environment: "str | os.PathLike[str]", num_envs: int = 1, *,
                 render_mode: Optional[str] = None, **options: Any) -> None:
        super().__init__()
        if render_mode is not None:
            raise ValueError("mete's environments do not render")
        self.render_mode = None
        self.num_envs = num_envs
        self._lanes = _Lanes(environment, num_envs, **options)
        self.single_observation_space = self._lanes.observation_space
        self.single_action_space = self._lanes.action_space
        self.observation_space = batch_space(self.single_observation_space, num_envs)
        self.action_space = batch_space(self.single_action_space, num_envs)

    def _observations(self) -> Any:
        lanes = self._lanes
        if lanes.talks:
            return tuple(lanes.world.prompt(i) for i in range(self.num_envs))
        return lanes.shown(lanes.world.observation)

    def _infos(self, which: np.ndarray, signals: bool, columns: bool) -> "dict[str, Any]":
        """What lanes `which` show, each with its mask as Gymnasium has it."""
        infos: "dict[str, Any]" = {}
        world = self._lanes.world
        for c in world.columns:
            if not (signals if c.signal else columns):
                continue
            if c.array is not None:
                infos[c.name] = c.array.copy()
            else:
                infos[c.name] = np.full(self.num_envs, None, object)
                for i in np.flatnonzero(which):
                    infos[c.name][i] = c[int(i)]
            infos["_" + c.name] = which.copy()
        if columns and world.action_mask is not None:
            infos["action_mask"] = world.action_mask.astype(np.int8)
            infos["_action_mask"] = which.copy()
        return infos

    def _generators(self, seed: "int | Sequence[Optional[int]] | None") -> "list[np.random.Generator]":
        if isinstance(seed, (int, np.integer)):
            seed = [int(seed) + i for i in range(self.num_envs)]
        if seed is None:
            return [self.np_random] * self.num_envs
        if len(seed) != self.num_envs:
            raise ValueError(f"{len(seed)} seeds for {self.num_envs} environments")
        return [self.np_random if s is None else gymnasium.utils.seeding.np_random(s)[0] for s in seed]

    def reset(self, *, seed: "int | Sequence[Optional[int]] | None" = None,
              options: Optional[dict] = None) -> "tuple[Any, dict[str, Any]]":
        super().reset(seed=seed if isinstance(seed, (int, np.integer)) else None)
        options = dict(options or {})
        which = np.asarray(options.pop("reset_mask", np.ones(self.num_envs, np.bool_)))
        if which.shape != (self.num_envs,) or which.dtype != np.bool_:
            raise ValueError(f"reset_mask must be {self.num_envs} bools")
        if seed is not None and which.all():
            self._lanes.task = 0
        generators = self._generators(seed)
        lanes = [int(i) for i in np.flatnonzero(which)]
        self._lanes.start(lanes, [_episode(generators[i]) for i in lanes], options)
        return self._observations(), self._infos(which, False, True)

    def step(self, actions: Any) -> "tuple[Any, np.ndarray, np.ndarray, np.ndarray, dict[str, Any]]":
        lanes, world, n = self._lanes, self._lanes.world, self.num_envs
        lanes.act(actions)
        terminated, truncated = world.terminated.astype(np.bool_), world.truncated.astype(np.bool_)
        infos = self._infos(np.ones(n, np.bool_), True, True)
        over = terminated | truncated
        if over.any():
            last = None if lanes.talks else lanes.shown(world.final_observation)
            infos["final_obs"] = np.full(n, None, object)
            for i in np.flatnonzero(over):
                infos["final_obs"][i] = world.final_prompt(int(i)) if lanes.talks else last[i]
            infos["_final_obs"] = over
            infos["final_info"], infos["_final_info"] = self._infos(over, True, False), over
        return self._observations(), world.reward.astype(np.float64), terminated, truncated, infos

    def close_extras(self, **kwargs: Any) -> None:
        if self._lanes.world is not None:
            self._lanes.world.close()
            self._lanes.world = None


def register() -> None:
    """Makes each environment of the installation known to gymnasium.make as "mete/NAME-v0"."""
    for name in names():
        if f"mete/{name}-v0" not in gymnasium.registry:
            gymnasium.register(f"mete/{name}-v0", entry_point="mete.gymnasium:Environment",
                               vector_entry_point="mete.gymnasium:VectorEnvironment", kwargs={"environment": name})


register()
