"""Synthetic speech: syllables from a source-filter model (Fant 1960; Klatt 1980).

A pulse train with a pitch contour and breath noise passes through resonators at the formants of a vowel; between vowels
there are fricatives of filtered noise, and pauses. Voices differ in pitch, length of the vocal tract, breath, tempo and
spectral tilt. A speech detector classifies most of it as speech, and a voice encoder distinguishes the voices.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from scipy.signal import lfilter

RATE = 16000
#: First three formants of vowels of male speakers, Hz (Peterson and Barney 1952).
VOWELS = np.array(
    [
        (270, 2290, 3010), (390, 1990, 2550), (530, 1840, 2480), (660, 1720, 2410), (730, 1090, 2440),
        (570, 840, 2410), (440, 1020, 2240), (300, 870, 2240), (640, 1190, 2390), (490, 1350, 1690),
    ],
    float,
)  # fmt: skip
BANDWIDTHS = (60.0, 90.0, 150.0, 220.0)


@dataclass(frozen=True)
class Voice:
    """Pitch in Hz, factor of the formants, share of breath noise, spectral tilt of the source, seconds of a vowel."""

    pitch: float
    tract: float
    breath: float
    tilt: float
    tempo: float

    @classmethod
    def of(cls, number: int) -> Voice:
        """Voice number ``number``; it is the same in every call."""
        r = np.random.default_rng([7, number])
        return cls(
            float(np.exp(r.uniform(np.log(85), np.log(260)))),
            float(r.uniform(0.88, 1.25)),
            float(r.uniform(0.01, 0.15)),
            float(r.uniform(0.80, 0.97)),
            float(r.uniform(0.09, 0.22)),
        )


def utterance(voice: Voice, seconds: float, seed: int) -> np.ndarray:
    """A waveform, float32 ``[seconds * RATE]``, with a root mean square of 0.03."""
    r = np.random.default_rng([11, seed])
    total, parts, length = int(seconds * RATE), [], 0
    while length < total:
        kind = r.random()
        if kind < 0.12:
            part = np.zeros(int(RATE * r.uniform(0.03, 0.2)))
        elif kind < 0.35:
            part = _fricative(r, int(RATE * r.uniform(0.04, 0.12)))
        else:
            part = _vowel(voice, r, int(RATE * voice.tempo * r.uniform(0.6, 1.6)))
        parts.append(part)
        length += len(part)
    wave = np.concatenate(parts)[:total]
    return (0.03 * wave / max(1e-9, float(np.sqrt(np.mean(wave**2))))).astype(np.float32)


def _vowel(voice: Voice, r: np.random.Generator, count: int) -> np.ndarray:
    t = np.linspace(0, 1, count)
    pitch = voice.pitch * np.exp(r.normal(0, 0.08) + r.normal(0, 0.1) * t + 0.01 * np.sin(2 * np.pi * 5 * t))
    phase = np.cumsum(pitch / RATE)
    source = np.diff(np.floor(phase), prepend=0.0) + voice.breath * r.normal(size=count)
    wave = lfilter([1.0], [1.0, -voice.tilt], source)
    formants = VOWELS[r.integers(len(VOWELS))] * voice.tract * np.exp(r.normal(0, 0.03, 3))
    for f, width in zip((*formants, 3600 * voice.tract), BANDWIDTHS, strict=True):
        radius = np.exp(-np.pi * width / RATE)
        poles = [1.0, -2 * radius * np.cos(2 * np.pi * f / RATE), radius**2]
        wave = lfilter([sum(poles)], poles, wave)
    edge = np.minimum(1, np.minimum(t, 1 - t) * count / (0.015 * RATE))
    wave = wave * edge * np.exp(r.normal(0, 0.3))
    return wave / max(1e-9, float(np.abs(wave).max()))


def _fricative(r: np.random.Generator, count: int) -> np.ndarray:
    centre, radius = r.uniform(2000, 6500), r.uniform(0.7, 0.9)
    poles = [1.0, -2 * radius * np.cos(2 * np.pi * centre / RATE), radius**2]
    wave = lfilter([1.0], poles, r.normal(size=count)) * np.hanning(count)
    return 0.25 * wave / max(1e-9, float(np.abs(wave).max()))


def with_pauses(voice: Voice, seconds: float, seed: int) -> np.ndarray:
    """A waveform with speech and pauses, over coloured noise of random loudness, float32."""
    r = np.random.default_rng([13, seed])
    count = int(seconds * RATE)
    noise = lfilter([1.0], [1.0, -r.uniform(0, 0.95)], r.normal(size=count))
    noise *= 10 ** r.uniform(-4, -2) / np.sqrt(np.mean(noise**2))
    start, end = np.sort(r.integers(0, count, 2))
    wave = utterance(voice, seconds, seed) * float(np.exp(r.normal(0, 0.7)))
    wave[:start] = 0
    wave[end:] = 0
    return (wave + noise).astype(np.float32)


def mels(wave: np.ndarray, bands: int = 40, window: int = 400, hop: int = 160) -> np.ndarray:
    """Power in mel bands, float32 ``[1 + samples // hop, bands]``; filters have area 1 (Slaney 1998)."""
    padded = np.pad(wave.astype(float), window // 2)
    frames = np.lib.stride_tricks.sliding_window_view(padded, window)[::hop]
    hann = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(window) / window)
    power = np.abs(np.fft.rfft(frames * hann, axis=1)) ** 2
    return (power @ _filters(bands, window)).astype(np.float32)


def _filters(bands: int, window: int) -> np.ndarray:
    edges = _hertz(np.linspace(0, _mel(np.array(RATE / 2)), bands + 2))
    f = np.fft.rfftfreq(window, 1 / RATE)[:, None]
    low, centre, high = edges[:-2], edges[1:-1], edges[2:]
    shape = np.maximum(0, np.minimum((f - low) / (centre - low), (high - f) / (high - centre)))
    return shape * 2 / (high - low)


def _mel(f: np.ndarray) -> np.ndarray:
    return np.where(f < 1000, 3 * f / 200, 15 + 27 * np.log(np.maximum(f, 1) / 1000) / np.log(6.4))


def _hertz(m: np.ndarray) -> np.ndarray:
    return np.where(m < 15, 200 * m / 3, 1000 * np.exp(np.log(6.4) * (m - 15) / 27))
