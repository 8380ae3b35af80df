#!/bin/bash
# mete's environments from Python: Gymnasium's own checker passes each, seeds and ends are as they should be, and
# single and vector environments are the same worlds. And Gymnasium's environments in mete: the same steps, the contract,
# learning. METE_GYM_PYTHON names a python with gymnasium.
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

# Gymnasium's environments, by the plugin, for the python that mete is built with.
site=$("$python" -c 'import gymnasium, os; print(os.path.dirname(os.path.dirname(gymnasium.__file__)))')
built=$(ldd "$METE_BUILDDIR/plugins/environment/gymnasium.so" | sed -n 's/.*libpython\(3\.[0-9]*\).*/\1/p')
has=$("$python" -c 'import sys; print("%d.%d" % sys.version_info[:2])')
[ "$built" = "$has" ] || { echo "the plugin is built for Python $built, gymnasium is there for $has: its tests did not run"; exit 77; }
SITE="$site" "$python" -W ignore - <<'P'
import os
import gymnasium, numpy as np
import mete
from mete.world import World

# CartPole-v1: where its state is set to what a lane of the plugin, or of mete's cartpole, began with, it goes the same way.
rng = np.random.default_rng(0)
for world in (World("gymnasium", 4, id="CartPole-v1", path=[os.environ["SITE"]]), World("cartpole", 4)):
    real = [gymnasium.make("CartPole-v1").unwrapped for _ in range(4)]
    world.reset(range(4), range(1, 5))
    for i, env in enumerate(real):
        env.reset(seed=0)
        env.state = np.array(world.observation[i], np.float64)
    going, steps = np.ones(4, bool), 0
    while going.any():
        world.action[:] = rng.integers(0, 2, 4)
        world.step()
        for i in np.flatnonzero(going):
            seen, reward, terminated, _, _ = real[i].step(int(world.action[i]))
            last = world.final_observation[i] if terminated else world.observation[i]
            assert terminated == world.terminated[i] and reward == world.reward[i], (i, steps)
            assert np.allclose(seen, last, atol=1e-4), (seen, last)
            going[i] = not terminated
        steps += 1
    assert steps > 12, steps

# Dict and Tuple are flattened as Gymnasium's wrapper does; actions of a Box are clipped.
from gymnasium.wrappers import FlattenObservation
deck = World("gymnasium", 1, id="Blackjack-v1", path=[os.environ["SITE"]])
assert deck.spaces.observation.size == FlattenObservation(gymnasium.make("Blackjack-v1")).observation_space.shape[0]
swing = World("gymnasium", 1, id="Pendulum-v1", path=[os.environ["SITE"]])
swing.reset([0], [1])
swing.action[0, 0] = 99.0
swing.step()
assert (swing.spaces.action.low, swing.spaces.action.high) == (-2, 2) and swing.spaces.max_steps == 200
P
for id in CartPole-v1 Blackjack-v1; do
    mete selftest gymnasium --quiet --set env.id=$id --set "env.path=[ \"$site\" ]" > said 2>&1 || { cat said; exit 1; }
    [ ! -s said ]
done
# A quarter of the shipped config's steps, as for mete's own cartpole (cli/cartpole_learns), on two seeds.
for seed in 1 2; do
    mete run "$METE_SRCDIR/conf/control/ppo_cartpole.cfg" --quiet --json --out "learns$seed" --seed $seed --set env.use=gymnasium \
        --set env.id=CartPole-v1 --set "env.path=[ \"$site\" ]" --set run.iterations=25 --set evaluate.episodes=32 > learns.json
    "$python" -c '
import json
r = json.load(open("learns.json"))
before, after = (r[k]["metrics"]["eval/return"] for k in ("before", "after"))
assert before < 40 and after > 100, (before, after)'
done
