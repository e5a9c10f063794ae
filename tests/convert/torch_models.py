"""torch modules as people write them, with weights wide enough that different inputs give different outputs."""

import torch
from torch import Tensor, nn

VOCABULARY = 23


class LanguageModel(nn.Module):
    """The names of PyTorch's own word language model."""

    def __init__(self, *, tied: bool = False, layers: int = 2) -> None:
        super().__init__()
        self.encoder = nn.Embedding(VOCABULARY, 8)
        self.rnn = nn.LSTM(8, 8 if tied else 12, layers)
        self.decoder = nn.Linear(8 if tied else 12, VOCABULARY)
        if tied:
            self.decoder.weight = self.encoder.weight

    def forward(self, ids: Tensor) -> Tensor:
        """ids (T, B) -> logits (T, B, V)."""
        logits: Tensor = self.decoder(self.rnn(self.encoder(ids))[0])
        return logits


class Classifier(nn.Module):
    """Reads text in both directions; the ends of both, joined, decide."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(VOCABULARY, 8)
        self.lstm = nn.LSTM(8, 6, bidirectional=True, batch_first=True)
        self.fc = nn.Linear(12, 3)

    def forward(self, ids: Tensor) -> Tensor:
        """ids (B, T) -> logits (B, 3)."""
        _, (hidden, _) = self.lstm(self.embed(ids))
        logits: Tensor = self.fc(torch.cat((hidden[0], hidden[1]), dim=1))
        return logits


def seeded(module: nn.Module, seed: int = 0) -> nn.Module:
    """The module with all its weights redrawn."""
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for parameter in module.parameters():
            parameter.copy_(0.4 * torch.randn(parameter.shape, generator=generator))
    return module.eval()
