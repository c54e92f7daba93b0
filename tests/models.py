"""Models that tests share: small, written as their authors would write them, none made for quantization."""

from __future__ import annotations

from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import nn


class BasicBlock(nn.Module):
    def __init__(self, inputs, outputs, stride):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False), nn.BatchNorm2d(outputs)
        self.conv2, self.bn2 = nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False), nn.BatchNorm2d(outputs)
        self.relu = nn.ReLU(inplace=True)
        self.stride, self.pad = stride, outputs - inputs

    def shortcut(self, x):
        """Subsample and pad channels: He et al.'s option A, a functional call that tracers stumble over."""
        return F.pad(x[:, :, :: self.stride, :: self.stride], (0, 0, 0, 0, 0, self.pad)) if self.pad else x

    def forward(self, x):
        out = self.relu(self.bn1(self.conv1(x)))
        out = self.bn2(self.conv2(out))
        out += self.shortcut(x)
        return self.relu(out)


class ResNet20(nn.Module):
    """Two blocks a stage in place of three: enough of a ResNet-20 for a test."""

    def __init__(self):
        super().__init__()
        self.conv1, self.bn1 = nn.Conv2d(3, 16, 3, 1, 1, bias=False), nn.BatchNorm2d(16)
        self.layer1 = nn.Sequential(BasicBlock(16, 16, 1), BasicBlock(16, 16, 1))
        self.layer2 = nn.Sequential(BasicBlock(16, 32, 2), BasicBlock(32, 32, 1))
        self.layer3 = nn.Sequential(BasicBlock(32, 64, 2), BasicBlock(64, 64, 1))
        self.fc = nn.Linear(64, 10)

    def forward(self, x):
        x = F.relu(self.bn1(self.conv1(x)))
        x = self.layer3(self.layer2(self.layer1(x)))
        return self.fc(torch.flatten(F.adaptive_avg_pool2d(x, 1), 1))


class InvertedResidual(nn.Module):
    def __init__(self, inputs, outputs, stride, expand=4):
        super().__init__()
        hidden = inputs * expand
        self.expand = nn.Sequential(nn.Conv2d(inputs, hidden, 1, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True))
        self.depthwise = nn.Sequential(
            nn.Conv2d(hidden, hidden, 3, stride, 1, groups=hidden, bias=False), nn.BatchNorm2d(hidden), nn.ReLU6(True)
        )
        self.project = nn.Sequential(nn.Conv2d(hidden, outputs, 1, bias=False), nn.BatchNorm2d(outputs))
        self.residual = stride == 1 and inputs == outputs

    def forward(self, x):
        y = self.project(self.depthwise(self.expand(x)))
        return x + y if self.residual else y


class MobileNetV2(nn.Module):
    def __init__(self):
        super().__init__()
        self.features = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2, 1, bias=False),
            nn.BatchNorm2d(8),
            nn.ReLU6(True),
            InvertedResidual(8, 12, 1),
            InvertedResidual(12, 12, 1),
            InvertedResidual(12, 16, 2),
        )
        self.classifier = nn.Sequential(nn.Dropout(0.2), nn.Linear(16, 10))

    def forward(self, x):
        return self.classifier(self.features(x).mean([2, 3]))


class Tagger(nn.Module):
    """Embedding, recurrent layer, linear: token ids to tags."""

    def __init__(self, kind=nn.LSTM):
        super().__init__()
        self.embedding = nn.Embedding(50, 12)
        self.rnn = kind(12, 16, num_layers=2, batch_first=True, bidirectional=True)
        self.fc = nn.Linear(32, 5)

    def forward(self, ids):
        return self.fc(self.rnn(self.embedding(ids))[0])


class UNet(nn.Module):
    def __init__(self):
        super().__init__()
        self.down1, self.down2 = self._conv(3, 8), self._conv(8, 16)
        self.up = nn.ConvTranspose2d(16, 8, 2, 2)
        self.up_bn = nn.BatchNorm2d(8)
        self.out1, self.out2 = self._conv(16, 8), nn.Conv2d(8 + 3, 2, 1)

    @staticmethod
    def _conv(inputs, outputs):
        return nn.Sequential(nn.Conv2d(inputs, outputs, 3, padding=1), nn.BatchNorm2d(outputs), nn.ReLU(True))

    def forward(self, x):
        a = self.down1(x)
        b = self.down2(F.max_pool2d(a, 2))
        y = self.out1(torch.cat([a, self.up_bn(self.up(b))], 1))
        y = F.interpolate(F.avg_pool2d(y, 2), scale_factor=2, mode="bilinear", align_corners=False)
        return self.out2(torch.cat([y, x], 1))


