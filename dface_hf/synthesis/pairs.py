"""Onset/apex pairs with known facial action, made as fast as a small model can learn from them.

One pair: an identity of the bank is bent to a new geometry, posed, and painted twice. The second frame also
carries the drawn action units (motion, shading, parting lips), a small movement of the head and, like the
first, its own noise. Both frames are resampled exactly once, so sharpness does not tell which is the apex.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from dataclasses import fields as dataclass_fields

import torch
import torch.nn.functional as F

from .fields import ActionFields, identity_modes, load_fields
from .identities import IdentityBank, random_geometry, random_light, random_tone
from .nuisances import (
    REFERENCE_SIZE,
    NoiseBank,
    NuisanceConfig,
    blur,
    draw_pose,
    jpeg_like,
    light_ramp,
    luminance,
)
from .rendering import Stage, backward_shift, largest_motion
from .seeds import seed_of, seeded

UNITS = (1, 2, 4, 5, 6, 7, 9, 10, 12, 14, 15, 17, 18, 20, 23, 24, 25, 26)
BLINK = 45

# Largest motion of a unit relative to that of the brows and lip corners, which move most in micro-
# expressions.
RELATIVE_AMPLITUDE = {5: 0.5, 6: 0.5, 7: 0.5, 9: 0.6, 10: 0.6, 14: 0.5, 17: 0.6, 23: 0.5, 24: 0.5}


@dataclass(frozen=True)
class ActionSet:
    """Action units that act together.

    Attributes:
        units: FACS numbers.
        probability: Relative frequency of the set.
        label: Class number given out with the pair; -1 for none.
        unilateral: Only one side of the face acts, as in contempt.
    """

    units: tuple[int, ...]
    probability: float = 1.0
    label: int = -1
    unilateral: bool = False


@dataclass
class PairBatch:
    """A batch of pairs and everything known about them.

    Attributes:
        onset: (B, 3, S, S) in [0, 1].
        apex: (B, 3, S, S) in [0, 1].
        units: (B, U) multi-hot over the sampler's units, 0 for a still pair.
        weights: (B, K) weight of each action field.
        flow: (B, 2, S, S) forward motion (dx, dy) of the onset's pixels by the action alone, in px of the
            crop.
        backward: (B, 2, S, S) the same motion backwards: where the skin seen at a pixel after the action came
            from, relative to it, in px of the crop.
        camera: (B, 4) head movement from onset to apex: shift x, y (px of 128), degrees, relative scale
            change.
        amplitude: (B,) largest motion by the action, in px of a 128 crop.
        identity: (B,) index of the face in the bank at this step.
        label: (B,) class of the action set, -1 for none.
        blink: (B,) weight of a blink in the apex frame (no part of ``flow`` and ``units``).
        onset_b, apex_b: another identity with the same action (only from ``sample_same_action``).
        identity_b: (B,) its index.
    """

    onset: torch.Tensor
    apex: torch.Tensor
    units: torch.Tensor
    weights: torch.Tensor
    flow: torch.Tensor
    backward: torch.Tensor
    camera: torch.Tensor
    amplitude: torch.Tensor
    identity: torch.Tensor
    label: torch.Tensor
    blink: torch.Tensor
    onset_b: torch.Tensor | None = None
    apex_b: torch.Tensor | None = None
    identity_b: torch.Tensor | None = None

    def to(self, device: str | torch.device) -> PairBatch:
        """The batch on another device."""
        values = {f.name: getattr(self, f.name) for f in dataclass_fields(self)}
        return PairBatch(**{k: v if v is None else v.to(device) for k, v in values.items()})


class PairSampler:
    """An endless, reproducible stream of onset/apex pairs.

    Args:
        size: Pixels of the crop.
        fields: Motion and shading of the action units (default: the package's own).
        identities: (n, 3, R, R) faces in [0, 1], R may differ from ``size``; None paints a bank of
            procedural faces at 1.5 times the size.
        units: Action units that may act, and the columns of ``PairBatch.units``.
        amplitude: Range of the largest motion, px of a 128 crop, drawn log-uniformly.
        unit_probability: Chance of each unit; a pair that draws none gets one.
        still_share: Share of the pairs in which nothing acts but the nuisances.
        identical_share: Share of the pairs whose two frames are the same picture.
        nuisances: Ranges of everything that is not action.
        unit_combinations: Draw whole sets instead of independent units (for emotions).
        unilateral_share: Share of the two-sided units that act on one side only.
        asymmetry: Weight of the weaker side is drawn from (asymmetry, 1).
        bank: Number of procedural faces.
        refresh_every: Steps after which 32 of them are replaced (0: never).
        seed: The stream is a function of (seed, step) alone.

    Raises:
        ValueError: A unit without a field, an empty range, or probabilities that make no sense.
    """

    def __init__(
        self,
        size: int = 64,
        fields: ActionFields | None = None,
        identities: torch.Tensor | None = None,
        units: Sequence[int] = UNITS,
        amplitude: tuple[float, float] = (0.3, 2.0),
        unit_probability: float = 0.15,
        still_share: float = 0.1,
        identical_share: float = 0.0,
        nuisances: NuisanceConfig | None = None,
        unit_combinations: Sequence[ActionSet] | None = None,
        unilateral_share: float = 0.15,
        asymmetry: float = 0.5,
        bank: int = 1024,
        refresh_every: int = 0,
        seed: int = 0,
    ):
        self.size, self.units, self.amplitude = size, tuple(units), amplitude
        self.fields = (fields or load_fields(size)).at(size)
        self.nuisances = nuisances or NuisanceConfig()
        self.unit_probability, self.still_share = unit_probability, still_share
        self.identical_share, self.unilateral_share, self.asymmetry = (
            identical_share,
            unilateral_share,
            asymmetry,
        )
        self.seed, self.step = seed, 0
        self.combinations = list(unit_combinations) if unit_combinations else None
        self._check()
        self._index_fields()
        self._faces = (identities.clamp(0, 1) * 255 + 0.5).byte() if identities is not None else None
        self._bank = IdentityBank(bank, size * 3 // 2, seed, refresh_every) if identities is None else None
        self._modes = identity_modes(size)
        self._noise = NoiseBank(size, seed_of("noise", seed))

    @property
    def num_actions(self) -> int:
        """Columns of ``PairBatch.weights``."""
        return len(self.fields.units)

    # -- the stream
    # ------------------------------------------------------------------------------------------------

    def sample(self, batch: int, step: int | None = None, twins: bool = False) -> PairBatch:
        """The pairs of a step (the next one when ``step`` is None).

        Args:
            batch: Pairs.
            step: Place in the stream.
            twins: Let the second half of the batch do what the first half does, on other faces and with
                nuisances of their own: pair i + batch / 2 is the twin of pair i.

        Raises:
            ValueError: Twins of an odd batch.
        """
        if twins and batch % 2:
            raise ValueError(f"twins need an even batch, not {batch}")
        generator, faces = self._begin(step, "same action" if twins else "pairs")
        weights, truth = self._draw_actions(batch // 2 if twins else batch, generator)
        identity = torch.randint(len(faces), (len(weights),), generator=generator)
        if twins:
            offset = torch.randint(1, max(2, len(faces)), (len(weights),), generator=generator)
            identity = torch.cat([identity, (identity + offset) % len(faces)])
            weights, truth = (
                weights.repeat(2, 1),
                {name: torch.cat([value, value]) for name, value in truth.items()},
            )
        rendered = self._render(faces[identity], weights, truth.pop("identical"), generator)
        amplitude = largest_motion(rendered["flow"]) * REFERENCE_SIZE / self.size
        return PairBatch(weights=weights, identity=identity, amplitude=amplitude, **truth, **rendered)

    def sample_same_action(self, batch: int, step: int | None = None) -> PairBatch:
        """Pairs of a step in which a second identity (``onset_b``, ``apex_b``) does the same, nuisances
        its own."""
        both = self.sample(2 * batch, step, twins=True)
        first = {f.name: getattr(both, f.name)[:batch] for f in dataclass_fields(both) if f.name[-2:] != "_b"}
        return PairBatch(
            **first, onset_b=both.onset[batch:], apex_b=both.apex[batch:], identity_b=both.identity[batch:]
        )

    def state_dict(self) -> dict[str, int]:
        """What is needed to go on later with the same stream."""
        return {"seed": self.seed, "step": self.step}

    def load_state_dict(self, state: dict[str, int]) -> None:
        """Go on where another sampler with the same arguments stopped.

        Raises:
            ValueError: The state belongs to another seed.
        """
        if state["seed"] != self.seed:
            raise ValueError(
                f"the saved stream has seed {state['seed']}, this sampler {self.seed}; use the same seed"
            )
        self.step = int(state["step"])

    def _begin(self, step: int | None, stream: str) -> tuple[torch.Generator, torch.Tensor]:
        if step is None:
            step, self.step = self.step, self.step + 1
        faces = self._faces if self._faces is not None else self._bank.at(step)
        return seeded(stream, self.seed, step), faces

    # -- what acts
    # -------------------------------------------------------------------------------------------------

    def _check(self) -> None:
        known = set(self.fields.units)
        asked = set(self.units).union(*(s.units for s in self.combinations or ()))
        if missing := sorted(asked - known):
            raise ValueError(f"no motion field for action unit {missing[0]}; known: {sorted(known)}")
        if extra := sorted(asked - set(self.units)):
            raise ValueError(
                f"unit_combinations use action unit {extra[0]}, which is not in units={self.units}"
            )
        low, high = self.amplitude
        if not 0 < low <= high:
            raise ValueError(f"amplitude={self.amplitude} is no range of positive px; give e.g. (0.3, 2.0)")
        shares = (self.unit_probability, self.still_share, self.identical_share)
        if not all(0 <= s <= 1 for s in shares) or self.still_share + self.identical_share > 1:
            raise ValueError(f"shares must lie in [0, 1] and add up to at most 1; got {shares}")

    def _index_fields(self) -> None:
        column = {unit: i for i, unit in enumerate(self.units)}
        rows = [(k, column[u]) for k, u in enumerate(self.fields.units) if u in column]
        self._row = torch.tensor([k for k, _ in rows])
        self._column = torch.tensor([c for _, c in rows])
        sides = {"left": 0, "right": 1, "both": 2}
        self._side = torch.tensor([sides[self.fields.sides[k]] for k, _ in rows])
        self._blink_rows = [k for k, u in enumerate(self.fields.units) if u == BLINK]
        self._relative = torch.tensor([RELATIVE_AMPLITUDE.get(u, 1.0) for u in self.units])
        if self.combinations:
            table = [[float(u in s.units) for u in self.units] for s in self.combinations]
            self._sets = torch.tensor(table)
            self._odds = torch.tensor([s.probability for s in self.combinations])

    def _draw_units(self, n: int, generator: torch.Generator):
        """Active units (n, U), label (n,) and whether the action is one-sided by its nature (n, 1)."""
        if self.combinations:
            chosen = torch.multinomial(self._odds, n, replacement=True, generator=generator)
            label = torch.tensor([s.label for s in self.combinations])[chosen]
            unilateral = torch.tensor([s.unilateral for s in self.combinations])[chosen]
            return self._sets[chosen], label, unilateral[:, None]
        active = torch.rand(n, len(self.units), generator=generator) < self.unit_probability
        spare = torch.randint(len(self.units), (n,), generator=generator)
        active |= F.one_hot(spare, len(self.units)).bool() & ~active.any(1, keepdim=True)
        return active.float(), torch.full((n,), -1), torch.zeros(n, 1, dtype=torch.bool)

    def _draw_actions(self, n: int, generator: torch.Generator) -> tuple[torch.Tensor, dict]:
        """Field weights (n, K) whose largest motion is the drawn amplitude, and the truth that goes with
        them."""
        active, label, unilateral = self._draw_units(n, generator)
        fate = torch.rand(n, generator=generator)
        identical = fate < self.identical_share
        acting = fate >= self.identical_share + self.still_share
        active = active * acting[:, None]
        strength = active * self._relative * (0.6 + 0.8 * torch.rand(active.shape, generator=generator))
        sides = self._draw_sides(active.shape, unilateral, generator)
        weights = torch.zeros(n, len(self.fields.units))
        factor = sides[torch.arange(n)[:, None], self._column, self._side]
        weights[:, self._row] = strength[:, self._column] * factor / self.fields.peak[self._row]
        low, high = self.amplitude
        wanted = low * (high / low) ** torch.rand(n, generator=generator) * (active * self._relative).amax(1)
        peak = (
            largest_motion(torch.einsum("nk,kcyx->ncyx", weights, self.fields.displacement))
            * REFERENCE_SIZE
            / 2
        )
        weights = weights * (wanted / peak.clamp_min(1e-6))[:, None]
        label = torch.where(acting, label, -1)
        return weights, {"units": active, "label": label, "identical": identical}

    def _draw_sides(self, shape, unilateral: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        """Factors (n, U, 3) of the left fields, the right fields and the fields of both sides."""
        n, units = shape
        weaker = self.asymmetry + (1 - self.asymmetry) * torch.rand(n, units, generator=generator)
        single = (
            torch.rand(n, units, generator=generator) < self.unilateral_share
        ) & ~unilateral | unilateral
        weaker = torch.where(single, torch.zeros_like(weaker), weaker)
        left = torch.rand(n, units, generator=generator) < 0.5
        left = torch.where(unilateral, left[:, :1], left)
        one = torch.ones_like(weaker)
        return torch.stack([torch.where(left, one, weaker), torch.where(left, weaker, one), one], -1)

    # -- what is seen
    # ----------------------------------------------------------------------------------------------

    def _render(self, faces: torch.Tensor, weights: torch.Tensor, identical: torch.Tensor, generator) -> dict:
        """Onset, apex, flow, camera and blink of faces (n, 3, R, R) uint8 under field weights (n, K)."""
        n = len(faces)
        faces = self._mirrored(faces, generator).float() / 255
        stage = Stage(self.fields, draw_pose(n, self.nuisances, generator), self._draw_geometry(n, generator))
        blink, camera = self._draw_blink(n, generator), self._draw_camera(n, generator)
        flow = stage.motion(weights)
        moved = flow + stage.motion(self._blink_weights(blink)) if blink.any() else flow
        onset, apex = stage.still(faces), stage.acting(faces, weights, moved, camera)
        onset, apex = self._photograph(onset, apex, generator)
        apex = torch.where(identical[:, None, None, None], onset, apex)
        camera, blink = camera * ~identical[:, None], blink * ~identical
        return {
            "onset": onset,
            "apex": apex,
            "flow": flow * (self.size / 2),
            "backward": self._backward(flow, stage.rest),
            "camera": camera,
            "blink": blink,
        }

    def _backward(self, flow: torch.Tensor, rest: torch.Tensor) -> torch.Tensor:
        shift = backward_shift(flow, rest.expand(len(flow), -1, -1, -1), iterations=2)
        return shift.permute(0, 3, 1, 2) * (self.size / 2)

    def _mirrored(self, faces: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
        flip = torch.rand(len(faces), generator=generator) < self.nuisances.mirror
        return torch.where(flip[:, None, None, None], faces.flip(-1), faces)

    def _draw_geometry(self, n: int, generator: torch.Generator) -> torch.Tensor:
        return random_geometry(n, self._modes, generator, self.nuisances.geometry)

    def _draw_camera(self, n: int, generator: torch.Generator) -> torch.Tensor:
        cfg, draw = self.nuisances, 2 * torch.rand(n, 4, generator=generator) - 1
        return draw * torch.tensor([cfg.drift * 0.7071, cfg.drift * 0.7071, cfg.rotation, cfg.scale])

    def _draw_blink(self, n: int, generator: torch.Generator) -> torch.Tensor:
        draw = torch.rand(n, 2, generator=generator)
        return torch.where(draw[:, 0] < self.nuisances.blink, 0.2 + 0.8 * draw[:, 1], 0.0)

    def _blink_weights(self, blink: torch.Tensor) -> torch.Tensor:
        weights = torch.zeros(len(blink), len(self.fields.units))
        weights[:, self._blink_rows] = blink[:, None]
        return weights

    def _photograph(
        self, onset: torch.Tensor, apex: torch.Tensor, generator
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Exposure and blur common to both frames; light change, noise and compression of each."""
        n, cfg, size = len(onset), self.nuisances, self.size
        gain, gamma = random_tone(n, generator, cfg.tone)
        light = random_light(n, size, generator, cfg.tone)
        draw = 2 * torch.rand(n, 4, generator=generator) - 1
        change = light_ramp(size, math.pi * draw[:, 0], cfg.tilt * draw[:, 1]) * (
            1 + cfg.gain * draw[:, 2, None, None, None]
        )
        frames = torch.cat([onset, apex * change + cfg.offset * draw[:, 3, None, None, None]]).clamp(1e-3, 1)
        frames = frames ** gamma.repeat(2, 1, 1, 1) * (gain * light).repeat(2, 1, 1, 1)
        share = torch.rand(n, 4, generator=generator)
        if cfg.blur:
            frames = blur(frames, cfg.blur * share[:, 0].repeat(2))
        low, high = cfg.noise
        if high:
            sigma = (low + (high - low) * share[:, 1]).repeat(2)[:, None, None, None] / 255
            frames = frames + sigma * self._noise.draw(2 * n, 3, generator)
        frames = self._compress(frames.clamp(0, 1), share[:, 2].repeat(2), generator)
        frames = torch.where(
            (share[:, 3] < cfg.grey).repeat(2)[:, None, None, None], luminance(frames), frames
        )
        return frames.clamp(0, 1).split(n)

    def _compress(
        self, frames: torch.Tensor, share: torch.Tensor, generator: torch.Generator
    ) -> torch.Tensor:
        rows = torch.nonzero(share < self.nuisances.jpeg_share)[:, 0]
        low, high = self.nuisances.jpeg_quality
        quality = low + (high - low) * torch.rand(len(frames), generator=generator)
        if len(rows):
            frames[rows] = jpeg_like(frames[rows], quality[rows])
        return frames
