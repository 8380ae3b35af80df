"""As much of Gymnasium's interface as the plugin uses, for where Gymnasium is not installed; worlds to test with."""
import os
import random
import time
import types


class Discrete:
    def __init__(self, n, start=0):
        self.n, self.start = n, start


class Numbers(list):
    """Bounds, which numpy would hold."""

    def ravel(self):
        return self

    def tolist(self):
        return list(self)


class Box:
    def __init__(self, low, high, size):
        self.low, self.high, self.shape = Numbers([low] * size), Numbers([high] * size), (size,)


class Dict:
    def __init__(self, **spaces):
        self.spaces = spaces


class Text:
    def __repr__(self):
        return "Text(9)"


def flatten_space(space):
    if not isinstance(space, Dict):
        raise NotImplementedError
    return Box(-9.0, 9.0, sum(s.shape[0] for s in space.spaces.values()))


def flatten(space, seen):
    return [x for name in space.spaces for x in seen[name]]


spaces = types.SimpleNamespace(Discrete=Discrete, Box=Box, Dict=Dict, Text=Text, flatten_space=flatten_space,
                               flatten=flatten)


class Walk:
    """From somewhere near 0 to 3 (reward 1) or -3; the wind takes one step in eight back."""

    observation_space, action_space = Box(-9.0, 9.0, 2), Discrete(2, start=1)

    def __init__(self, goal=3, kind="walk", max_episode_steps=40):
        self.goal, self.kind = goal, kind
        self.spec = types.SimpleNamespace(max_episode_steps=max_episode_steps)
        if kind == "words":
            self.observation_space = Text()
        elif kind == "pair":
            self.observation_space = Dict(place=Box(-9.0, 9.0, 1), step=Box(0.0, 9.0, 1))

    def seen(self):
        place, step = float(self.place), self.age / 40
        return {"place": [place], "step": [step]} if self.kind == "pair" else [place, step]

    def reset(self, *, seed=None, options=None):
        self.draw = random.Random(seed)
        self.place, self.age = self.draw.choice([-1, 0, 1]), 0
        return self.seen(), {}

    def step(self, action):
        assert action in (1, 2), action
        self.place += (1 if action == 2 else -1) * (-1 if self.draw.random() < 0.125 else 1)
        self.age += 1
        if self.kind == "crash" and self.age == 3:
            os.abort()
        if self.kind == "hang" and self.age == 3:
            time.sleep(3600)
        if self.kind == "raise" and self.age == 3:
            raise KeyError("no such place")
        if self.kind == "nothing" and self.age == 3:
            self.place = float("nan")
        over = abs(self.place) >= self.goal
        return (self.seen(), float(self.place >= self.goal), over, self.age >= self.spec.max_episode_steps,
                {"wind": self.age % 2})

    def close(self):
        pass


def make(id, **words):
    if id != "Walk-v0":
        raise LookupError("no environment " + id)
    return Walk(**words)
