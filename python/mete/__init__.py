"""Rewards composed by a config, as Python functions.

    import mete
    reward = mete.Reward("reward.cfg")
    reward(prompts=["2 + 2?"], completions=["4"], answer=["4"])      # TRL's signature: [1.0]
    mete.score([{"prompt": "2 + 2?", "response": "4", "answer": "4"}], "reward.cfg")[0].components

A score has the bits that `mete score` gives the same record. Nothing but libmete and the standard
library is needed; calls release the interpreter's lock, and threads may share a Reward.

    env = mete.make("cartpole", max_steps=200)      # a Gymnasium environment; see mete.gymnasium
"""
from __future__ import annotations

import ctypes
import json
import math
import os
import threading
from array import array
from dataclasses import dataclass
from itertools import accumulate
from typing import Any, Callable, Iterable, Mapping, Optional, Sequence, TypeVar, Union

from . import _library as lib

__all__ = ["Reward", "Score", "MissingScore", "score", "compute_score", "reward_func", "make"]

_mete = lib.mete
Messages = Sequence[Mapping[str, Any]]
Texts = Sequence[Union[str, Messages]]
_T = TypeVar("_T")


class MissingScore(ValueError):
    """A record has no score, where the caller's protocol has no word for that."""


@dataclass(frozen=True)
class Score:
    """What became of one record: `reward` is None unless `status` is "valid"."""

    reward: Optional[float]
    status: str
    reason: str
    spread: Optional[float]
    components: "dict[str, Optional[float]]"


def _bytes(text: str) -> bytes:
    return text.encode("utf-8", "replace")


def _text(data: bytes) -> lib.Text:
    return lib.Text(data, len(data))


def _json(value: Any) -> bytes:
    """JSON of plain values, and of what numpy and torch have a `tolist` for."""
    return json.dumps(value, default=lambda v: v.tolist(), allow_nan=False).encode()


_utf8 = ctypes.pythonapi.PyUnicode_AsUTF8  # a text's bytes where they are: a copy of a batch costs more than its scores
_utf8.restype, _utf8.argtypes = ctypes.c_void_p, [ctypes.py_object]


def _values(name: str, values: Sequence[Any], keep: "list[Any]") -> lib.Values:
    """A column for the library, which points into what `keep` holds afterwards."""
    column = lib.Values(size=ctypes.sizeof(lib.Values), name=name.encode())
    parts, whole = values, _joined(values)
    if whole is not None:
        column.bytes = _utf8(whole)
    else:
        parts = [b"" if v is None else _bytes(v) if isinstance(v, str) else _json(v) for v in values]
        whole = b"".join(parts)
        column.bytes = ctypes.cast(whole, ctypes.c_void_p)
        elements = bytearray(lib.ABSENT if v is None else lib.METE_TEXT if isinstance(v, str) else lib.METE_JSON
                             for v in values)
        column.element = (ctypes.c_uint8 * len(elements)).from_buffer(elements)
    offsets = array("Q", accumulate(map(len, parts), initial=0))
    column.offset = (ctypes.c_uint64 * len(offsets)).from_buffer(offsets)
    keep += (whole, column)
    return column


def _joined(values: Sequence[Any]) -> Optional[str]:
    """All values end to end where each is a text of ASCII, so that characters are bytes; else None."""
    try:
        whole = "".join(values)
    except TypeError:
        return None
    return whole if whole.isascii() else None


def _numbers(values: Any, status: Any, begin: int, count: int) -> "list[Optional[float]]":
    """`count` numbers from `begin` on, None where they are not valid."""
    numbers = values[begin:begin + count]
    if any(status[begin:begin + count]):
        return [None if math.isnan(v) else v for v in numbers]
    return numbers


def _lists(out: lib.Results) -> "tuple[list[Optional[float]], dict[str, list[Optional[float]]]]":
    """Rewards, and each node's values by name."""
    n = out.count
    parts = {out.name[k].decode(): _numbers(out.component, out.component_status, k * n, n)
             for k in range(out.components)}
    return _numbers(out.reward, out.status, 0, n), parts


def _scores(out: lib.Results) -> "list[Score]":
    n, (rewards, parts) = out.count, _lists(out)
    spread = [None if math.isnan(v) else v for v in out.spread[:n]]
    return [Score(rewards[i], lib.STATUS[out.status[i]], out.reason[i].decode("utf-8", "replace"), spread[i],
                  {name: values[i] for name, values in parts.items()}) for i in range(n)]