class FunctionalOnly(nn.Module):
    """Parameters and functional calls; not one submodule."""

    def __init__(self):
        super().__init__()
        self.kernel = nn.Parameter(torch.randn(8, 3, 3, 3) * 0.2)
        self.matrix = nn.Parameter(torch.randn(8, 6) * 0.3)

    def forward(self, x):
        y = F.relu(F.conv2d(x, self.kernel, padding=1))
        y = torch.softmax(y, 1) + y
        return y.mean((2, 3)) @ self.matrix


@dataclass
class Output:
    logits: torch.Tensor
    hidden: torch.Tensor
    loss: torch.Tensor | None = None


class Attention(nn.Module):
    """Keyword inputs with a mask, dataclass output."""

    def __init__(self, width=24, heads=2):
        super().__init__()
        self.heads = heads
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.norm, self.act = nn.LayerNorm(width), nn.SiLU()
        self.classifier = nn.Linear(width, 4)

    def forward(self, x, mask=None):
        batch, length, width = x.shape
        q, k, v = self.qkv(x).view(batch, length, 3, self.heads, -1).permute(2, 0, 3, 1, 4)
        y = F.scaled_dot_product_attention(q, k, v, attn_mask=mask)
        hidden = self.norm(x + self.out(y.transpose(1, 2).reshape(batch, length, width)))
        return Output(logits=self.classifier(self.act(hidden).mean(1)), hidden=hidden)


class Reused(nn.Module):
    """One linear layer called twice, one weight under two names, a dict of outputs."""

    def __init__(self):
        super().__init__()
        self.fc, self.tied = nn.Linear(8, 8), nn.Linear(8, 8)
        self.tied.weight = self.fc.weight

    def forward(self, x, y):
        first = torch.tanh(self.fc(x))
        return {"first": first, "second": self.tied(self.fc(first)) + y}


def warmed_up(model, *inputs, passes=3):
    """Batch norms with statistics of data, as after training."""
    model.train()
    with torch.no_grad():
        for _ in range(passes):
            model(*inputs)
    return model.eval()


def images(batch=4, size=16, seed=0):
    return torch.randn(batch, 3, size, size, generator=torch.Generator().manual_seed(seed))


def zoo():
    """Name -> (model, example batch)."""
    torch.manual_seed(0)
    x = images()
    tokens = torch.randint(0, 50, (4, 7))
    features = torch.randn(4, 6, 24)
    mask = torch.ones(4, 1, 6, 6, dtype=torch.bool).tril()
    return {
        "resnet20": (warmed_up(ResNet20(), x), x),
        "mobilenet_v2": (warmed_up(MobileNetV2(), x), x),
        "lstm": (Tagger(nn.LSTM).eval(), tokens),
        "gru": (Tagger(nn.GRU).eval(), tokens),
        "unet": (warmed_up(UNet(), x), x),
        "functional": (FunctionalOnly().eval(), x),
        "attention": (Attention().eval(), {"x": features, "mask": mask}),
        "reused": (Reused().eval(), (torch.randn(4, 8), torch.randn(4, 8))),
    }


def transformers_zoo():
    """Architectures that nobody here wrote, from small random configurations: name -> (model, example batch)."""
    import transformers as t

    torch.manual_seed(0)
    ids = torch.randint(0, 100, (2, 9))
    attend = torch.ones(2, 9, dtype=torch.long)
    attend[1, 6:] = 0
    small = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "vocab_size": 100}
    image = torch.randn(2, 3, 16, 16)
    text = {"input_ids": ids, "attention_mask": attend}
    return {
        "bert": (t.BertModel(t.BertConfig(**small, intermediate_size=64)).eval(), text),
        "gpt2": (
            t.GPT2LMHeadModel(t.GPT2Config(n_embd=32, n_layer=2, n_head=4, vocab_size=100, use_cache=False)).eval(),
            text,
        ),
        "llama": (
            t.LlamaForCausalLM(
                t.LlamaConfig(**small, intermediate_size=64, num_key_value_heads=2, use_cache=False)
            ).eval(),
            text,
        ),
        "vit": (
            t.ViTForImageClassification(
                t.ViTConfig(
                    hidden_size=32,
                    num_hidden_layers=2,
                    num_attention_heads=4,
                    intermediate_size=64,
                    image_size=16,
                    patch_size=4,
                )
            ).eval(),
            {"pixel_values": image},
        ),
        "whisper": (
            t.models.whisper.modeling_whisper.WhisperEncoder(
                t.WhisperConfig(
                    d_model=32,
                    encoder_layers=2,
                    encoder_attention_heads=4,
                    encoder_ffn_dim=64,
                    num_mel_bins=16,
                    max_source_positions=20,
                )
            ).eval(),
            {"input_features": torch.randn(2, 16, 40)},
        ),
    }
