"""Small encoders for PNG, baseline JPEG, GIF and BMP: valid files for decode ops, with numpy only.

Pixels are uint8 [height, width, channels].
"""

from __future__ import annotations

import functools
import struct
import zlib

import numpy as np


def encode_image(pixels: np.ndarray, file_format: str) -> bytes:
    """The file of `pixels`, with the channels that the format holds; a GIF takes [frames, h, w, 3]."""
    if file_format == "gif":
        return encode_gif(pixels)
    if file_format == "jpeg" and pixels.shape[2] not in (1, 3):
        pixels = np.repeat(pixels[:, :, :1], 3, axis=2)
    return {"png": encode_png, "jpeg": encode_jpeg, "bmp": encode_bmp}[file_format](pixels)


def encode_png(pixels: np.ndarray) -> bytes:
    """8 bits for each of 1 to 4 channels, no filter (https://www.w3.org/TR/png/)."""
    height, width, channels = pixels.shape
    color_type = {1: 0, 2: 4, 3: 2, 4: 6}[channels]

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    rows = b"".join(b"\0" + row.tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, 8, color_type, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")


def encode_bmp(pixels: np.ndarray) -> bytes:
    """BITMAPINFOHEADER, rows bottom-up, padded to 4 bytes, channels in BGR(A) order."""
    height, width, channels = pixels.shape
    if channels >= 3:
        pixels = pixels[:, :, [2, 1, 0, *range(3, channels)]]
    padding = b"\0" * (-width * channels % 4)
    body = b"".join(row.tobytes() + padding for row in pixels[::-1])
    info = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8 * channels, 0, len(body), 2835, 2835, 0, 0)
    return b"BM" + struct.pack("<IHHI", 54 + len(body), 0, 0, 54) + info + body


