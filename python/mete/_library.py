"""libmete through ctypes: the structs and functions of mete/mete.h, and nothing else."""
from __future__ import annotations

import ctypes
import ctypes.util
import os

try:
    from ._where import LIBRARY  # written by make install
except ImportError:
    LIBRARY = ""

METE_TEXT, METE_JSON = 5, 6
PROMPT_JSON, RESPONSE_JSON = 1, 2
STATUS = ("valid", "not_applicable", "failed", "timed_out")


class Text(ctypes.Structure):
    _fields_ = [("data", ctypes.c_char_p), ("length", ctypes.c_size_t)]


class View(ctypes.Structure):
    """A Text that the library wrote."""

    _fields_ = [("data", ctypes.c_void_p), ("length", ctypes.c_size_t)]

    def read(self) -> str:
        return ctypes.string_at(self.data, self.length).decode("utf-8", "replace") if self.length else ""


class Error(ctypes.Structure):
    _fields_ = [("code", ctypes.c_int), ("message", ctypes.c_char * 1000)]


class Cell(ctypes.Structure):
    _fields_ = [("name", ctypes.c_char_p), ("value", Text), ("element", ctypes.c_uint32)]


class Record(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("cells", ctypes.c_uint32), ("prompt", Text),
                ("response", Text), ("group", Text), ("cell", ctypes.POINTER(Cell)),
                ("flags", ctypes.c_uint32)]


class Results(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("components", ctypes.c_uint32), ("count", ctypes.c_size_t),
                ("reward", ctypes.POINTER(ctypes.c_double)), ("spread", ctypes.POINTER(ctypes.c_double)),
                ("status", ctypes.POINTER(ctypes.c_uint8)), ("reason", ctypes.POINTER(ctypes.c_char_p)),
                ("name", ctypes.POINTER(ctypes.c_char_p)), ("component", ctypes.POINTER(ctypes.c_double)),
                ("component_status", ctypes.POINTER(ctypes.c_uint8))]


class Options(ctypes.Structure):
    _fields_ = [("size", ctypes.c_uint32), ("threads", ctypes.c_uint), ("set", ctypes.POINTER(ctypes.c_char_p)),
                ("sets", ctypes.c_size_t), ("log", ctypes.c_void_p), ("user", ctypes.c_void_p)]


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
    library.mete_score.restype = ctypes.c_int
    library.mete_score.argtypes = [ctypes.c_void_p, ctypes.POINTER(Record), ctypes.c_size_t,
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
    return library
