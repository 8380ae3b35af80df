#!/bin/bash
# mete's environments from Python: Gymnasium's own checker passes each, seeds and ends are as they should be, and
# single and vector environments are the same worlds. METE_GYM_PYTHON names a python with gymnasium.
set -e
nm -D "$METE_BUILDDIR/.libs/libmete.so" | grep -q __asan && { echo "a library with a sanitizer is not loaded into python3"; exit 77; }
python="${METE_GYM_PYTHON:-python3}"
"$python" -c 'import gymnasium' 2> /dev/null ||
    { echo "gymnasium is not installed for $python (pip install gymnasium; METE_GYM_PYTHON names another python)"; exit 77; }
export METE_LIBRARY="$METE_BUILDDIR/.libs/libmete.so" PYTHONPATH="$METE_SRCDIR/python" PYTHONDONTWRITEBYTECODE=1
printf '%s\n' '{"prompt": "2+2?", "reference": "4"}' '{"prompt": "3+3?", "reference": "6"}' > rows.jsonl
"$python" -W ignore - <<'P'
import gymnasium, numpy as np
from gymnasium.utils.env_checker import check_env
import mete, mete.gymnasium

# Gymnasium's own checks, of every kind of space.
for name, options in (("cartpole", {}), ("gridworld", {"slip": 0.3}), ("gridworld", {"map": ["S.a#", "..AG"], "render": "vector"}),
                      ("bandit", {}), ("bandit", {"arms_are": "linear"}), ("prompts", {"data": "rows.jsonl"}),
                      ("chatworld", {}), ("chatworld", {"act": "choose"})):
    check_env(gymnasium.make(f"mete/{name}-v0", **options).unwrapped)

# Ends: terminated where the pole fell, truncated at max_steps; then nothing goes on before a reset.
env = mete.make("cartpole", max_steps=5)
env.reset(seed=3)
for k in range(5):
    seen, reward, terminated, truncated, info = env.step(k % 2)
    assert reward == 1.0 and not terminated and truncated == (k == 4), k
try:
    env.step(0)
    raise SystemExit("a step after the end was taken")
except gymnasium.error.ResetNeeded:
    pass
long = mete.make("cartpole")
long.reset(seed=3)
while not terminated:
    seen, reward, terminated, truncated, info = long.step(1)
assert abs(seen[2]) > 0.2095 or abs(seen[0]) > 2.4, seen

# A vector environment: the single ones' episodes by their seeds, step by step up to each end.
many = gymnasium.make_vec("mete/cartpole-v0", num_envs=5, vectorization_mode="vector_entry_point", threads=2)
seen, _ = many.reset(seed=11)
alone = [mete.make("cartpole") for _ in range(5)]
assert all((e.reset(seed=11 + i)[0] == seen[i]).all() for i, e in enumerate(alone))
going, ended = np.ones(5, bool), 0
rng = np.random.default_rng(1)
for k in range(120):
    action = rng.integers(0, 2, 5)
    seen, reward, terminated, truncated, info = many.step(action)
    for i in np.flatnonzero(going):
        one = alone[i].step(int(action[i]))
        assert one[2:4] == (terminated[i], truncated[i])
        last = info["final_obs"][i] if one[2] else seen[i]
        assert (one[0] == last).all()
        going[i] = not one[2]
    ended += int(terminated.sum())
    assert terminated.any() == ("final_obs" in info)
assert not going.any() and ended > 5, (going, ended)
first, _ = many.reset(seed=5)
again, _ = many.reset(options={"reset_mask": np.array([False, True, False, False, False])})
assert (again[0] == first[0]).all() and (again[1] != first[1]).any()

# Numbers of a step, masks, lists and texts are in info.
grid = mete.make("gridworld", map=["SG"])
_, info = grid.reset(seed=1)
assert list(info["action_mask"]) == [1, 1, 1, 1]
assert grid.step(1)[4]["goal"] == 1.0
text = mete.make("prompts", data="rows.jsonl", shuffle=0)
assert text.reset(seed=1)[0] == "2+2?" and text.reset()[1]["reference"] == ["6"]
assert text.reset(options={"task": 0})[0] == "2+2?"
assert text.step("four")[2]

# One clear sentence for each mistake.
def refused(word, make):
    try:
        make()
    except ValueError as e:
        assert word in str(e), (word, e)
    else:
        raise SystemExit("taken: " + word)
refused("did you mean 'cartpole'", lambda: mete.make("cartpol"))
refused("did you mean 'max_steps'", lambda: mete.make("cartpole", max_step=3))
refused("outside [1, ", lambda: mete.make("cartpole", max_steps=-3))
refused("task and evaluation", lambda: grid.reset(options={"start": 3}))
refused("do not render", lambda: mete.make("cartpole", render_mode="human"))
refused("no.cfg", lambda: mete.make("no.cfg"))
grid.reset()
refused("action 7 is none of 0 to 3", lambda: grid.step(7))
grid.close()
P