def encode_gif(frames: np.ndarray) -> bytes:
    """128 grays, LZW without compression: a clear code comes before the codes would grow to 9 bits."""
    _, height, width, _ = frames.shape
    palette = b"".join(bytes([2 * i] * 3) for i in range(128))
    data = b"GIF89a" + struct.pack("<HHBBB", width, height, 0xF6, 0, 0) + palette
    for frame in frames:
        levels = (frame.mean(axis=2) // 2).astype(np.uint8).tobytes()
        codes = b"".join(b"\x80" + levels[i : i + 120] for i in range(0, len(levels), 120)) + b"\x81"
        data += b"\x2c" + struct.pack("<HHHHB", 0, 0, width, height, 0) + b"\x07"
        data += (
            b"".join(bytes([len(codes[i : i + 255])]) + codes[i : i + 255] for i in range(0, len(codes), 255)) + b"\0"
        )
    return data + b"\x3b"


# --- Baseline JPEG (ITU-T T.81): no subsampling, the tables of annex K for all components ---------------

_QUANTIZATION = np.array([
    16, 11, 10, 16, 24, 40, 51, 61, 12, 12, 14, 19, 26, 58, 60, 55, 14, 13, 16, 24, 40, 57, 69, 56,
    14, 17, 22, 29, 51, 87, 80, 62, 18, 22, 37, 56, 68, 109, 103, 77, 24, 35, 55, 64, 81, 104, 113, 92,
    49, 64, 78, 87, 103, 121, 120, 101, 72, 92, 95, 98, 112, 100, 103, 99]).reshape(8, 8)  # fmt: skip
_DC_COUNTS = bytes([0, 1, 5, 1, 1, 1, 1, 1, 1, 0, 0, 0, 0, 0, 0, 0])
_DC_SYMBOLS = bytes(range(12))
_AC_COUNTS = bytes([0, 2, 1, 3, 3, 2, 4, 3, 5, 5, 4, 4, 0, 0, 1, 0x7D])
_AC_SYMBOLS = bytes.fromhex(
    "01020300041105122131410613516107227114328191a1082342b1c11552d1f02433627282090a161718191a25262728292a3435"
    "363738393a434445464748494a535455565758595a636465666768696a737475767778797a838485868788898a92939495969798"
    "999aa2a3a4a5a6a7a8a9aab2b3b4b5b6b7b8b9bac2c3c4c5c6c7c8c9cad2d3d4d5d6d7d8d9dae1e2e3e4e5e6e7e8e9eaf1f2f3f4"
    "f5f6f7f8f9fa"
)
_ZIGZAG = sorted(range(64), key=lambda i: (i // 8 + i % 8, (i % 8, i // 8)[(i // 8 + i % 8) % 2]))


@functools.cache
def _huffman(counts: bytes, symbols: bytes) -> dict[int, str]:
    """symbol -> code as a string of bits (annex C)."""
    codes, code, place = {}, 0, 0
    for length, count in enumerate(counts, 1):
        for _ in range(count):
            codes[symbols[place]] = format(code, f"0{length}b")
            code, place = code + 1, place + 1
        code <<= 1
    return codes


@functools.cache
def _cosines() -> np.ndarray:
    n = np.arange(8)
    basis = np.cos((2 * n[None, :] + 1) * n[:, None] * np.pi / 16) / 2
    basis[0] /= np.sqrt(2)
    return basis


def _encode_number(value: int) -> tuple[int, str]:
    """(size category, bits) of a coefficient."""
    size = abs(value).bit_length()
    return size, format(value if value > 0 else value + (1 << size) - 1, f"0{size}b") if size else ""


def encode_jpeg(pixels: np.ndarray) -> bytes:
    height, width, channels = pixels.shape
    planes = pixels.astype(np.float64)
    if channels == 3:
        to_ycc = np.array([[0.299, 0.587, 0.114], [-0.168736, -0.331264, 0.5], [0.5, -0.418688, -0.081312]])
        planes = planes @ to_ycc.T + [0, 128, 128]
    planes = np.pad(planes - 128, ((0, -height % 8), (0, -width % 8), (0, 0)), mode="edge")
    rows, columns = planes.shape[0] // 8, planes.shape[1] // 8
    blocks = planes.reshape(rows, 8, columns, 8, channels).transpose(0, 2, 4, 1, 3)  # [rows, columns, c, 8, 8]
    basis = _cosines()
    coefficients = np.rint(basis @ blocks @ basis.T / _QUANTIZATION).astype(int)
    stream = _encode_blocks(coefficients.reshape(rows * columns, channels, 64)[:, :, _ZIGZAG])

    def segment(marker: int, body: bytes) -> bytes:
        return struct.pack(">BBH", 0xFF, marker, len(body) + 2) + body

    components = b"".join(bytes([i + 1, 0x11, 0]) for i in range(channels))
    scans = b"".join(bytes([i + 1, 0]) for i in range(channels))
    return (
        b"\xff\xd8"
        + segment(0xE0, b"JFIF\0\x01\x01\0\0\x01\0\x01\0\0")
        + segment(0xDB, b"\0" + bytes(_QUANTIZATION.reshape(64)[_ZIGZAG].tolist()))
        + segment(0xC0, struct.pack(">BHHB", 8, height, width, channels) + components)
        + segment(0xC4, b"\x00" + _DC_COUNTS + _DC_SYMBOLS)
        + segment(0xC4, b"\x10" + _AC_COUNTS + _AC_SYMBOLS)
        + segment(0xDA, bytes([channels]) + scans + b"\0\x3f\0")
        + stream
        + b"\xff\xd9"
    )


def _encode_blocks(blocks: np.ndarray) -> bytes:
    """Entropy-coded segment of int [blocks, channels, 64], coefficients in zigzag order."""
    dc_codes, ac_codes = _huffman(_DC_COUNTS, _DC_SYMBOLS), _huffman(_AC_COUNTS, _AC_SYMBOLS)
    bits: list[str] = []
    previous = [0] * blocks.shape[1]
    for block in blocks.tolist():
        for channel, values in enumerate(block):
            size, tail = _encode_number(values[0] - previous[channel])
            previous[channel] = values[0]
            bits += (dc_codes[size], tail)
            run = 0
            for value in values[1:]:
                if not value:
                    run += 1
                    continue
                while run > 15:
                    bits.append(ac_codes[0xF0])
                    run -= 16
                size, tail = _encode_number(value)
                bits += (ac_codes[run << 4 | size], tail)
                run = 0
            if run:
                bits.append(ac_codes[0])
    joined = "".join(bits)
    joined += "1" * (-len(joined) % 8)
    return int(joined or "1", 2).to_bytes(len(joined) // 8, "big").replace(b"\xff", b"\xff\0")
