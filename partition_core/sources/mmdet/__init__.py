"""Detectors of mmdet: their configs, parts, pictures, and what replaces their code while traced."""