class Reward:
    """The reward tree of a config.

    config   the file
    set      "path=value" overrides, as after `mete score --set`
    threads  calls that may score side by side, each with a tree of its own
    missing  "error", or the number that stands for a score there is not, in the protocols that have
             no word for that (verl, OpenRLHF)
    """

    _free = lib.mete.mete_close  # of the class: modules are gone when the interpreter ends

    def __init__(self, config: "str | os.PathLike[str]", *, set: Iterable[str] = (), threads: int = 1,
                 missing: "float | str" = "error") -> None:
        values = [_bytes(v) for v in set]
        options = lib.Options(size=ctypes.sizeof(lib.Options), threads=threads, sets=len(values))
        options.set = (ctypes.c_char_p * len(values))(*values)
        error = lib.Error()
        self._scorer: Optional[int] = None
        if missing != "error" and not isinstance(missing, (int, float)):
            raise ValueError('missing must be "error" or a number')
        scorer = _mete.mete_open(os.fsencode(config), ctypes.byref(options), ctypes.byref(error))
        if not scorer:
            raise ValueError(error.message.decode("utf-8", "replace"))
        self._scorer = scorer
        self.missing = missing
        self.label: str = _mete.mete_label_name(scorer).decode()
        self.__name__ = os.path.splitext(os.path.basename(os.fspath(config)))[0]

    def close(self) -> None:
        """Frees the tree; no call may be under way."""
        scorer, self._scorer = self._scorer, None
        self._free(scorer)

    def __del__(self) -> None:
        if getattr(self, "_scorer", None):
            self.close()

    # ---- scores ----

    def _open(self) -> int:
        if self._scorer is None:
            raise ValueError("the reward is closed")
        return self._scorer

    def _take(self, status: int, results: Any, error: lib.Error, read: "Callable[[Any], _T]") -> _T:
        """What `read` makes of the results, which are freed."""
        if status:
            raise RuntimeError(error.message.decode("utf-8", "replace"))
        try:
            return read(results.contents)
        finally:
            _mete.mete_results_free(results)

    def _columns(self, prompts: Optional[Texts], responses: Texts, columns: "Mapping[str, Sequence[Any]]",
                 read: "Callable[[Any], _T]") -> _T:
        n, keep = len(responses), []  # type: int, list[Any]
        for name, values in (("prompts", prompts), *columns.items()):
            if values is not None and len(values) != n:
                raise ValueError(f"{name} has {len(values)} values, and there are {n} responses")
        prompt = None if prompts is None else ctypes.byref(_values("", prompts, keep))
        rest = (lib.Values * len(columns))(*(_values(k, v, keep) for k, v in columns.items()))
        results, error = ctypes.POINTER(lib.Results)(), lib.Error()
        status = _mete.mete_score_columns(self._open(), prompt, ctypes.byref(_values("", responses, keep)), rest,
                                          len(rest), n, ctypes.byref(results), ctypes.byref(error))
        return self._take(status, results, error, read)

    def score(self, records: Iterable[Mapping[str, Any]]) -> "list[Score]":
        """Records as a file of `mete score` has them, through the config's data.map."""
        data = b"[" + b",".join(_json(dict(r)) for r in records) + b"]"
        results, error = ctypes.POINTER(lib.Results)(), lib.Error()
        status = _mete.mete_score_json(self._open(), _text(data), ctypes.byref(results), ctypes.byref(error))
        return self._take(status, results, error, _scores)

    def score_texts(self, prompts: Optional[Texts], responses: Texts,
                    columns: "Mapping[str, Sequence[Any]] | None" = None) -> "list[Score]":
        """Prompts and responses, texts or messages, whatever the config calls them; neighbours of equal prompt
        are one group. A column is a value a record; None is none."""
        return self._columns(prompts, responses, columns or {}, _scores)

    def required(self, score: Score) -> float:
        """The reward, or what `missing` says."""
        if score.reward is not None:
            return score.reward
        if isinstance(self.missing, str):
            raise MissingScore(f"a record has no score ({score.status}): {score.reason}")
        return float(self.missing)

    # ---- TRL ----

    def __call__(self, prompts: Optional[Texts] = None, completions: Texts = (), completion_ids: Any = None,
                 trainer_state: Any = None, log_extra: "Callable[[str, list], None] | None" = None,
                 log_metric: "Callable[[str, float], None] | None" = None, environments: Any = None,
                 **columns: Sequence[Any]) -> "list[float | None]":
        """TRL's reward function: None is a completion that counts in nothing."""
        rewards, components = self._columns(prompts, completions, columns, _lists)
        for name, values in components.items():
            if log_extra is not None:
                log_extra(name, values)
            there = [v for v in values if v is not None]
            if log_metric is not None and there:
                log_metric(f"{self.__name__}/{name}", sum(there) / len(there))
        return rewards

    # ---- verl ----

    def compute_scores(self, solution_strs: Sequence[str], ground_truths: Sequence[Any],
                       extra_infos: "Sequence[Mapping[str, Any] | None] | None" = None) -> "list[dict[str, float]]":
        """verl's batch: a dict of the same keys for every sample. A node without a value is 0, and 0 in
        NAME_valid."""
        infos = [dict(e or {}) for e in extra_infos] if extra_infos is not None else [{}] * len(solution_strs)
        columns: "dict[str, list]" = {k: [e.get(k) for e in infos] for k in {k for e in infos for k in e}}
        columns.setdefault("ground_truth", list(ground_truths))
        columns[self.label] = list(ground_truths)
        answers = []
        for s in self.score_texts(None, solution_strs, columns):
            answer = {"score": self.required(s)}
            for name, value in s.components.items():
                answer[name] = 0.0 if value is None else value
                answer[name + "_valid"] = float(value is not None)
            answers.append(answer)
        return answers


