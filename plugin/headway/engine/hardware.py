"""Accelerators: memory bandwidth, compute and memory, from their makers' published numbers."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class Hardware:
    """One accelerator: memory bandwidth (bytes/s), dense bf16 FLOP/s, memory (bytes)."""

    bandwidth: float
    flops: float
    memory: float


A6000 = Hardware(bandwidth=0.768e12, flops=154.8e12, memory=48e9)
"""NVIDIA RTX A6000: data sheet (48 GB GDDR6, 768 GB/s); dense bf16 with fp32 accumulation from
the Ampere GA102 GPU architecture whitepaper v2 (309.7 TFLOPS with sparsity)."""

A100 = Hardware(bandwidth=2.039e12, flops=312e12, memory=80e9)
"""NVIDIA A100 80GB SXM, from NVIDIA's data sheet of June 2021."""

H100 = Hardware(bandwidth=3.35e12, flops=989.4e12, memory=80e9)
"""NVIDIA H100 SXM: data sheet (80 GB, 3.35 TB/s); dense bf16 is half of its 1,979 TFLOPS with
sparsity (H100 Tensor Core GPU architecture whitepaper)."""

H200 = Hardware(bandwidth=4.8e12, flops=989.4e12, memory=141e9)
"""NVIDIA H200 SXM: data sheet (141 GB HBM3e, 4.8 TB/s; compute as H100 SXM)."""

HARDWARE: dict[str, Hardware] = {"a6000": A6000, "a100": A100, "h100": H100, "h200": H200}
"""Accelerators by the name that a preset gives them."""
