"""Networks of the autoencoder codec, in PyTorch; imported only where one is trained or used.

`Convolutional` is the published network of arXiv 2605.07227 (111,633 parameters at a latent of 16x16x16x16) and its
8^3 and 32^3 variants; `Lapped` is ours, for periodic grids. Both map a volume (1, 1, z, y, x) to a latent
(1, channels, z / factor, y / factor, x / factor) and back.
"""

from __future__ import annotations

from collections.abc import Sequence

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from .volumes import Configuration


def build(configuration: Configuration) -> Convolutional | Lapped:
    """The untrained network of a configuration, on the CPU; seed torch first for the same weights each time."""
    return (Lapped if configuration.network == "lapped" else Convolutional)(configuration)


class _Convolution(nn.Conv3d):
    """3x3x3 convolution of the same size, zero or circular at the edges, optionally of an input upsampled by two."""

    def __init__(self, inside: int, outside: int, upsample: bool = False, bias: bool = True) -> None:
        super().__init__(inside, outside, 3, bias=bias)
        self.upsample = upsample

    def forward(self, values: Tensor, periodic: bool = False, beyond: Tensor | None = None) -> Tensor:
        """beyond: (channels,), what the input is past its high ends, where those are not the ends of the volume."""
        padded = periodic or beyond is not None
        if periodic:
            values = F.pad(values, (1,) * 6, mode="circular")
        elif beyond is not None:
            values = _continued(values, beyond)
        if self.upsample:
            return F.conv_transpose3d(values, self._upsampling(), self.bias, 2, 3 if padded else 1)
        return F.conv3d(values, self.weight, self.bias, padding=0 if padded else 1)

    def _upsampling(self) -> Tensor:
        """Weights of the transposed convolution that equals nearest-neighbour upsampling and then this convolution.

        A third of the work, and no upsampled copy of the input: w'[k] = w[2 - k] + w[3 - k] along each axis.
        """
        weight = self.weight.flip(2, 3, 4)
        for axis in range(3):
            low, high = [0] * 6, [0] * 6
            low[2 * axis], high[2 * axis + 1] = 1, 1
            weight = F.pad(weight, low) + F.pad(weight, high)
        return weight.transpose(0, 1)


def _continued(values: Tensor, beyond: Tensor) -> Tensor:
    """One point more on each side: zero at the low ends, `beyond` at the high ones."""
    values = F.pad(values, (1,) * 6)
    constant = beyond.to(values.dtype)[None, :, None, None]
    values[:, :, -1, 1:, 1:] = constant
    values[:, :, 1:, -1, 1:] = constant
    values[:, :, 1:, 1:, -1] = constant
    return values


class _Layer(nn.Module):
    """Convolution, optional batch normalisation, ReLU, optional dropout, optional pooling."""

    def __init__(
        self, inside: int, outside: int, configuration: Configuration, *, upsample=False, pool=False, linear=False
    ) -> None:
        super().__init__()
        self.convolution = _Convolution(inside, outside, upsample)
        self.norm = nn.BatchNorm3d(outside) if configuration.batch_norm and not linear else None
        self.dropout = nn.Dropout3d(configuration.dropout) if configuration.dropout and not linear else None
        self.pool, self.linear = pool, linear

    def forward(self, values: Tensor, periodic: bool, beyond: Tensor | None = None) -> Tensor:
        return self.finish(self.convolution(values, periodic, beyond))

    def finish(self, values: Tensor) -> Tensor:
        """All after the convolution. The maximum first, the same as last and an eighth of the work for the others."""
        if self.norm is not None:
            values = self.norm(values)
        if self.pool:
            values = F.max_pool3d(values, 2)
        if not self.linear:
            values = F.relu(values)
        return values if self.dropout is None else self.dropout(values)


