"""The functions of `mete` that trainers load from a file by its path alone.

    verl       reward.custom_reward_function.path=.../mete/trainers.py  name=compute_score
    OpenRLHF   --reward.remote_url .../mete/trainers.py

The config is METE_CONFIG's, or verl's reward_kwargs.config.
"""
import os
import sys

sys.path.append(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

from mete import compute_score, reward_func  # noqa: E402

__all__ = ["compute_score", "reward_func"]
