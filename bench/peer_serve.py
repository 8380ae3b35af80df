"""The peer of mete serve: OpenRLHF's remote reward model on FastAPI, the last number by a regular
expression. Needs fastapi and uvicorn (with uvloop and httptools): peer_serve.py PORT"""
import re
import sys

import uvicorn
from fastapi import FastAPI, Request
from fastapi.responses import JSONResponse

app = FastAPI()
number = re.compile(r"-?\d+(?:,\d{3})*(?:\.\d+)?")


def reward(query, prompt, label):
    found = number.findall(query[len(prompt):])
    return float(bool(found) and float(found[-1].replace(",", "")) == float(label))


@app.post("/get_reward")
async def get_reward(request: Request):
    data = await request.json()
    rewards = [reward(q, p, a) for q, p, a in zip(data["query"], data["prompts"], data["labels"])]
    return JSONResponse({"rewards": rewards, "scores": rewards, "extra_logs": {}})


if __name__ == "__main__":
    uvicorn.run(app, host="127.0.0.1", port=int(sys.argv[1]), log_level="error", loop="uvloop", http="httptools")
