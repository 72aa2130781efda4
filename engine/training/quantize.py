"""Quantization to GGUF's block formats and back, in NumPy, vectorized over blocks.

    quantize(x, kind, importance=None)   x [rows, cols] float32 -> uint8 [rows, bytes a row]
    dequantize(data, kind)               the inverse, float32 [rows, cols]

Scales are searched for by weighted least squares: the sum of importance·(x - x')² of a block. With
`importance` [cols], the mean square of what a column is multiplied with, that sum is the expected
squared error of the product. A K-quant's block has a scale (and a minimum) for every 16 or 32 values,
themselves small integers times one scale of the block; those integers are chosen after rounding, among
neighbours, so that the second rounding is part of the search.
"""

import dataclasses

import numpy as np


@dataclasses.dataclass(frozen=True)
class Type:
    id: int
    elements: int  # a block
    bytes: int     # a block


TYPES = {"F32": Type(0, 1, 4), "F16": Type(1, 1, 2), "BF16": Type(30, 1, 2), "Q4_0": Type(2, 32, 18),
         "Q5_0": Type(6, 32, 22), "Q8_0": Type(8, 32, 34), "Q4_K": Type(12, 256, 144),
         "Q5_K": Type(13, 256, 176), "Q6_K": Type(14, 256, 210)}
BY_ID = {t.id: name for name, t in TYPES.items()}

# Elements worked on at a time: the temporaries of a chunk stay in the processor's cache.
_CHUNK = 1 << 17


def row_bytes(kind, cols):
    t = TYPES[kind]
    if cols % t.elements:
        raise ValueError(f"rows of {cols} elements are no multiple of {kind}'s block of {t.elements}")
    return cols // t.elements * t.bytes


def fitting(kind, cols):
    """`kind`, or for rows that its block does not divide a type of smaller blocks and no fewer bits."""
    if cols % TYPES[kind].elements == 0:
        return kind
    fallback = {"Q4_K": "Q5_0", "Q5_K": "Q8_0", "Q6_K": "Q8_0"}.get(kind, "F16")
    return fallback if cols % TYPES[fallback].elements == 0 else "F16"


