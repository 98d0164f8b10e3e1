"""Where and how numbers are computed: device, precision, memory."""

from __future__ import annotations

import ctypes
import platform
from contextlib import AbstractContextManager, nullcontext

import torch
from torch import nn

from ganforge.base.errors import InputError, did_you_mean

KINDS = ("cpu", "cuda", "mps")
PRECISIONS = ("auto", "bf16", "fp32")


def choose(name: str = "auto") -> torch.device:
    """`auto` takes CUDA, then Apple's MPS, then the CPU; else a name of KINDS, or cuda:1 for a second GPU. InputError
    if it is not there."""
    if name == "auto":
        name = "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"
    if name.partition(":")[0] not in KINDS:
        raise InputError(f"The device {name!r} cannot be used here.{did_you_mean(name, ('auto', *KINDS))}")
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        reason = str(error).splitlines()[0].rstrip(".")
        raise InputError(f"The device {name!r} cannot be used here: {reason}. Use auto, cpu, cuda or mps.") from error
    if device.type == "cuda":
        torch.backends.cuda.matmul.allow_tf32 = True
        torch.backends.cudnn.allow_tf32 = True
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = True, False
    return device


def repeatable(name: str = "auto") -> torch.device:
    """As `choose`, but kernels are not chosen by their speed in this process, so that a seed gives the same picture in
    every process."""
    device = choose(name)
    if device.type == "cuda":
        torch.backends.cudnn.benchmark, torch.backends.cudnn.deterministic = False, True
    return device


def keep_memory() -> None:
    """Ask glibc to keep freed memory of the process instead of returning it to the system after every step.

    A training step frees and takes the same megabytes again; each return costs a page fault per 4 KiB (measured:
    10,000 faults and a quarter of the time of a small convolutional step). Elsewhere than on glibc: nothing.
    """
    if platform.libc_ver()[0] != "glibc":
        return
    mallopt = ctypes.CDLL(None).mallopt
    trim_threshold, top_pad, mmap_threshold = -1, -2, -3
    mallopt(mmap_threshold, 32 << 20)
    mallopt(trim_threshold, 1 << 30)
    mallopt(top_pad, 64 << 20)


def bf16_by(device: torch.device) -> str:
    """What computes bf16 there, such as AMX; empty where it would be imitated, and slow."""
    if device.type == "cuda":
        return torch.cuda.get_device_name(device) if torch.cuda.is_bf16_supported(including_emulation=False) else ""
    if device.type != "cpu":
        return ""
    if torch.cpu._is_amx_tile_supported():
        return "AMX"
    return "AVX-512 bf16" if torch.cpu._is_avx512_bf16_supported() else ""


def resolve_precision(name: str, device: torch.device) -> str:
    """`auto` -> bf16 where the device computes it, else fp32: the same on every start."""
    return name if name != "auto" else "bf16" if bf16_by(device) else "fp32"


def autocast(device: torch.device, precision: str) -> AbstractContextManager[object]:
    """bf16 for matrix products and convolutions, or plain fp32."""
    return torch.autocast(device.type, torch.bfloat16) if precision == "bf16" else nullcontext()


def place(module: nn.Module, device: torch.device) -> None:
    """Move a module to the device, its convolution weights in channels_last order. In place."""
    module.to(device)
    for parameter in module.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)


def wait(device: torch.device) -> None:
    """Until the device has done all that was given to it; a CPU always has."""
    if device.type != "cpu":
        torch.accelerator.synchronize(device)