class Convolutional(nn.Module):
    """The published autoencoder: convolution, ReLU and max-pooling blocks, and their mirror image."""

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        self.periodic = configuration.boundary == "periodic"
        widths = configuration.widths
        encoder = [_Layer(i, o, configuration, pool=True) for i, o in zip((1, *widths), widths, strict=False)]
        self.encoder = nn.ModuleList([*encoder, _Layer(widths[-1], configuration.channels, configuration)])
        back = widths[::-1]
        self.decoder = nn.ModuleList([_Layer(configuration.channels, back[0], configuration)])
        for k, (i, o) in enumerate(zip(back, (*back[1:], 1), strict=True)):
            self.decoder.append(_Layer(i, o, configuration, upsample=True, linear=k == len(back) - 1))

    def encode(self, values: Tensor) -> Tensor:
        for layer in self.encoder:
            values = layer(values, self.periodic)
        return values

    def decode(self, latent: Tensor, context: Tensor | None = None) -> Tensor:
        for layer in self.decoder:
            latent = layer(latent, self.periodic)
        return latent

    def forward(self, values: Tensor, context: Tensor | None = None) -> Tensor:
        return self.decode(self.encode(values))

    def background(self) -> list[Tensor]:
        """Activations far from any crystal, in a volume of zeros without end, before each layer and after the last.

        (channels,) each, differentiable.
        """
        side = 2 * self.configuration.factor
        values = torch.zeros(1, 1, side, side, side, device=next(self.parameters()).device)
        found = [values.mean((0, 2, 3, 4))]
        for layer in (*self.encoder, *self.decoder):
            values = layer(values, True)
            found.append(values.mean((0, 2, 3, 4)))
        return found

    def nothing(self, beside: Sequence[int]) -> Tensor:
        """Squared output of an empty volume, summed over all of it but for a corner of so many points (z, y, x).

        Zero padding at the ends of a volume makes something else of nothing at faces, at edges and in corners than far
        from them. All of it is in a box of 8 times the factor, whose middle stands for that of the whole volume.
        """
        factor, most = self.configuration.factor, self.configuration.most
        side, end = min(8 * factor, most), 3 * factor
        device = next(self.parameters()).device
        squared = self(torch.zeros(1, 1, side, side, side, device=device))[0, 0].float().square()
        at = torch.arange(most, device=device)
        if side < most:  # place in the box of each place in the volume
            middle = end + (at - end) % (side - 2 * end)
            at = torch.where(at < end, at, torch.where(at < most - end, middle, at - most + side))
        whole = torch.bincount(at, minlength=side).to(squared.dtype)
        z, y, x = (torch.bincount(at[:n], minlength=side).to(squared.dtype) for n in beside)
        product = "i,j,k->ijk"
        return ((torch.einsum(product, whole, whole, whole) - torch.einsum(product, z, y, x)) * squared).sum()

    def corner(self, values: Tensor, background: Sequence[Tensor]) -> Tensor:
        """Output in the corner of a padded volume that holds the crystal and some of the padding beside it.

        values: that corner. What lies past it is taken to be the background, exact but for what is near a low face.
        """
        for layer, beyond in zip((*self.encoder, *self.decoder), background[:-1], strict=True):
            values = layer(values, False, beyond)
        return values


