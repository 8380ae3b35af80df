"""The same transformer in PyTorch: peer_gpt.py FILE STEPS reads the parameters and tokens that `gpt step`
wrote, takes as many steps of AdamW and prints losses and median times; then the parts. One JSON object."""
import json
import statistics
import sys
import time

import numpy as np
import torch
from torch.nn import functional as F

torch.set_num_threads(1)
LAYERS, D, HEADS, V, T, B, ROUNDS = 4, 256, 4, 8192, 256, 4, 7
MASK = torch.triu(torch.full((T, T), float("-inf")), 1)


def read(path):
    raw, at, parameters = np.fromfile(path, np.float32), 0, []

    def take(*shape):
        nonlocal at
        n = int(np.prod(shape))
        parameters.append(torch.from_numpy(raw[at : at + n].reshape(shape).copy()).requires_grad_())
        at += n
        return parameters[-1]

    net = {"token": take(V, D), "position": take(T, D)}
    net["layers"] = [
        [take(*s) for s in ((D,), (D,), (3 * D, D), (3 * D,), (D, D), (D,), (D,), (D,), (4 * D, D), (4 * D,), (D, 4 * D), (D,))]
        for _ in range(LAYERS)
    ]
    net["norm"] = take(D), take(D)
    return net, parameters, torch.from_numpy(raw[at:].view(np.int32).astype(np.int64).reshape(B, T + 1))


def attention(q, k, v):
    q, k, v = (x.view(B, T, HEADS, D // HEADS).transpose(1, 2) for x in (q, k, v))
    if hasattr(F, "scaled_dot_product_attention"):
        y = F.scaled_dot_product_attention(q, k, v, is_causal=True)
    else:
        y = (q @ k.transpose(2, 3) * (D // HEADS) ** -0.5 + MASK).softmax(-1) @ v
    return y.transpose(1, 2).reshape(B, T, D)


def head(x, w, target):
    return F.cross_entropy(F.linear(x, w).view(B * T, V), target)


def gelu(x):
    return F.gelu(x, approximate="tanh")


def loss_of(net, token):
    x = F.embedding(token[:, :-1], net["token"]) + net["position"]
    for g, b, qkv, qkvb, proj, projb, g2, b2, up, upb, down, downb in net["layers"]:
        y = F.linear(F.layer_norm(x, (D,), g, b), qkv, qkvb)
        x = x + F.linear(attention(*y.split(D, 2)), proj, projb)
        y = gelu(F.linear(F.layer_norm(x, (D,), g2, b2), up, upb))
        x = x + F.linear(y, down, downb)
    return head(F.layer_norm(x, (D,), *net["norm"]), net["token"], token[:, 1:].reshape(-1))


def step(path, steps):
    net, parameters, token = read(path)
    optimiser = torch.optim.AdamW(parameters, 3e-4, weight_decay=0.01)
    losses, times = [], []
    for _ in range(steps):
        at = [time.process_time()]
        optimiser.zero_grad(set_to_none=False)
        loss = loss_of(net, token)
        at.append(time.process_time())
        loss.backward()
        at.append(time.process_time())
        optimiser.step()
        at.append(time.process_time())
        losses.append(loss.item())
        times.append([1e3 * (b - a) for a, b in zip(at, at[1:])])
    forward, backward, update = (statistics.median(x) for x in zip(*times[1:]))
    return {"loss": losses, "forward": forward, "backward": backward, "update": update}


def part(call, inputs):
    times = []
    for _ in range(ROUNDS):
        began = time.process_time()
        y = call(*inputs)
        middle = time.process_time()
        y.backward(torch.ones_like(y))
        times.append((1e3 * (middle - began), 1e3 * (time.process_time() - middle)))
    return [statistics.median(x) for x in zip(*times)]


def tensor(*shape, scale=1.0):
    return (scale * torch.randn(*shape)).requires_grad_()


print(json.dumps({
    "version": torch.__version__,
    **step(sys.argv[1], int(sys.argv[2])),
    "attention": part(attention, [tensor(B, T, D) for _ in range(3)]),
    "head": part(head, [tensor(B, T, D), tensor(V, D, scale=1 / 16), torch.randint(V, (B * T,))]),
}))
