"""Tiny models with random weights, saved as Hugging Face's tools save them; nothing is downloaded."""

from __future__ import annotations

import json
from pathlib import Path

import torch
import transformers
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors

WORDS = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "a", "red", "flag", "dog", "the", "##s", ".")

_SMALL = {
    "hidden_size": 32,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "intermediate_size": 48,
}
_WAVE = {**_SMALL, "conv_dim": (16, 16), "conv_kernel": (10, 3), "conv_stride": (5, 2), "num_feat_extract_layers": 2}
_WAVE |= {"num_conv_pos_embeddings": 16, "num_conv_pos_embedding_groups": 2, "layerdrop": 0.0}


def save_tokenizer(folder: Path) -> None:
    words = {word: number for number, word in enumerate(WORDS)}
    tokenizer = Tokenizer(models.WordPiece(words, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True)
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]", special_tokens=[("[CLS]", words["[CLS]"]), ("[SEP]", words["[SEP]"])]
    )
    transformers.PreTrainedTokenizerFast(
        tokenizer_object=tokenizer, pad_token="[PAD]", unk_token="[UNK]", cls_token="[CLS]", sep_token="[SEP]"
    ).save_pretrained(folder)


def save_bert(folder: Path, *, seed: int = 0) -> Path:
    torch.manual_seed(seed)
    config = transformers.BertConfig(vocab_size=len(WORDS), max_position_embeddings=40, **_SMALL)
    transformers.BertModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    return folder


def save_wav2vec2(folder: Path, *, large: bool = False) -> Path:
    """``large`` normalises layers and masks the padding, as the large published models do."""
    torch.manual_seed(0)
    norm = {"feat_extract_norm": "layer", "do_stable_layer_norm": True} if large else {"feat_extract_norm": "group"}
    transformers.Wav2Vec2Model(transformers.Wav2Vec2Config(**_WAVE, **norm)).save_pretrained(folder)
    transformers.Wav2Vec2FeatureExtractor(do_normalize=True, return_attention_mask=large).save_pretrained(folder)
    return folder


def save_ast(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ASTConfig(max_length=64, num_mel_bins=32, frequency_stride=10, time_stride=10, **_SMALL)
    transformers.ASTModel(config).save_pretrained(folder)
    # Written by hand, since the extractor itself needs more packages to be made than to be read.
    about = {"feature_extractor_type": "ASTFeatureExtractor", "do_normalize": True, "mean": -4.25, "std": 4.5}
    about |= {"max_length": 64, "num_mel_bins": 32, "sampling_rate": 16000, "return_attention_mask": False}
    (folder / "preprocessor_config.json").write_text(json.dumps(about | {"feature_size": 1, "padding_value": 0.0}))
    return folder


def save_vit(folder: Path) -> Path:
    torch.manual_seed(0)
    config = transformers.ViTConfig(image_size=32, patch_size=8, **_SMALL)
    transformers.ViTModel(config).save_pretrained(folder)
    _save_picture_processor(folder)
    return folder


def save_clip(folder: Path) -> Path:
    torch.manual_seed(0)
    text = {**_SMALL, "vocab_size": len(WORDS), "max_position_embeddings": 20, "pad_token_id": 0, "eos_token_id": 3}
    vision = {**_SMALL, "hidden_size": 16, "image_size": 32, "patch_size": 16}
    config = transformers.CLIPConfig(text_config=text, vision_config=vision, projection_dim=8)
    transformers.CLIPModel(config).save_pretrained(folder)
    save_tokenizer(folder)
    _save_picture_processor(folder)
    return folder


def _save_picture_processor(folder: Path) -> None:
    about = {"image_processor_type": "ViTImageProcessor", "image_mean": [0.4, 0.5, 0.6], "image_std": [0.2, 0.25, 0.3]}
    (folder / "preprocessor_config.json").write_text(json.dumps(about | {"size": {"height": 32, "width": 32}}))