class Padded:
    """A `Convolutional` network on zero-padded volumes, without convolving the padding.

    Every activation of the padded volume differs from that of an empty one (all zeros) only near the crystal. So the
    empty volume goes through the network once, and for a crystal only the corner that differs is computed, layer after
    layer, with the empty volume's activations around it. Equal to the full forward pass (a test proves it).
    """

    def __init__(self, network: Convolutional) -> None:
        self.network = network
        side = network.configuration.most
        device = next(network.parameters()).device
        values = torch.zeros(1, 1, side, side, side, device=device)
        self._empty = [values]
        with torch.inference_mode():
            for layer in (*network.encoder, *network.decoder):
                self._empty.append(layer(self._empty[-1], False))
        self._split = len(network.encoder)

    def encode(self, volume: Tensor) -> Tensor:
        """volume: (1, 1, z, y, x), the crystal without padding. Returns the whole latent of the padded volume."""
        with torch.inference_mode():
            corner = volume
            for number, layer in enumerate(self.network.encoder):
                corner = self._step(number, layer, corner)
            return self._fill(self._split, corner)

    def decode(self, latent: Tensor, size: tuple[int, int, int], whole: bool = False) -> Tensor:
        """latent: (1, channels, n, n, n). Returns (1, 1, *size), or all of the padded volume if `whole`."""
        with torch.inference_mode():
            factor = self.network.configuration.factor
            reach = [min(latent.shape[2], -(-n // factor) + 5) for n in size]
            corner = latent if whole else latent[:, :, : reach[0], : reach[1], : reach[2]]
            for layer in self.network.decoder:
                corner = layer(corner, False)
            return corner if whole else corner[:, :, : size[0], : size[1], : size[2]]

    def background(self) -> Tensor:
        """Decoded empty volume, (1, 1, n, n, n)."""
        return self._empty[-1]

    def _step(self, number: int, layer: nn.Module, corner: Tensor) -> Tensor:
        assert isinstance(layer, _Layer)
        empty = self._empty[number]
        side = empty.shape[2]
        size = [min(side, n + 1) for n in corner.shape[2:]]
        if layer.pool:
            size = [n + n % 2 for n in size]
        canvas = empty[:, :, : size[0] + 1, : size[1] + 1, : size[2] + 1].clone()
        z, y, x = corner.shape[2:]
        canvas[:, :, :z, :y, :x] = corner
        edges = [1, 1 if size[2] == side else 0, 1, 1 if size[1] == side else 0, 1, 1 if size[0] == side else 0]
        convolution = layer.convolution
        return layer.finish(F.conv3d(F.pad(canvas, edges), convolution.weight, convolution.bias))

    def _fill(self, number: int, corner: Tensor) -> Tensor:
        filled = self._empty[number].clone()
        z, y, x = corner.shape[2:]
        filled[:, :, :z, :y, :x] = corner
        return filled


def _zero(layer: nn.Conv3d) -> None:
    for parameter in layer.parameters():
        nn.init.zeros_(parameter)


class _Block(nn.Module):
    """Residual block: GELU and circular convolution, twice; the second starts at zero, so the block as the identity."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.first, self.second = _Convolution(width, width), _Convolution(width, width)
        _zero(self.second)

    def forward(self, values: Tensor) -> Tensor:
        return values + self.second(F.gelu(self.first(F.gelu(values), True)), True)


class Lapped(nn.Module):
    """A lapped transform on periodic grids, corrected by residual blocks.

    The grid's `factor`^3 phases become channels; a linear circular convolution takes them to the latent and another
    one back, each seeing the neighbouring latent voxels; beside both, residual blocks add what is not linear. The
    decoder also sees the superposition of atomic densities, which it has from the structure.
    """

    def __init__(self, configuration: Configuration) -> None:
        super().__init__()
        self.configuration = configuration
        phases, channels = configuration.factor**3, configuration.channels
        width, depth = configuration.widths
        context = phases if configuration.target == "difference" else 0
        self.analysis = _Convolution(phases, channels, bias=False)
        self.synthesis = _Convolution(channels, phases, bias=False)
        self.into = _Convolution(phases, width)
        self.down = nn.ModuleList(_Block(width) for _ in range(depth - 1))
        self.out = nn.Conv3d(width, channels, 1)
        self.back = _Convolution(channels + context, width)
        self.up = nn.ModuleList(_Block(width) for _ in range(depth))
        self.finish = nn.Conv3d(width, phases, 1)
        for last in (self.out, self.finish):
            _zero(last)

    def start_from(self, volumes: Sequence[Tensor], step: float) -> None:
        """Begin with the principal components of the phases, the best transform without overlap.

        volumes: some of the training set, (1, 1, z, y, x). step: of the quantisation, in the volumes' units.
        """
        phases = [_phases(volume, self.configuration.factor).flatten(2)[0].double() for volume in volumes]
        # Every material counts the same, however large its cell and its differences are.
        covariance = sum(p @ p.T / p.shape[1] / p.square().mean().clamp_min(1e-12) for p in phases)
        basis = torch.linalg.eigh(covariance).eigenvectors.flip(1)[:, : self.configuration.channels].T.float()
        with torch.no_grad():
            for layer in (self.analysis, self.synthesis):
                layer.weight.zero_()
            self.analysis.weight[:, :, 1, 1, 1] = basis / step
            self.synthesis.weight[:, :, 1, 1, 1] = basis.T * step

    def encode(self, values: Tensor) -> Tensor:
        """Latent in units of its quantisation step."""
        phases = _phases(values, self.configuration.factor)
        hidden = self.into(phases, True)
        for block in self.down:
            hidden = block(hidden)
        with torch.autocast(values.device.type, enabled=False):  # the linear path carries all but the last per cent
            linear = self.analysis(phases, True)
        return linear + self.out(F.gelu(hidden))

    def decode(self, latent: Tensor, context: Tensor | None = None) -> Tensor:
        """context: the superposition of atomic densities on the volume's grid, where the configuration has one."""
        seen = latent * 0.1
        if context is not None:
            seen = torch.cat([seen, _phases(context, self.configuration.factor)], 1)
        hidden = self.back(seen, True)
        for block in self.up:
            hidden = block(hidden)
        with torch.autocast(latent.device.type, enabled=False):
            linear = self.synthesis(latent, True)
        return _volume(linear + self.finish(F.gelu(hidden)), self.configuration.factor)


def _phases(values: Tensor, factor: int) -> Tensor:
    """(n, 1, f z, f y, f x) to (n, f^3, z, y, x)."""
    n, _, z, y, x = values.shape
    parts = values.reshape(n, z // factor, factor, y // factor, factor, x // factor, factor)
    return parts.permute(0, 2, 4, 6, 1, 3, 5).reshape(n, factor**3, z // factor, y // factor, x // factor)


def _volume(phases: Tensor, factor: int) -> Tensor:
    """The inverse of `_phases`."""
    n, _, z, y, x = phases.shape
    parts = phases.reshape(n, factor, factor, factor, z, y, x).permute(0, 4, 1, 5, 2, 6, 3)
    return parts.reshape(n, 1, z * factor, y * factor, x * factor)
