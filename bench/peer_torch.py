"""The same learning in PyTorch: acting, PPO's update and PPO on a CartPole vectorised by numpy.

peer_torch.py FILE PARAMETERS checks that a network with the parameters of FILE (written by `learn act`)
gives the log-probabilities and values that stand there, within 1e-5, and then times. One JSON object.
"""
import json
import statistics
import sys
import time

import numpy as np
import torch
from torch import nn
from torch.distributions import Categorical

torch.set_num_threads(1)
LANES = 64


class Net(nn.Module):
    def __init__(self, actions):
        super().__init__()

        def stack(out):
            return nn.Sequential(nn.Linear(4, 64), nn.Tanh(), nn.Linear(64, 64), nn.Tanh(), nn.Linear(64, out))

        self.actor, self.critic = stack(actions), stack(1)

    @torch.no_grad()
    def act(self, x):
        d = Categorical(logits=self.actor(x), validate_args=False)
        a = d.sample()
        return a, d.log_prob(a), self.critic(x).squeeze(1)


def check(path, count):
    raw = np.fromfile(path, np.float32)
    net, at = Net(4), 0
    for p in net.parameters():
        p.data = torch.from_numpy(raw[at : at + p.numel()].reshape(p.shape).copy())
        at += p.numel()
    assert at == count, "the networks have different sizes"
    x = torch.from_numpy(raw[at : at + 4 * LANES].reshape(LANES, 4).copy())
    at += 4 * LANES
    action = torch.from_numpy(raw[at : at + LANES].view(np.int32).astype(np.int64))
    logp, value = (torch.from_numpy(raw[at + k * LANES : at + (k + 1) * LANES].copy()) for k in (1, 2))
    with torch.no_grad():
        off = (Categorical(logits=net.actor(x)).log_prob(action) - logp).abs().max()
        off = max(off, (net.critic(x).squeeze(1) - value).abs().max())
    assert off < 1e-5, f"the networks answer differently, by {off}"
    return net, x


def time_act(net, x, n):
    x, each = x[:n], []
    for _ in range(15):
        t = time.process_time()
        for _ in range(100):
            net.act(x)
        each.append(1e4 * (time.process_time() - t))
    return statistics.median(each)


def update(net, optimiser, b, epochs, minibatch):
    n = b["x"].shape[0]
    for _ in range(epochs):
        order = torch.randperm(n)
        for k in range(0, n, minibatch):
            i = order[k : k + minibatch]
            d = Categorical(logits=net.actor(b["x"][i]), validate_args=False)
            ratio = (d.log_prob(b["a"][i]) - b["logp"][i]).exp()
            adv = b["adv"][i]
            policy = -torch.min(ratio * adv, ratio.clamp(0.8, 1.2) * adv).mean()
            value = 0.5 * (net.critic(b["x"][i]).squeeze(1) - b["target"][i]).square().mean()
            loss = policy + 0.5 * value - 0.0 * d.entropy().mean()
            optimiser.zero_grad()
            loss.backward()
            nn.utils.clip_grad_norm_(net.parameters(), 0.5)
            optimiser.step()


class Poles:
    def __init__(self, n):
        self.rng, self.n = np.random.default_rng(1), n
        self.s, self.age = self.rng.uniform(-0.05, 0.05, (n, 4)).astype(np.float32), np.zeros(n, np.int32)

    def step(self, action):
        x, v, a, w = self.s.T
        force, c, s = np.where(action == 1, 10.0, -10.0).astype(np.float32), np.cos(a), np.sin(a)
        temp = (force + 0.05 * w * w * s) / 1.1
        bend = (9.8 * s - c * temp) / (0.5 * (4 / 3 - 0.1 * c * c / 1.1))
        rush = temp - 0.05 * bend * c / 1.1
        self.s = np.stack([x + 0.02 * v, v + 0.02 * rush, a + 0.02 * w, w + 0.02 * bend], 1).astype(np.float32)
        self.age += 1
        over = (np.abs(self.s[:, 0]) > 2.4) | (np.abs(self.s[:, 2]) > 0.20943951) | (self.age >= 500)
        if over.any():
            self.s[over] = self.rng.uniform(-0.05, 0.05, (int(over.sum()), 4))
            self.age[over] = 0
        return self.s, np.ones(self.n, np.float32), over


def train(lanes, steps, minibatch, epochs, iterations):
    net, env = Net(2), Poles(lanes)
    optimiser = torch.optim.Adam(net.parameters(), 3e-4)
    seen, each, updates = torch.from_numpy(env.s), [], []
    for k in range(iterations + 1):
        t = time.process_time()
        x, a, logp, value, reward, over = [], [], [], [], [], []
        for _ in range(steps):
            action, lp, v = net.act(seen)
            x.append(seen), a.append(action), logp.append(lp), value.append(v)
            s, r, o = env.step(action.numpy())
            seen = torch.from_numpy(s)
            reward.append(torch.from_numpy(r)), over.append(torch.from_numpy(o.astype(np.float32)))
        with torch.no_grad():
            following, carried, adv = net.critic(seen).squeeze(1), torch.zeros(lanes), [None] * steps
            for i in reversed(range(steps)):
                goes_on = 1 - over[i]
                delta = reward[i] + 0.99 * following * goes_on - value[i]
                carried = delta + 0.99 * 0.95 * goes_on * carried
                adv[i], following = carried, value[i]
        b = {"x": torch.cat(x), "a": torch.cat(a), "logp": torch.cat(logp), "adv": torch.cat(adv)}
        b["target"] = b["adv"] + torch.cat(value)
        b["adv"] = (b["adv"] - b["adv"].mean()) / (b["adv"].std() + 1e-8)
        u = time.process_time()
        update(net, optimiser, b, epochs, minibatch)
        if k:
            updates.append(lanes * steps * epochs / (time.process_time() - u))
            each.append(lanes * steps / (time.process_time() - t))
    return {"steps": statistics.median(each), "updates": statistics.median(updates)}


net, x = check(sys.argv[1], int(sys.argv[2]))
print(json.dumps({
    "version": torch.__version__,
    "act": {str(n): time_act(net, x, n) for n in (1, 8, 64)},
    "8 x 256": train(8, 256, 64, 10, 3),
    "1024 x 32": train(1024, 32, 8192, 1, 5),
}))
