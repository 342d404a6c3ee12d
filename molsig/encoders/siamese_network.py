"""CancerSiamese: two copies of a one-dimensional CNN joined by a similarity head.

    x      standardised log expression, genes in a fixed order, zeros appended until all windows are full
    c1     = relu(conv 256 x 50, stride 50)
    c2     = maxpool2(relu(conv 128 x 10))
    f(x)   = flatten(maxpool2(sigmoid(conv 128 x 5)))
    d      = (f(x) - f(y))^2                          element by element
    p      = sigmoid(w . relu(W2 relu(W1 d + b1) + b2) + b)         that x and y are of one type

After "CancerSiamese: one-shot learning for predicting primary and metastatic tumor types unseen during model training"
(doi:10.1186/s12859-021-04157-w, Methods) and the 1D-CNN it takes over (doi:10.1186/s12920-020-0677-2). Where the
paper leaves it open: the two fully connected layers have 128 and 32 units with ReLU between. Its kernels are made for
4,858 genes; with fewer than 1,250 features the first window and its stride shrink to a 25th of the features, so that
the other two convolutions keep their size, and with fewer than 25 features zeros are appended up to that.

One thing is other than there: the head is monotone. Its weights act by their absolute values, so that a greater
difference never makes two samples more alike. A free head learns which differences tell the training types apart, pair
of types by pair of types: on miRNA of types it had not seen it fell from the 82 % that the plain distance of its own
features reaches to 45 to 65 % (6-way), while it erred on hardly a pair of the training types. `monotone=False` is it.

Each non-linearity is a module of its own, called once per pass, so that attribution can hook each of them.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import torch
from torch import nn
from torch.nn import functional

from molsig.types import DIM

if TYPE_CHECKING:
    from torch import Tensor

WINDOW = 50
"""Kernel and stride of the first convolution."""
FEWEST_WINDOWS = 25
"""Windows that the later convolutions need: 25 leave 3 positions after the last pooling."""
FIRST, SECOND, THIRD = 256, 128, 128
SECOND_KERNEL, THIRD_KERNEL = 10, 5
HEAD = (128, 32)


def window_of(n_features: int) -> int:
    """Kernel and stride of the first convolution for so many features."""
    return max(1, min(WINDOW, n_features // FEWEST_WINDOWS))


class ExpressionCNN(nn.Module):
    """The 1D-CNN that makes features of one sample.

    Parameters
    ----------
    n_features
        Length of x.
    """

    def __init__(self, n_features: int) -> None:
        super().__init__()
        self.window = window_of(n_features)
        windows = max(FEWEST_WINDOWS, -(-n_features // self.window))
        self.padding = windows * self.window - n_features
        self.conv1 = nn.Conv1d(1, FIRST, self.window, stride=self.window)
        self.relu1 = nn.ReLU()
        self.conv2 = nn.Conv1d(FIRST, SECOND, SECOND_KERNEL)
        self.relu2 = nn.ReLU()
        self.pool2 = nn.MaxPool1d(2)
        self.conv3 = nn.Conv1d(SECOND, THIRD, THIRD_KERNEL)
        self.sigmoid3 = nn.Sigmoid()
        self.pool3 = nn.MaxPool1d(2)
        self.flatten = nn.Flatten()
        self.width = THIRD * (((windows - SECOND_KERNEL + 1) // 2 - THIRD_KERNEL + 1) // 2)

    def forward(self, x: Tensor) -> Tensor:
        """Features f(x) in (0, 1), (batch, width)."""
        x = functional.pad(x, (0, self.padding)).unsqueeze(1)
        x = self.relu1(self.conv1(x))
        x = self.pool2(self.relu2(self.conv2(x)))
        features: Tensor = self.flatten(self.pool3(self.sigmoid3(self.conv3(x))))
        return features


class SimilarityHead(nn.Module):
    """Squared difference of two vectors, two fully connected layers, one logit.

    Parameters
    ----------
    width
        Length of the vectors.
    monotone
        A greater difference never raises the logit.
    """

    def __init__(self, width: int, *, monotone: bool = True, hidden: tuple[int, int] = HEAD) -> None:
        super().__init__()
        self.monotone = monotone
        self.dense1 = nn.Linear(width, hidden[0])
        self.relu1 = nn.ReLU()
        self.dense2 = nn.Linear(hidden[0], hidden[1])
        self.relu2 = nn.ReLU()
        self.out = nn.Linear(hidden[1], 1)
        for layer in (self.dense1, self.dense2, self.out):
            nn.init.xavier_uniform_(layer.weight)
            nn.init.zeros_(layer.bias)
        if monotone:
            # All terms of one sign add up: smaller weights, and a start that calls equal vectors alike.
            with torch.no_grad():
                for layer in (self.dense1, self.dense2, self.out):
                    layer.weight.abs_().mul_(0.2)
                self.out.bias.fill_(2.0)

    def forward(self, a: Tensor, b: Tensor) -> Tensor:
        """Logit of the probability that the rows of `a` and `b` are of one type, (batch,)."""
        difference = (a - b).square()
        if not self.monotone:
            hidden = self.relu2(self.dense2(self.relu1(self.dense1(difference))))
            free: Tensor = self.out(hidden).squeeze(-1)
            return free
        one = self.relu1(functional.linear(difference, self.dense1.weight.abs(), self.dense1.bias))
        two = self.relu2(functional.linear(one, self.dense2.weight.abs(), self.dense2.bias))
        logit: Tensor = functional.linear(two, -self.out.weight.abs(), self.out.bias).squeeze(-1)
        return logit


class Siamese(nn.Module):
    """CNN, similarity head, and what carries the features into the space that is searched.

    `project` is linear, so that neighbours in 768 dimensions are found by an index; `head` scores features, as in the
    paper, and `vector_head` scores projected vectors, which is all that a reference stores.
    """

    def __init__(self, n_features: int, *, monotone: bool = True) -> None:
        super().__init__()
        self.cnn = ExpressionCNN(n_features)
        self.head = SimilarityHead(self.cnn.width, monotone=monotone)
        self.project = nn.Linear(self.cnn.width, DIM)
        self.vector_head = SimilarityHead(DIM, monotone=monotone)

    def forward(self, x: Tensor, y: Tensor) -> Tensor:
        """Logit that x and y are of one type, (batch,)."""
        logit: Tensor = self.head(self.cnn(x), self.cnn(y))
        return logit

    def embed(self, x: Tensor) -> Tensor:
        """Projected features, (batch, 768)."""
        vectors: Tensor = self.project(self.cnn(x))
        return vectors


def pair_logits(head: SimilarityHead, a: Tensor, b: Tensor, block: int = 1 << 16) -> Tensor:
    """Logits of all pairs, (n, m), in blocks of pairs so that memory stays bounded."""
    rows = max(1, block // max(1, len(b)))
    parts = [
        head(part[:, None, :].expand(-1, len(b), -1), b[None].expand(len(part), -1, -1))
        for part in torch.split(a, rows)
    ]
    return torch.cat(parts) if parts else a.new_zeros((0, len(b)))
