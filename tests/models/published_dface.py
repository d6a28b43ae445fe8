"""The published D-FACE forward pass as plain functions over a state dict with the published names.

Written from its description, without the modules of `dface_hf`, so that a converted checkpoint has something
independent to agree with. `test_dface_reference.py` holds it against the numbers of the published
implementation, where those are at hand. All sizes but the image size are read from the tensors' shapes.
"""

import math

import torch
import torch.nn.functional as F

LAPA = ((2, 1), (1, 0))


# Random weights


def tokenizer_state(
    seed=0,
    patch=8,
    dim=16,
    heads=2,
    head_dim=4,
    spatial=1,
    temporal=1,
    decoder=None,
    codes=8,
    code_dim=4,
    convs=1,
):
    """A state dict with random weights, in the published names and order."""
    random, state = torch.Generator().manual_seed(seed), {}

    def put(name, *shape, scale=1.0, shift=0.0):
        state[name] = shift + scale * torch.randn(shape, generator=random)

    def linear(name, rows, columns, bias=True):
        put(f"{name}.weight", rows, columns, scale=columns**-0.5)
        if bias:
            put(f"{name}.bias", rows, scale=0.1)

    def norm(name, size, names=("weight", "bias")):
        put(f"{name}.{names[0]}", size, scale=0.2, shift=1.0)
        put(f"{name}.{names[1]}", size, scale=0.2)

    def attention(name, null):
        state[f"{name}.null_kv"] = torch.randn(heads, 2 * null, head_dim, generator=random)
        put(f"{name}.q_scale", head_dim, scale=0.2, shift=1.0)
        put(f"{name}.k_scale", head_dim, scale=0.2, shift=1.0)
        norm(f"{name}.norm", dim, ("gamma", "beta"))
        norm(f"{name}.context_norm", dim, ("gamma", "beta"))
        linear(f"{name}.to_q", heads * head_dim, dim, bias=False)
        linear(f"{name}.to_kv", 2 * heads * head_dim, dim, bias=False)
        linear(f"{name}.to_out", dim, heads * head_dim, bias=False)

    def transformer(name, depth, cross=False):
        inner = int(8 / 3 * dim)
        for layer in (f"{name}.layers.{index}" for index in range(depth)):
            put(f"{layer}.0.dsconv.weight", dim, 1, 3, 3, 3, scale=0.2)
            put(f"{layer}.0.dsconv.bias", dim, scale=0.1)
            attention(f"{layer}.1", 0)
            if cross:
                attention(f"{layer}.2", 2)
            norm(f"{layer}.3.0", dim)
            linear(f"{layer}.3.1", 2 * inner, dim, bias=False)
            linear(f"{layer}.3.4", dim, inner, bias=False)
        norm(f"{name}.norm_out", dim, ("gamma", "beta"))

    linear("spatial_rel_pos_bias.net.0.0", dim, 2)
    linear("spatial_rel_pos_bias.net.1.0", dim, dim)
    linear("spatial_rel_pos_bias.net.2", heads, dim)
    norm("to_patch_emb_first_frame.1", 3 * patch**2)
    linear("to_patch_emb_first_frame.2", dim, 3 * patch**2)
    norm("to_patch_emb_first_frame.3", dim)
    transformer("enc_spatial_transformer", spatial)
    transformer("enc_temporal_transformer", temporal)
    put("vq.codebooks", codes, code_dim)
    linear("vq.project_in", code_dim, dim)
    linear("vq.project_out", dim, code_dim)
    for index in range(0, 2 * convs, 2):  # a ReLU stands between two convolutions
        put(f"vq.cnn_encoder.{index}.weight", code_dim, code_dim, 3, 3, scale=(4.5 * code_dim) ** -0.5)
        put(f"vq.cnn_encoder.{index}.bias", code_dim, scale=0.1)
    transformer("dec_spatial_transformer", spatial if decoder is None else decoder, cross=True)
    linear("to_pixels_first_frame.0", 3 * patch**2, dim)
    return state


