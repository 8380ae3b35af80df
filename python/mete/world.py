"""Lanes of an environment as numpy arrays: what mete.gymnasium is made of. Needs numpy.

    world = World("cartpole", lanes=8, max_steps=200)
    world.reset(range(8), episodes=range(1, 9))
    world.action[:] = 1
    world.step()
    world.observation, world.reward, world.terminated      # arrays that each step writes anew
"""
from __future__ import annotations

import ctypes
import json
import os
from typing import Any, Iterable, Mapping, Optional, Sequence

import numpy as np

from . import _library as lib


def setting(value: Any) -> str:
    """A value as a config spells it."""
    if hasattr(value, "tolist"):
        value = value.tolist()
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, int):
        return f"{value}L" if abs(value) >= 2 ** 31 else str(value)
    if isinstance(value, float):
        text = repr(value)
        return text if any(c in text for c in ".en") else text + ".0"
    if isinstance(value, (str, os.PathLike)):
        return json.dumps(os.fspath(value), ensure_ascii=False)
    if isinstance(value, Mapping):
        return "{ " + " ".join(f"{k} = {setting(v)};" for k, v in value.items()) + " }"
    if isinstance(value, Iterable):
        return "( " + ", ".join(setting(v) for v in value) + " )"
    raise TypeError(f"a config has no word for {value!r}")


def is_config(environment: str) -> bool:
    """A config's file, and not the name of a plugin."""
    return environment.endswith(".cfg") or os.sep in environment


def names() -> "list[str]":
    """The environments that are installed."""
    size = lib.mete.mete_plugin_names(lib.KIND_ENVIRONMENT, None, 0) + 1
    text = ctypes.create_string_buffer(size)
    lib.mete.mete_plugin_names(lib.KIND_ENVIRONMENT, text, size)
    return text.value.decode().split()


def _array(pointer: Any, *shape: int) -> Optional[np.ndarray]:
    """The library's own memory; None for NULL."""
    return np.ctypeslib.as_array(pointer, shape) if pointer else None


class Column:
    """What lanes show beside the observation. `signal`: a number that the last step did."""

    def __init__(self, world: "World", index: int) -> None:
        row = world.struct.column[index]
        self._world, self._index = world, index
        self.name: str = row.name.decode()
        self.help: str = (row.help or b"").decode()
        self.signal, self.list = bool(row.signal), row.level == lib.METE_LIST
        self.text = row.element in (lib.METE_TEXT, lib.METE_JSON)
        element = lib.View if self.text else lib.ELEMENT[row.element]
        self._value = None if self.list else ctypes.cast(row.value, ctypes.POINTER(element))
        self.array = None if self.list or self.text else _array(self._value, world.lanes)

    def __getitem__(self, lane: int) -> Any:
        """The lane's value: a number, a text or a list of texts."""
        if self.array is not None:
            return self.array[lane].item()
        if self.text and not self.list:
            return self._value[lane].read()
        texts = lib.mete.mete_world_list(self._world.open(), self._index, lane)
        return [texts.item[i].read() for i in range(texts.count)]


class World:
    """Lanes of one environment.

    environment  a plugin's name, or a config's file whose `env` is meant
    lanes        how many go side by side
    threads      that step them
    set          "path=value" overrides, as after --set
    options      the plugin's own

    Arrays are the library's memory, one row a lane: `observation` (None for texts), `action_mask`, `reward`,
    `terminated`, `truncated`, `final_observation` (where a lane ended; it then shows its next episode), and `action`,
    to be filled before a step: int32 [lanes] or float32 [lanes, size].
    """

    _free = lib.mete.mete_world_close  # of the class: modules are gone when the interpreter ends

    def __init__(self, environment: "str | os.PathLike[str]", lanes: int = 1, *, threads: int = 1,
                 set: Iterable[str] = (), **options: Any) -> None:
        self._world = None
        environment = os.fspath(environment)
        config = is_config(environment)
        values = [] if config else ["env.use=" + setting(environment)]
        values += [f"env.{name}={setting(value)}" for name, value in options.items()] + list(set)
        values = [v.encode() for v in values]
        own = lib.WorldOptions(size=ctypes.sizeof(lib.WorldOptions), threads=threads, lanes=lanes, sets=len(values))
        own.set = (ctypes.c_char_p * len(values))(*values)
        error = lib.Error()
        world = lib.mete.mete_world_open(os.fsencode(environment) if config else None, ctypes.byref(own),
                                         ctypes.byref(error))
        if not world:
            raise ValueError(error.message.decode("utf-8", "replace"))
        self._world = world
        self.struct: lib.World = world.contents
        self.lanes: int = self.struct.lanes
        self.spaces: lib.Spaces = self.struct.spaces.contents
        now, moved, actions = (getattr(self.struct, k).contents for k in ("now", "moved", "actions"))
        self.observation = _array(now.observation, lanes, now.observation_size)
        self.action_mask = _array(now.action_mask, lanes, self.spaces.action.count)
        self.reward = _array(moved.reward, lanes)
        self.terminated, self.truncated = _array(moved.terminated, lanes), _array(moved.truncated, lanes)
        self.final_observation = _array(moved.final_observation, lanes, now.observation_size)
        self.action = (_array(actions.action, lanes) if actions.action
                       else _array(actions.vector, lanes, actions.vector_size))
        self._prompt, self._final_prompt, self._text = now.prompt, moved.final_prompt, actions.text
        self.columns = [Column(self, i) for i in range(self.struct.columns)]

    def open(self) -> Any:
        if self._world is None:
            raise ValueError("the environment is closed")
        return self._world

    def close(self) -> None:
        """Frees all lanes. The arrays are gone with them."""
        world, self._world = self._world, None
        self.struct = self.columns = self.observation = self.action_mask = self.reward = self.terminated = None
        self.truncated = self.final_observation = self.action = self._prompt = self._final_prompt = self._text = None
        self._free(world)

    def __del__(self) -> None:
        if getattr(self, "_world", None) is not None:
            self.close()

    def _check(self, status: int, error: lib.Error) -> None:
        if status:
            raise ValueError(error.message.decode("utf-8", "replace"))

    def reset(self, lanes: Sequence[int], episodes: Sequence[int], tasks: Optional[Sequence[int]] = None,
              evaluation: bool = False) -> None:
        """Starts lanes with episodes of these ids (equal ids, equal episodes) and tasks of these numbers (rows of a
        data environment; else the lanes' own). Ids and numbers are at least 0 and below 2 ** 64."""
        n, error = len(lanes), lib.Error()
        wide = ctypes.c_uint64 * n
        status = lib.mete.mete_world_reset(self.open(), (ctypes.c_uint32 * n)(*lanes), n, wide(*episodes),
                                           wide(*(lanes if tasks is None else tasks)), evaluation, ctypes.byref(error))
        self._check(status, error)

    def step(self, texts: Sequence[str] = ()) -> None:
        """One step of all lanes by `action`, or by `texts` where actions are texts."""
        world, error = self.open(), lib.Error()
        kept = [t.encode("utf-8", "replace") for t in texts]
        for i, data in enumerate(kept):
            self._text[i] = lib.Text(data, len(data))
        self._check(lib.mete.mete_world_step(world, ctypes.byref(error)), error)

    def prompt(self, lane: int) -> str:
        """The text the lane shows."""
        return self._prompt[lane].read()

    def final_prompt(self, lane: int) -> str:
        """The text after the last answer of the episode that the last step ended; "" where there is none."""
        return self._final_prompt[lane].read()
