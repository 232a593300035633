"""Torch twins of the attention layers, and a model that turns sequences around."""

import torch
from jaxtyping import Bool, Float, Int
from torch import Tensor, nn


def additive_attention_forward(
    h: Float[Tensor, "batch d_h"],
    a: Float[Tensor, "batch keys d_a"],
    W_h: Float[Tensor, "d_h d_e"],
    W_a: Float[Tensor, "d_a d_e"],
    v: Float[Tensor, " d_e"],
) -> tuple[Float[Tensor, "batch d_a"], Float[Tensor, "batch keys"]]:
    """Return the context vector and the weights of a step (eq. attention-additive)."""
    e = ((h @ W_h)[:, None] + a @ W_a).tanh() @ v
    alpha = e.softmax(dim=1)
    return (alpha[:, None] @ a)[:, 0], alpha


def attention_forward(
    Q: Float[Tensor, "batch heads queries d_k"],
    K: Float[Tensor, "batch heads keys d_k"],
    V: Float[Tensor, "batch heads keys d_v"],
    causal: bool = False,
) -> Float[Tensor, "batch heads queries d_v"]:
    """Mix the values by the softmax of Q K^T / sqrt(d_k) (eq. attention-sdpa)."""
    S = Q @ K.mT / Q.shape[3] ** 0.5
    if causal:
        future = torch.ones_like(S, dtype=torch.bool).triu(1)
        S = S.masked_fill(future, -torch.inf)
    return S.softmax(dim=3) @ V


def multi_head_attention_forward(
    x: Float[Tensor, "batch queries d_model"],
    m: Float[Tensor, "batch keys d_memory"],
    W_q: Float[Tensor, "heads d_model d_k"],
    W_k: Float[Tensor, "heads d_memory d_k"],
    W_v: Float[Tensor, "heads d_memory d_v"],
    W_o: Float[Tensor, "heads d_v d_out"],
    mask: Bool[Tensor, "batch queries keys"],
) -> Float[Tensor, "batch queries d_out"]:
    """Let several heads look from x at m (eq. attention-heads).

    A row that is masked all over brings zeros.
    """
    Q, K, V = x[:, None] @ W_q, m[:, None] @ W_k, m[:, None] @ W_v
    S = (Q @ K.mT / W_q.shape[2] ** 0.5).masked_fill(~mask[:, None], -torch.inf)
    sees = mask.any(dim=2)[:, None, :, None]
    P = S.masked_fill(~sees, 0.0).softmax(dim=3) * sees
    return (P @ V @ W_o).sum(dim=1)


class Seq2Seq(nn.Module):
    """Read a sequence in both directions, then write another, one symbol a step.

    The states of the reader, both directions side by side, are the annotations. At each
    step the writer looks at them by additive attention, and what it writes is read off
    the context vector alone (eq. attention-seq2seq; Bahdanau et al. 2015). Symbols are
    numbers below `symbols`; that number itself starts the output. Raises ValueError
    where d_h is odd.
    """

    def __init__(self, symbols: int, d_h: int):
        super().__init__()
        if d_h % 2:
            raise ValueError(f"expected an even d_h, half a direction, got {d_h}")
        self.embedding = nn.Embedding(symbols + 1, d_h)
        self.encoder = nn.GRU(d_h, d_h // 2, batch_first=True, bidirectional=True)
        self.decoder = nn.GRUCell(2 * d_h, d_h)
        self.W_h = nn.Parameter(torch.randn(d_h, d_h) / d_h**0.5)
        self.W_a = nn.Parameter(torch.randn(d_h, d_h) / d_h**0.5)
        self.v = nn.Parameter(torch.randn(d_h) / d_h**0.5)
        self.readout = nn.Linear(d_h, symbols)

    def forward(
        self,
        source: Int[Tensor, "batch time"],
        target: Int[Tensor, "batch steps"] | None = None,
    ) -> tuple[Float[Tensor, "batch steps symbols"], Float[Tensor, "batch steps time"]]:
        """Return the logits of every step of the output, and where it looked.

        With a target, each step is told the right symbol before it (teacher forcing);
        without one, the symbol that it chose itself, for as many steps as source has.
        """
        a, ends = self.encoder(self.embedding(source))
        h = torch.cat([ends[0], ends[1]], dim=1)
        symbol = torch.full_like(source[:, 0], self.readout.out_features)
        logits, weights = [], []
        for t in range((source if target is None else target).shape[1]):
            z, alpha = additive_attention_forward(h, a, self.W_h, self.W_a, self.v)
            h = self.decoder(torch.cat([self.embedding(symbol), z], dim=1), h)
            logits.append(self.readout(z))
            weights.append(alpha)
            symbol = logits[-1].argmax(dim=1) if target is None else target[:, t]
        return torch.stack(logits, dim=1), torch.stack(weights, dim=1)


class Captioner(nn.Module):
    """Look at an image and write one symbol a step about it, region by region.

    A small convolutional network makes a feature map of half the height and width; its
    places are the annotations (eq. attention-regions; Xu et al. 2015). Each gets a
    learned vector for where it lies.
    """

    def __init__(self, symbols: int, d_h: int, height: int, width: int):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(1, d_h // 2, 3, padding=1),
            nn.ReLU(),
            nn.Conv2d(d_h // 2, d_h, 3, stride=2, padding=1),
            nn.ReLU(),
            nn.Conv2d(d_h, d_h, 3, padding=1),
        )
        regions = ((height + 1) // 2) * ((width + 1) // 2)
        self.places = nn.Parameter(torch.randn(regions, d_h) / 3)
        self.start = nn.Parameter(torch.randn(d_h) / 3)
        self.embedding = nn.Embedding(symbols, d_h)
        self.decoder = nn.GRUCell(2 * d_h, d_h)
        self.W_h = nn.Parameter(torch.randn(d_h, d_h) / d_h**0.5)
        self.W_a = nn.Parameter(torch.randn(d_h, d_h) / d_h**0.5)
        self.v = nn.Parameter(torch.randn(d_h) / d_h**0.5)
        self.readout = nn.Linear(d_h, symbols)

    def forward(
        self, images: Float[Tensor, "batch height width"], steps: int
    ) -> tuple[
        Float[Tensor, "batch steps symbols"], Float[Tensor, "batch steps regions"]
    ]:
        """Return the logits of every step, and which regions it looked at."""
        a = self.features(images[:, None]).flatten(2).mT + self.places
        h, logits, weights = self.start.expand(len(images), -1), [], []
        for _ in range(steps):
            z, alpha = additive_attention_forward(h, a, self.W_h, self.W_a, self.v)
            logits.append(self.readout(z))
            weights.append(alpha)
            symbol = self.embedding(logits[-1].argmax(dim=1))
            h = self.decoder(torch.cat([symbol, z], dim=1), h)
        return torch.stack(logits, dim=1), torch.stack(weights, dim=1)