def classifier_state(
    seed=0, tokenizer_dim=16, tokens=16, dim=16, feedforward=24, layers=2, classes=4, text_dim=12
):
    """A state dict of the published classifier with random weights."""
    random, state = torch.Generator().manual_seed(seed), {}

    def put(name, *shape, scale=0.3, shift=0.0):
        state[name] = shift + scale * torch.randn(shape, generator=random)

    put("pos_embed", 1, tokens, dim, scale=1.0)
    for name, rows, columns in (("token_embed", dim, tokenizer_dim), ("cls_proj.0", classes, dim)):
        put(f"{name}.weight", rows, columns)
        put(f"{name}.bias", rows)
    for layer in (f"transformer.layers.{index}" for index in range(layers)):
        put(f"{layer}.self_attn.in_proj_weight", 3 * dim, dim)
        put(f"{layer}.self_attn.in_proj_bias", 3 * dim)
        for name, rows, columns in (
            ("self_attn.out_proj", dim, dim),
            ("linear1", feedforward, dim),
            ("linear2", dim, feedforward),
        ):
            put(f"{layer}.{name}.weight", rows, columns)
            put(f"{layer}.{name}.bias", rows)
        for name in ("norm1", "norm2"):
            put(f"{layer}.{name}.weight", dim, shift=1.0)
            put(f"{layer}.{name}.bias", dim)
    put("sparse_pool.query", dim, scale=2.0)
    put("sparse_pool.ln.weight", dim, shift=1.0)
    put("sparse_pool.ln.bias", dim)
    put("clip_proj.0.weight", text_dim, dim)
    put("clip_proj.0.bias", text_dim)
    return state


# The tokenizer