def quantize(x, kind, importance=None):
    x = np.ascontiguousarray(x, dtype=np.float32)
    rows, cols = x.shape
    out = np.empty((rows, row_bytes(kind, cols)), dtype=np.uint8)
    if rows == 0:
        return out
    if importance is None:
        importance = np.ones(cols, np.float32)
    else:
        importance = np.asarray(importance, np.float32)
        if importance.shape != (cols,) or not (importance >= 0).all():
            raise ValueError(f"importance must be {cols} numbers that are not negative")
        # A column that was never used keeps a small weight, or nothing would hold its values.
        mean = float(importance.mean())
        importance = np.maximum(importance, 1e-3 * mean) if mean > 0 else np.ones(cols, np.float32)
    step = max(1, _CHUNK // cols)
    block = TYPES[kind].elements
    for first in range(0, rows, step):
        part = x[first:first + step]
        weight = np.broadcast_to(importance, part.shape)
        packed = _QUANTIZE[kind](part.reshape(-1, block), weight.reshape(-1, block))
        out[first:first + step] = packed.reshape(len(part), -1)
    return out


def dequantize(data, kind):
    data = np.ascontiguousarray(data, dtype=np.uint8)
    t = TYPES[kind]
    blocks = data.reshape(-1, t.bytes)
    return _DEQUANTIZE[kind](blocks).astype(np.float32).reshape(data.shape[0], -1)


# --- plain types ------------------------------------------------------------------------------

def _bytes(array, kind):
    return np.ascontiguousarray(array.astype(kind)).view(np.uint8).reshape(len(array), -1)


def _to_bf16(x, _):
    bits = x.view(np.uint32)
    return _bytes(((bits + 0x7fff + (bits >> 16 & 1)) >> 16), "<u2")  # to nearest, ties to even


def _from_bf16(blocks):
    return (blocks.view("<u2").astype(np.uint32) << 16).view(np.float32)


# --- one scale a block ------------------------------------------------------------------------

def _half(values):
    """Rounded to what a 16-bit float holds; too large ones to the largest."""
    return np.clip(values, -65504, 65504).astype(np.float16).astype(np.float32)


def _inverse(scale):
    return np.divide(1, scale, out=np.zeros_like(scale), where=scale != 0)


def _codes(x, scale, low, high):
    return np.clip(np.rint(x * _inverse(scale)), low, high)


def _search_scale(x, w, low, high):
    """Signed scales [n] for x [n, m] ~ scale·q, low <= q <= high (low = -high - 1: the value of the
    largest magnitude may sit at either end)."""
    at = np.abs(x).argmax(axis=1, keepdims=True)
    peak = np.take_along_axis(x, at, axis=1)
    best_scale = (peak / low).astype(np.float32)
    best_gain = np.full(peak.shape, -1, np.float32)
    wx = w * x
    for end in np.arange(low - 0.9, low + 1.0, 0.1, dtype=np.float32).tolist() + [float(high)]:
        inverse = end * _inverse(peak)
        q = np.clip(np.rint(x * inverse), low, high)
        xq = (wx * q).sum(axis=1, keepdims=True)
        qq = (w * q * q).sum(axis=1, keepdims=True)
        # With the least-squares scale xq / qq the error falls by xq² / qq.
        scale = xq * _inverse(qq)
        gain = xq * scale
        better = gain > best_gain
        best_gain = np.where(better, gain, best_gain)
        best_scale = np.where(better, scale, best_scale)
    return best_scale


def _to_q8_0(x, _):
    d = _half(np.abs(x).max(axis=1, keepdims=True) / 127)
    return np.concatenate([_bytes(d, "<f2"), _bytes(_codes(x, d, -127, 127), "i1")], axis=1)


def _from_q8_0(blocks):
    return blocks[:, :2].copy().view("<f2").astype(np.float32) * blocks[:, 2:].view(np.int8)


def _to_q4_0(x, w):
    d = _half(_search_scale(x, w, -8, 7))
    q = (_codes(x, d, -8, 7) + 8).astype(np.uint8)
    return np.concatenate([_bytes(d, "<f2"), q[:, :16] | q[:, 16:] << 4], axis=1)


def _from_q4_0(blocks):
    q = np.concatenate([blocks[:, 2:] & 15, blocks[:, 2:] >> 4], axis=1).astype(np.float32)
    return blocks[:, :2].copy().view("<f2").astype(np.float32) * (q - 8)


def _to_q5_0(x, w):
    d = _half(_search_scale(x, w, -16, 15))
    q = (_codes(x, d, -16, 15) + 16).astype(np.uint8)
    high = np.packbits(q >> 4, axis=1, bitorder="little")
    low = q & 15
    return np.concatenate([_bytes(d, "<f2"), high, low[:, :16] | low[:, 16:] << 4], axis=1)


def _from_q5_0(blocks):
    high = np.unpackbits(blocks[:, 2:6], axis=1, bitorder="little")
    q = np.concatenate([blocks[:, 6:] & 15, blocks[:, 6:] >> 4], axis=1) | high << 4
    return blocks[:, :2].copy().view("<f2").astype(np.float32) * (q.astype(np.float32) - 16)


# --- Q6_K: 16 scales of 8 bits, one scale of the block ------------------------------------------

def _to_q6_k(x, w):
    n = len(x)
    x, w = x.reshape(n, 16, 16), w.reshape(n, 16, 16)
    scale = _search_scale(x.reshape(-1, 16), w.reshape(-1, 16), -32, 31).reshape(n, 16, 1)
    at = np.abs(scale).argmax(axis=1, keepdims=True)
    # The largest scale gets the code -128, the end of the range with one more step.
    d = _half(np.take_along_axis(scale, at, axis=1) / -128)
    code = np.clip(np.rint(scale * _inverse(d)), -128, 127)
    best, best_error = code, np.full(code.shape, np.inf, np.float32)
    for delta in (0, -1, 1):
        trial = np.clip(code + delta, -128, 127)
        step = d * trial
        error = (w * (x - step * _codes(x, step, -32, 31)) ** 2).sum(axis=2, keepdims=True)
        better = error < best_error
        best, best_error = np.where(better, trial, best), np.where(better, error, best_error)
    q = (_codes(x, d * best, -32, 31) + 32).astype(np.uint8).reshape(n, 2, 4, 32)
    low, high = q & 15, q >> 4
    ql = low[:, :, :2] | low[:, :, 2:] << 4
    qh = high[:, :, 0] | high[:, :, 1] << 2 | high[:, :, 2] << 4 | high[:, :, 3] << 6
    return np.concatenate([ql.reshape(n, 128), qh.reshape(n, 64), _bytes(best.reshape(n, 16), "i1"),
                           _bytes(d.reshape(n, 1), "<f2")], axis=1)


def _from_q6_k(blocks):
    n = len(blocks)
    ql, qh = blocks[:, :128].reshape(n, 2, 2, 32), blocks[:, 128:192].reshape(n, 2, 1, 32)
    low = np.concatenate([ql & 15, ql >> 4], axis=2)
    high = np.concatenate([qh & 3, qh >> 2 & 3, qh >> 4 & 3, qh >> 6], axis=2)
    q = (low | high << 4).astype(np.float32) - 32
    d = blocks[:, 208:].copy().view("<f2").astype(np.float32)
    scale = d * blocks[:, 192:208].view(np.int8)
    return q.reshape(n, 16, 16) * scale.reshape(n, 16, 1)


# --- Q4_K, Q5_K: 8 scales and minima of 6 bits, two scales of the block --------------------------

def _search_scale_and_minimum(x, w, levels):
    """x [n, m] ~ scale·q - minimum with 0 <= q < levels, scale and minimum >= 0; both [n, 1]."""
    low = np.minimum(x.min(axis=1, keepdims=True), 0)  # a minimum below 0 cannot be stored
    span = x.max(axis=1, keepdims=True) - low
    sw = w.sum(axis=1, keepdims=True)
    wx = w * x
    sx = wx.sum(axis=1, keepdims=True)
    best_scale = (span / (levels - 1)).astype(np.float32)
    best_minimum = -low
    best_error = np.full(low.shape, np.inf, np.float32)
    for end in np.arange(levels - 2.0, levels + 0.2, 0.1):
        q = np.clip(np.rint((x - low) * (np.float32(end) * _inverse(span))), 0, levels - 1)
        wq = w * q
        sq = wq.sum(axis=1, keepdims=True)
        sqq = (wq * q).sum(axis=1, keepdims=True)
        sxq = (wx * q).sum(axis=1, keepdims=True)
        det = sw * sqq - sq * sq
        scale = (sw * sxq - sx * sq) * _inverse(det)
        minimum = (sq * sxq - sqq * sx) * _inverse(det)
        # Where all codes are the same, or the best minimum cannot be stored: one without the other.
        none = (minimum < 0) | (det <= 1e-5 * sw * sqq)
        only_minimum = none & (sq == 0)
        scale = np.where(none, sxq * _inverse(sqq), scale)
        minimum = np.where(none, 0, minimum)
        minimum = np.where(only_minimum, np.maximum(-sx * _inverse(sw), 0), minimum)
        # The error, less the constant sum of w·x².
        error = (scale * scale * sqq + minimum * minimum * sw
                 - 2 * scale * sxq + 2 * minimum * sx - 2 * scale * minimum * sq)
        better = (error < best_error) & (scale >= 0)
        best_error = np.where(better, error, best_error)
        best_scale = np.where(better, scale, best_scale)
        best_minimum = np.where(better, minimum, best_minimum)
    return best_scale, best_minimum


def _fit_block(x, w, levels):
    """d, dmin [n, 1, 1], scale and minimum codes [n, 8, 1], q [n, 8, 32] of blocks x [n, 8, 32]."""
    n = len(x)
    scale, minimum = _search_scale_and_minimum(x.reshape(-1, 32), w.reshape(-1, 32), levels)
    scale, minimum = scale.reshape(n, 8, 1), minimum.reshape(n, 8, 1)
    d = _half(scale.max(axis=1, keepdims=True) / 63)
    dmin = _half(minimum.max(axis=1, keepdims=True) / 63)
    code = np.clip(np.rint(scale * _inverse(d)), 0, 63)
    mcode = np.clip(np.rint(minimum * _inverse(dmin)), 0, 63)

    def error_of(d, dmin, code, mcode):
        step, shift = d * code, dmin * mcode
        q = _codes(x + shift, step, 0, levels - 1)
        return (w * (x + shift - step * q) ** 2).sum(axis=2, keepdims=True), q

    best_error, q = error_of(d, dmin, code, mcode)
    for _ in range(2):
        # Neighbouring codes of every sub-block...
        base, mbase = code, mcode
        for dc, dm in ((0, -1), (0, 1), (-1, 0), (1, 0), (-1, -1), (1, 1), (1, -1), (-1, 1)):
            trial, mtrial = np.clip(base + dc, 0, 63), np.clip(mbase + dm, 0, 63)
            error, trial_q = error_of(d, dmin, trial, mtrial)
            better = error < best_error
            best_error = np.where(better, error, best_error)
            code, mcode = np.where(better, trial, code), np.where(better, mtrial, mcode)
            q = np.where(better, trial_q, q)
        # ...then the block's two scales by least squares for these codes.
        a, b = code * q, np.broadcast_to(mcode, q.shape)

        def total(v):
            return v.sum(axis=(1, 2), keepdims=True)
        aa, ab, bb = total(w * a * a), total(w * a * b), total(w * b * b)
        xa, xb = total(w * x * a), total(w * x * b)
        det = aa * bb - ab * ab
        solvable = det > 1e-6 * aa * bb
        new_d = np.where(solvable, (xa * bb - xb * ab) * _inverse(det), d)
        new_dmin = np.where(solvable, (xa * ab - xb * aa) * _inverse(det), dmin)
        new_d, new_dmin = _half(np.maximum(new_d, 0)), _half(np.maximum(new_dmin, 0))
        error, trial_q = error_of(new_d, new_dmin, code, mcode)
        better = total(error) < total(best_error)
        d, dmin = np.where(better, new_d, d), np.where(better, new_dmin, dmin)
        q, best_error = np.where(better, trial_q, q), np.where(better, error, best_error)
    return d, dmin, code, mcode, q


def _pack_codes(code, mcode):
    """8 scales and 8 minima of 6 bits [n, 8] in 12 bytes."""
    s, m = code.astype(np.uint8), mcode.astype(np.uint8)
    return np.concatenate([s[:, :4] | s[:, 4:] >> 4 << 6, m[:, :4] | m[:, 4:] >> 4 << 6,
                           s[:, 4:] & 15 | (m[:, 4:] & 15) << 4], axis=1)


def _unpack_codes(packed):
    a, b, c = packed[:, :4], packed[:, 4:8], packed[:, 8:]
    return (np.concatenate([a & 63, c & 15 | a >> 6 << 4], axis=1),
            np.concatenate([b & 63, c >> 4 | b >> 6 << 4], axis=1))


def _to_q45_k(x, w, levels):
    n = len(x)
    d, dmin, code, mcode, q = _fit_block(x.reshape(n, 8, 32), w.reshape(n, 8, 32), levels)
    q = q.astype(np.uint8)
    parts = [_bytes(d.reshape(n, 1), "<f2"), _bytes(dmin.reshape(n, 1), "<f2"),
             _pack_codes(code.reshape(n, 8), mcode.reshape(n, 8))]
    if levels == 32:  # bit s of byte l: the fifth bit of element l of sub-block s
        parts.append(np.packbits(q >> 4, axis=1, bitorder="little").reshape(n, 32))
    low = (q & 15).reshape(n, 4, 2, 32)
    parts.append((low[:, :, 0] | low[:, :, 1] << 4).reshape(n, 128))
    return np.concatenate(parts, axis=1)


def _from_q45_k(blocks, levels):
    n = len(blocks)
    d, dmin = (blocks[:, i:i + 2].copy().view("<f2").astype(np.float32) for i in (0, 2))
    code, mcode = _unpack_codes(blocks[:, 4:16])
    low = blocks[:, -128:].reshape(n, 4, 1, 32)
    q = np.concatenate([low & 15, low >> 4], axis=2).reshape(n, 8, 32)
    if levels == 32:
        high = np.unpackbits(blocks[:, 16:48].reshape(n, 1, 32), axis=1, bitorder="little")
        q = q | high << 4
    return q * (d * code)[:, :, None] - (dmin * mcode)[:, :, None]


_QUANTIZE = {
    "F32": lambda x, w: _bytes(x, "<f4"),
    "F16": lambda x, w: _bytes(_half(x), "<f2"),
    "BF16": _to_bf16,
    "Q4_0": _to_q4_0,
    "Q5_0": _to_q5_0,
    "Q8_0": _to_q8_0,
    "Q6_K": _to_q6_k,
    "Q4_K": lambda x, w: _to_q45_k(x, w, 16),
    "Q5_K": lambda x, w: _to_q45_k(x, w, 32),
}
_DEQUANTIZE = {
    "F32": lambda b: b.view("<f4"),
    "F16": lambda b: b.view("<f2"),
    "BF16": _from_bf16,
    "Q4_0": _from_q4_0,
    "Q5_0": _from_q5_0,
    "Q8_0": _from_q8_0,
    "Q6_K": _from_q6_k,
    "Q4_K": lambda b: _from_q45_k(b, 16),
    "Q5_K": lambda b: _from_q45_k(b, 32),
}
