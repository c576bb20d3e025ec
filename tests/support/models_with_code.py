"""Stand-ins for models with code of their own: the files and the interface of published ones."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

OWN = {"AutoConfig": "configuration_own.OwnConfig", "AutoModel": "modeling_own.OwnModel"}

CONFIGURATION = """
from transformers import PretrainedConfig

class OwnConfig(PretrainedConfig):
    model_type = "own"

    def __init__(self, embed_dim=6, num_frames=8, model=None, **kwargs):
        self.embed_dim, self.num_frames, self.model = embed_dim, num_frames, model
        super().__init__(**kwargs)
"""

#: As published code does: names that transformers has moved, and tensors read while it is built.
MODELING = """
import torch
from torch import nn
from transformers import PreTrainedModel
from transformers.modeling_utils import (
    apply_chunking_to_forward, find_pruneable_heads_and_indices, prune_linear_layer
)
from transformers.tokenization_utils import _is_control, _is_punctuation, _is_whitespace

from .configuration_own import OwnConfig
from .helping import FACTOR

class OwnModel(PreTrainedModel):
    config_class = OwnConfig

    def __init__(self, config):
        super().__init__(config)
        drops = [x.item() for x in torch.tensor([0.5, 1])]
        self.register_buffer("one", torch.tensor(drops[1]), persistent=False)
        self.when = nn.Parameter(torch.zeros(config.num_frames))
        self.visual = nn.Linear(3, config.embed_dim)
        self.again = self.visual  # two names of one tensor; files hold one of them
        self.text_encoder = nn.Linear(2, 2)
        %(building)s
        self.post_init()

    def pooled(self, videos):
        below = torch.linspace(0, 1, videos.shape[3])[:, None].to(videos)
        rows = ((videos * below).mean((3, 4)) * self.when[None, :, None]).sum(1)
        return self.visual(rows) * FACTOR * self.one

    %(asking)s
"""

COSMOS_ASKED = """
    def get_video_embeddings(self, videos):
        class Output: pass
        output = Output()
        output.visual_proj = self.pooled(videos)
        return output
"""

INTERN_ASKED = """
    def get_vid_feat(self, frames):
        rows = self.pooled(frames)
        rows /= rows.norm(dim=-1, keepdim=True)
        return rows
"""

INTERN_BUILT = """
        from pathlib import Path
        self.words = Path(config.model["text_encoder"]["config"]).read_text()
"""

PROCESSING = """
import json
from pathlib import Path
import numpy as np
import torch

class OwnProcessor:
    def __init__(self, side, frames):
        self.side, self.num_video_frames = side, frames

    @classmethod
    def from_pretrained(cls, folder, **kwargs):
        return cls(**json.loads((Path(folder) / "preprocessor_config.json").read_text())["own"])

    def __call__(self, videos):
        assert videos.dtype == np.uint8 and videos.ndim == 5 and videos.shape[2] == 3
        rows = np.arange(self.side) * videos.shape[3] // self.side
        columns = np.arange(self.side) * videos.shape[4] // self.side
        return {"videos": torch.from_numpy(videos[..., rows, :][..., columns] / 255).float()}
"""


def cosmos_in(folder: Path, seed: int = 0, factor: float = 1.0, **config: Any) -> Path:
    """A stand-in for Cosmos-Embed1."""
    code = MODELING % {"asking": COSMOS_ASKED.strip(), "building": "pass"}
    own = {"auto_map": {**OWN, "AutoProcessor": "processing_own.OwnProcessor"}, "num_frames": 8}
    _write(folder, code, factor, own | config)
    (folder / "processing_own.py").write_text(PROCESSING)
    (folder / "preprocessor_config.json").write_text('{"own": {"side": 16, "frames": 8}}')
    return _with_weights(folder, seed)


def intern_in(folder: Path, seed: int = 0, factor: float = 1.0, **config: Any) -> Path:
    """A stand-in for InternVideo2, which reads a file by its path within the repository."""
    (folder / "configs").mkdir(parents=True)
    (folder / "configs/words.json").write_text("{}")
    code = MODELING % {"asking": INTERN_ASKED.strip(), "building": INTERN_BUILT.strip()}
    model = {"text_encoder": {"config": "configs/words.json"}}
    own = {"model": model, "image_res": 224, "num_frames": 4}
    _write(folder, code, factor, own | config)
    return _with_weights(folder, seed)


def _write(folder: Path, code: str, factor: float, config: dict[str, Any]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    whole = {"model_type": "own", "embed_dim": 6, "auto_map": OWN, **config}
    (folder / "config.json").write_text(json.dumps(whole))
    (folder / "configuration_own.py").write_text(CONFIGURATION)
    (folder / "modeling_own.py").write_text(code)
    (folder / "helping.py").write_text(f"FACTOR = {factor}\n")


def _with_weights(folder: Path, seed: int) -> Path:
    import torch
    from safetensors.torch import save_file

    config = json.loads((folder / "config.json").read_text())
    torch.manual_seed(seed)
    tensors = {
        "when": torch.randn(config["num_frames"]),
        "visual.weight": torch.randn(config["embed_dim"], 3),
        "visual.bias": torch.randn(config["embed_dim"]),
    }
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    return folder
