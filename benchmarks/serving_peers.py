"""What a team would put up: FastAPI around a transformers model in one process. Runs in .venv-serving-peers.

    python serving_peers.py FOLDER PORT

POST /predict {"tokens": […], "top_k": 20} gives the likeliest tokens with their probabilities.
"""

import sys

import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel
from transformers import AutoModelForCausalLM


class Asked(BaseModel):
    tokens: list[int]
    top_k: int = 20


def application(folder: str) -> FastAPI:
    """Answers one request at a time in each of FastAPI's threads."""
    model = AutoModelForCausalLM.from_pretrained(folder).eval()
    app = FastAPI()

    @app.get("/health")
    def health() -> dict[str, str]:
        return {"status": "ready"}

    @app.post("/predict")
    def predict(asked: Asked) -> dict[str, list[dict[str, float]]]:
        with torch.inference_mode():
            logits = model(torch.tensor([asked.tokens]), logits_to_keep=1).logits[0, -1]
        best = logits.softmax(-1).topk(asked.top_k)
        pairs = zip(best.indices.tolist(), best.values.tolist(), strict=True)
        return {"demands": [{"token": token, "probability": chance} for token, chance in pairs]}

    return app


if __name__ == "__main__":
    uvicorn.run(application(sys.argv[1]), host="127.0.0.1", port=int(sys.argv[2]), log_level="warning")
