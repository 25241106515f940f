"""Rows, settings and an adapter with which a tiny model trains, for the tests of this folder."""

from pathlib import Path
from typing import Any

import torch

from nlft.records import Judged, Verdict
from nlft.train import NLFTConfig

RIGHT = Verdict(correct=True, reason="equal")
WRONG = Verdict(correct=False, reason="5 is not 7")
ROWS = [
    Judged(id="a", question="2+2?", reference="2+2=4\n#### 4", response="It is 4.\n#### 4", verdict=RIGHT),
    Judged(id="b", question="3+4?", reference="#### 7", response="3+4=5 #### 5", verdict=WRONG, judgment="3+4 is 7"),
    Judged(id="c", question="1+1, really?", reference="#### 2", response="2", verdict=RIGHT),
    Judged(id="d", question="9-1?", reference="#### 8", response="#### 9", verdict=WRONG, judgment="9-1 is 8, not 9"),
]


def config(tmp_path: Path, **changes: Any) -> NLFTConfig:
    settings: dict[str, Any] = {
        "output_dir": str(tmp_path / "out"),
        "prompts": "short",
        "use_cpu": True,
        "save_strategy": "no",
        "warmup_steps": 0,
        "learning_rate": 1e-3,
        "score_cache": str(tmp_path / "cache"),
        "disable_tqdm": True,
    }
    return NLFTConfig(**{**settings, **changes})


def stir(model: torch.nn.Module) -> None:
    """Move the adapter away from 0, as training would; zeros would hide a path's gradient through A."""
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            torch.nn.init.normal_(parameter, std=0.1, generator=torch.Generator().manual_seed(0))