def run_tokenizer(state, video, convs=None):
    """Tokenise and redraw pairs.

    Args:
        state: Published tokenizer weights.
        video: (batch, 3, 2, height, width), RGB in [0, 1].
        convs: (stride, padding) of the reduction's convolutions; stride 2 and padding 1 by default.

    Returns:
        action_ids (batch, tokens), margin (of the nearest code to the second nearest, squared distance),
        action_features (batch, tokens, dim), reconstruction (batch, 3, height, width) and loss.
    """
    patch = math.isqrt(len(state["to_patch_emb_first_frame.1.weight"]) // 3)
    side = video.shape[-1] // patch
    embedded = _embed(state, video, patch)  # (b, t, h, w, d)
    bias = _relative_position_bias(state, side)
    first, last = _encode(state, embedded, bias)
    difference = _reduce(state, last, side, convs) - _reduce(state, first, side, convs)
    codebook = state["vq.codebooks"]
    distance = (difference[:, :, None] - codebook).pow(2).sum(-1)
    nearest = distance.sort(dim=-1).values
    ids = distance.argmin(-1)
    features = _features(state, ids)
    image = _decode(state, embedded[:, :1], features, bias, patch)
    return {
        "action_ids": ids,
        "margin": (nearest[..., 1] - nearest[..., 0]).min(),
        "action_features": features,
        "reconstruction": image,
        "loss": (image - video[:, :, 1]).pow(2).mean(),
    }


def _embed(state, video, patch):
    b, c, t, height, width = video.shape
    cut = video.reshape(b, c, t, height // patch, patch, width // patch, patch)
    cut = cut.permute(0, 2, 3, 5, 1, 4, 6).reshape(b, t, height // patch, width // patch, c * patch * patch)
    name = "to_patch_emb_first_frame"
    return _norm(state, f"{name}.3", _linear(state, f"{name}.2", _norm(state, f"{name}.1", cut)))


def _relative_position_bias(state, side):
    """(heads, side * side, side * side), from the offset of every patch to every other."""
    axis = torch.arange(side, dtype=state["spatial_rel_pos_bias.net.2.weight"].dtype)
    place = torch.stack([axis.repeat_interleave(side), axis.repeat(side)], dim=-1)
    offset = place[:, None] - place[None]
    hidden = torch.sign(offset) * torch.log(offset.abs() + 1)
    for layer in ("0.0", "1.0"):
        hidden = F.leaky_relu(_linear(state, f"spatial_rel_pos_bias.net.{layer}", hidden), 0.1)
    return _linear(state, "spatial_rel_pos_bias.net.2", hidden).permute(2, 0, 1)


def _encode(state, embedded, bias):
    b, t, h, w, d = embedded.shape
    shape = (b, t, h, w)
    rows = _transformer(state, "enc_spatial_transformer", embedded.reshape(b * t, h * w, d), shape, bias)
    rows = rows.reshape(b, t, h * w, d).transpose(1, 2).reshape(b * h * w, t, d)
    rows = _transformer(
        state, "enc_temporal_transformer", rows, shape
    )  # the shape does not fit the rows' order
    return rows.reshape(b, h * w, t, d).unbind(dim=2)


def _transformer(state, name, rows, shape, bias=None, context=None):
    for index in range(_depth(state, name)):
        layer = f"{name}.layers.{index}"
        rows = rows + _position_conv(state, f"{layer}.0.dsconv", rows, shape)
        rows = rows + _attention(state, f"{layer}.1", rows, bias=bias)
        if context is not None:
            rows = rows + _attention(state, f"{layer}.2", rows, context=context)
        value, gate = _linear(state, f"{layer}.3.1", _norm(state, f"{layer}.3.0", rows)).chunk(2, dim=-1)
        rows = rows + _linear(state, f"{layer}.3.4", value * F.gelu(gate))
    return _norm(state, f"{name}.norm_out", rows, ("gamma", "beta"))


def _position_conv(state, name, rows, shape):
    volume = rows.reshape(*shape, rows.shape[-1]).permute(0, 4, 1, 2, 3)
    volume = F.pad(volume, (1, 1, 1, 1, 2, 0))  # width, height, time: the past only
    weight = state[f"{name}.weight"]
    volume = F.conv3d(volume, weight, state[f"{name}.bias"], groups=len(weight))
    return volume.permute(0, 2, 3, 4, 1).reshape(rows.shape)


def _attention(state, name, rows, bias=None, context=None):
    q_scale, k_scale, null = (state[f"{name}.{part}"] for part in ("q_scale", "k_scale", "null_kv"))
    heads, width = null.shape[0], len(q_scale)
    source = rows if context is None else _norm(state, f"{name}.context_norm", context, ("gamma", "beta"))
    query = _linear(state, f"{name}.to_q", _norm(state, f"{name}.norm", rows, ("gamma", "beta")))
    key, value = _linear(state, f"{name}.to_kv", source).chunk(2, dim=-1)
    query, key, value = (
        part.reshape(len(rows), -1, heads, width).permute(0, 2, 1, 3) for part in (query, key, value)
    )
    null_key, null_value = null.reshape(heads, -1, 2, width).expand(len(rows), -1, -1, -1, -1).unbind(dim=3)
    key, value = torch.cat([null_key, key], dim=2), torch.cat([null_value, value], dim=2)
    scores = 8 * torch.einsum("bhid,bhjd->bhij", _unit(query) * q_scale, _unit(key) * k_scale)
    weights = (scores if bias is None else scores + bias).softmax(dim=-1)
    output = torch.einsum("bhij,bhjd->bhid", weights, value)
    return _linear(state, f"{name}.to_out", output.permute(0, 2, 1, 3).reshape(len(rows), -1, heads * width))


def _reduce(state, frame, side, convs):
    grid = _linear(state, "vq.project_in", frame).permute(0, 2, 1).reshape(len(frame), -1, side, side)
    count = sum(name.startswith("vq.cnn_encoder") and name.endswith("weight") for name in state)
    for index, (stride, padding) in enumerate(convs or ((2, 1),) * count):
        name = f"vq.cnn_encoder.{2 * index}"
        grid = grid if index == 0 else grid.relu()
        grid = F.conv2d(grid, state[f"{name}.weight"], state[f"{name}.bias"], stride=stride, padding=padding)
    return grid.flatten(2).permute(0, 2, 1)


def _features(state, ids):
    """The published reshape: rows of codes read as if they were columns."""
    codes = state["vq.codebooks"][ids.reshape(-1)]
    codes = codes.reshape(len(ids), codes.shape[-1], -1).permute(0, 2, 1)
    return _linear(state, "vq.project_out", codes)


def _decode(state, embedded, features, bias, patch):
    b, _, h, w, d = embedded.shape
    rows = embedded.reshape(b, h * w, d)
    rows = _transformer(state, "dec_spatial_transformer", rows, (b, 1, h, w), bias, features)
    pixels = _linear(state, "to_pixels_first_frame.0", rows).reshape(b, h, w, 3, patch, patch)
    return pixels.permute(0, 3, 1, 4, 2, 5).reshape(b, 3, h * patch, w * patch)


# The classifier


def run_classifier(state, features, heads=8):
    """Read features (batch, tokens, tokenizer dim): logits, attention, pooled and projected."""
    rows = _linear(state, "token_embed", features) + state["pos_embed"]
    for index in range(_depth(state, "transformer")):
        rows = _encoder_layer(state, f"transformer.layers.{index}", rows, heads)
    rows = _norm(state, "sparse_pool.ln", rows)
    query = state["sparse_pool.query"]
    attention = (rows @ query / len(query) ** 0.5).softmax(dim=-1)
    pooled = torch.einsum("bt,btd->bd", attention, rows)
    return {
        "attention": attention,
        "pooled": pooled,
        "logits": _linear(state, "cls_proj.0", pooled),
        "projected": _unit(_linear(state, "clip_proj.0", pooled)),
    }


def losses(output, labels, anchors, others, class_weights):
    """Every loss of a classifier's output; `labels` equal to `others` have no row in `anchors`."""
    log_probability = output["logits"].log_softmax(-1)[range(len(labels)), labels]
    weights = class_weights[labels]
    cosines = output["projected"] @ _unit(anchors).T
    named = labels != others
    contrast = -(cosines[named] / 0.07).log_softmax(-1)[range(int(named.sum())), labels[named]].mean()
    margin = (cosines[~named].max(dim=-1).values - 0.2).clamp_min(0).mean()
    values = {
        "weighted_ce": -(weights * log_probability).sum() / weights.sum(),
        "entropy": -(output["attention"] * output["attention"].log()).sum(-1).mean(),
        "edclip_named": contrast,
        "edclip_others": margin,
        "edclip": contrast + 0.2 * margin,
    }
    total = values["weighted_ce"] + 1e-3 * values["entropy"] + 0.3 * values["edclip"]
    return values | {"total": total}


def _encoder_layer(state, name, rows, heads):
    normed = _norm(state, f"{name}.norm1", rows)
    joint = normed @ state[f"{name}.self_attn.in_proj_weight"].T + state[f"{name}.self_attn.in_proj_bias"]
    query, key, value = (
        part.reshape(*part.shape[:2], heads, -1).permute(0, 2, 1, 3) for part in joint.chunk(3, dim=-1)
    )
    weights = (query @ key.transpose(2, 3) / query.shape[-1] ** 0.5).softmax(dim=-1)
    mixed = (weights @ value).permute(0, 2, 1, 3).flatten(2)
    rows = rows + _linear(state, f"{name}.self_attn.out_proj", mixed)
    hidden = F.relu(_linear(state, f"{name}.linear1", _norm(state, f"{name}.norm2", rows)))
    return rows + _linear(state, f"{name}.linear2", hidden)


# Plain layers


def _linear(state, name, rows):
    return F.linear(rows, state[f"{name}.weight"], state.get(f"{name}.bias"))


def _norm(state, name, rows, names=("weight", "bias")):
    weight, bias = (state[f"{name}.{part}"] for part in names)
    return F.layer_norm(rows, weight.shape, weight, bias)


def _unit(vectors):
    return vectors / vectors.norm(dim=-1, keepdim=True)


def _depth(state, name):
    return len({key.split(".")[2] for key in state if key.startswith(f"{name}.layers.")})