# ---- functions by a config: METE_CONFIG, or `config` among a trainer's reward keywords ----

_opened: "dict[tuple[int, str], Reward]" = {}
_lock = threading.Lock()


def _reward(config: "str | None") -> Reward:
    path = config or os.environ.get("METE_CONFIG")
    if not path:
        raise ValueError("no config: give `config`, or set METE_CONFIG")
    with _lock:  # a forked worker opens its own
        key = (os.getpid(), os.path.abspath(path))
        if key not in _opened:
            missing = os.environ.get("METE_MISSING", "error")
            _opened[key] = Reward(path, missing=missing if missing == "error" else float(missing))
        return _opened[key]


def score(records: Iterable[Mapping[str, Any]], config: Optional[str] = None) -> "list[Score]":
    """Scores records with a config's tree, which stays open."""
    return _reward(config).score(records)


def compute_score(data_source: Any = None, solution_str: Optional[str] = None, ground_truth: Any = None,
                  extra_info: "Mapping[str, Any] | None" = None, *, data_sources: Any = None,
                  solution_strs: "Sequence[str] | None" = None, ground_truths: "Sequence[Any] | None" = None,
                  extra_infos: "Sequence[Mapping[str, Any] | None] | None" = None, config: Optional[str] = None,
                  **unused: Any) -> Any:
    """verl's custom reward function, for one sample or, by the plural names, for a batch."""
    reward = _reward(config)
    if solution_strs is not None:
        truths = ground_truths if ground_truths is not None else [None] * len(solution_strs)
        return reward.compute_scores(solution_strs, truths, extra_infos)
    return reward.compute_scores([solution_str or ""], [ground_truth], [extra_info])[0]


def _split(query: str, prompt: str) -> "tuple[str, str]":
    whole, start = _bytes(query), _bytes(prompt)  # both views point into these
    before, answer = lib.View(), lib.View()
    _mete.mete_dialogue_split(_text(whole), _text(start), ctypes.byref(before), ctypes.byref(answer))
    return before.read(), answer.read()


def reward_func(queries: Sequence[str], prompts: "Sequence[str] | None" = None,
                labels: "Sequence[Any] | None" = None, config: Optional[str] = None, **unused: Any) -> "dict[str, Any]":
    """OpenRLHF's function of a .py file; tensors where torch is there."""
    reward = _reward(config)
    pairs = [_split(q, p) for q, p in zip(queries, prompts or [""] * len(queries))]
    columns = {"label": list(labels), reward.label: list(labels)} if labels else {}
    scores = reward.score_texts([p for p, _ in pairs], [a for _, a in pairs], columns)
    rewards = [reward.required(s) for s in scores]
    logs: "dict[str, list]" = {}
    for s in scores:
        for name, value in s.components.items():
            logs.setdefault(name, []).append(0.0 if value is None else value)
            logs.setdefault(name + "_valid", []).append(float(value is not None))
    try:
        import torch
        tensor: Callable[[list], Any] = lambda x: torch.tensor(x, dtype=torch.float32)
    except ImportError:
        tensor = list
    return {"rewards": tensor(rewards), "scores": tensor([min(1.0, max(0.0, r)) for r in rewards]),
            "extra_logs": {k: tensor(v) for k, v in logs.items()}}


# ---- environments ----

def make(environment: str, num_envs: Optional[int] = None, **options: Any) -> Any:
    """A Gymnasium environment: `environment` is a plugin's name or a config's file, `options` are the plugin's;
    with `num_envs` a vector environment of so many. See mete.gymnasium."""
    try:
        from . import gymnasium
    except ModuleNotFoundError as e:
        raise ImportError(f"mete.make needs gymnasium and numpy (pip install gymnasium): {e}") from e
    if num_envs is None:
        return gymnasium.Environment(environment, **options)
    return gymnasium.VectorEnvironment(environment, num_envs, **options)
