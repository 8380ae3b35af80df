"""libmete through ctypes: the structs and functions of mete/mete.h, and nothing else."""
from __future__ import annotations

import ctypes
import ctypes.util
import os

try:
    from ._where import LIBRARY  # written by make install
except ImportError:
    LIBRARY = ""

METE_TEXT, METE_JSON, ABSENT = 5, 6, 255
METE_STEP, METE_LIST = 5, 7  # levels
ELEMENT = (ctypes.c_float, ctypes.c_double, ctypes.c_int32, ctypes.c_int64, ctypes.c_uint8)
SPACE_NONE, SPACE_DISCRETE, SPACE_BOX, SPACE_TEXT, SPACE_CANDIDATES = range(5)
KIND_ENVIRONMENT = 4
STATUS = ("valid", "not_applicable", "failed", "timed_out")


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class View(ctypes.Structure):
    """A Text that the library wrote."""

    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    def __bool__(self) -> bool:
        return self.data is not None

    def read(self) -> str:
        return ctypes.string_at(self.data, self.length).decode("utf-8", "replace") if self.length else ""


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Values(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("name", ctypes.c_char_p),
                ("bytes", ctypes.c_void_p), ("offset", ctypes.POINTER(ctypes.c_uint64)),
                ("element", ctypes.POINTER(ctypes.c_uint8))]


class Results(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("components", ctypes.c_uint32), ("count", ctypes.c_size_t),
                ("reward", ctypes.POINTER(ctypes.c_double)), ("spread", ctypes.POINTER(ctypes.c_double)),
                ("status", ctypes.POINTER(ctypes.c_uint8)), ("reason", ctypes.POINTER(ctypes.c_char_p)),
                ("name", ctypes.POINTER(ctypes.c_char_p)), ("component", ctypes.POINTER(ctypes.c_double)),
                ("component_status", ctypes.POINTER(ctypes.c_uint8))]


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("threads", ctypes.c_uint), ("set", ctypes.POINTER(ctypes.c_char_p)),
                ("sets", ctypes.c_size_t), ("log", ctypes.c_void_p), ("user", ctypes.c_void_p)]


class Space(ctypes.Structure):
    _fields_ = [("kind", ctypes.c_uint32), ("count", ctypes.c_uint32), ("size", ctypes.c_uint32),
                ("low", ctypes.c_float), ("high", ctypes.c_float)]


class Spaces(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("single_turn", ctypes.c_uint32), ("observation", Space),
                ("action", Space), ("max_steps", ctypes.c_uint32), ("tasks", ctypes.c_uint64)]


class Actions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("vector_size", ctypes.c_uint32), ("heads", ctypes.c_uint32),
                ("lanes", ctypes.c_size_t), ("action", ctypes.POINTER(ctypes.c_int32)),
                ("vector", ctypes.POINTER(ctypes.c_float)), ("text", ctypes.POINTER(Text))]


class Observations(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("observation_size", ctypes.c_uint32), ("lanes", ctypes.c_size_t),
                ("observation", ctypes.POINTER(ctypes.c_float)), ("action_mask", ctypes.POINTER(ctypes.c_uint8)),
                ("prompt", ctypes.POINTER(View))]


class Transitions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("reserved", ctypes.c_uint32), ("lanes", ctypes.c_size_t),
                ("next", ctypes.c_void_p), ("reward", ctypes.POINTER(ctypes.c_float)),
                ("terminated", ctypes.POINTER(ctypes.c_uint8)), ("truncated", ctypes.POINTER(ctypes.c_uint8)),
                ("final_observation", ctypes.POINTER(ctypes.c_float)),
                ("episode", ctypes.POINTER(ctypes.c_uint64)), ("task", ctypes.POINTER(ctypes.c_uint64)),
                ("stride", ctypes.c_uint64), ("task_stride", ctypes.c_uint64),
                ("final_prompt", ctypes.POINTER(View))]


class WorldColumn(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("level", ctypes.c_uint32), ("element", ctypes.c_uint32),
                ("visible", ctypes.c_uint32), ("signal", ctypes.c_uint32), ("name", ctypes.c_char_p),
                ("help", ctypes.c_char_p), ("value", ctypes.c_void_p)]


class World(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("columns", ctypes.c_uint32), ("lanes", ctypes.c_size_t),
                ("spaces", ctypes.POINTER(Spaces)), ("actions", ctypes.POINTER(Actions)),
                ("now", ctypes.POINTER(Observations)), ("moved", ctypes.POINTER(Transitions)),
                ("column", ctypes.POINTER(WorldColumn))]


class WorldOptions(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("threads", ctypes.c_uint), ("lanes", ctypes.c_size_t),
                ("set", ctypes.POINTER(ctypes.c_char_p)), ("sets", ctypes.c_size_t), ("log", ctypes.c_void_p),
                ("user", ctypes.c_void_p)]


class Texts(ctypes.Structure):
    _fields_ = [("item", ctypes.POINTER(View)), ("count", ctypes.c_size_t)]


def load() -> ctypes.CDLL:
    """The library METE_LIBRARY names, that of this installation, or the system's."""
    tried = []
    for name in (os.environ.get("METE_LIBRARY"), LIBRARY, ctypes.util.find_library("mete"), "libmete.so.0"):
        if name:
            try:
                library = ctypes.CDLL(name)
                break
            except OSError as e:
                tried.append(str(e))
    else:
        raise ImportError("libmete is not found (METE_LIBRARY may name it): " + "; ".join(tried))
    library.mete_open.restype = ctypes.c_void_p
    library.mete_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(Options), ctypes.POINTER(Error)]
    library.mete_close.restype = None
    library.mete_close.argtypes = [ctypes.c_void_p]
    library.mete_score_columns.restype = ctypes.c_int
    library.mete_score_columns.argtypes = [ctypes.c_void_p, ctypes.POINTER(Values), ctypes.POINTER(Values),
                                           ctypes.POINTER(Values), ctypes.c_size_t, ctypes.c_size_t,
                                           ctypes.POINTER(ctypes.POINTER(Results)), ctypes.POINTER(Error)]
    library.mete_score_json.restype = ctypes.c_int
    library.mete_score_json.argtypes = [ctypes.c_void_p, Text, ctypes.POINTER(ctypes.POINTER(Results)),
                                        ctypes.POINTER(Error)]
    library.mete_results_free.restype = None
    library.mete_results_free.argtypes = [ctypes.POINTER(Results)]
    library.mete_label_name.restype = ctypes.c_char_p
    library.mete_label_name.argtypes = [ctypes.c_void_p]
    library.mete_dialogue_split.restype = None
    library.mete_dialogue_split.argtypes = [Text, Text, ctypes.POINTER(View), ctypes.POINTER(View)]
    world = ctypes.POINTER(World)
    library.mete_world_open.restype = world
    library.mete_world_open.argtypes = [ctypes.c_char_p, ctypes.POINTER(WorldOptions), ctypes.POINTER(Error)]
    library.mete_world_close.restype = None
    library.mete_world_close.argtypes = [world]
    library.mete_world_reset.restype = ctypes.c_int
    library.mete_world_reset.argtypes = [world, ctypes.POINTER(ctypes.c_uint32), ctypes.c_size_t,
                                         ctypes.POINTER(ctypes.c_uint64), ctypes.POINTER(ctypes.c_uint64),
                                         ctypes.c_int, ctypes.POINTER(Error)]
    library.mete_world_step.restype = ctypes.c_int
    library.mete_world_step.argtypes = [world, ctypes.POINTER(Error)]
    library.mete_world_list.restype = Texts
    library.mete_world_list.argtypes = [world, ctypes.c_size_t, ctypes.c_size_t]
    library.mete_plugin_names.restype = ctypes.c_size_t
    library.mete_plugin_names.argtypes = [ctypes.c_int, ctypes.c_char_p, ctypes.c_size_t]
    return library


mete = load()
