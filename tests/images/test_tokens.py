"""Image sizes and tokens, compared with the values of Qwen's own code."""

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from qubrid_cli.images.tokens import QWEN2, QWEN3, ModelFamily, estimate, find_family, shrink_size, smart_resize

#: The open model's own limits, those of a self-hosted server.
OPEN_QWEN3 = ModelFamily(factor=32, min_pixels=65_536, max_pixels=16_777_216, open_max_pixels=16_777_216)

SIDES = st.integers(1, 20_000)
#: What the options allow.
MAX_PIXELS = st.none() | st.integers(1024, 20_000_000)
MAX_SIDE = st.none() | st.integers(32, 20_000)


@pytest.mark.parametrize(
    ("width", "height", "tokens"),
    [
        (640, 480, 300),
        (1024, 768, 768),
        (1280, 720, 880),
        (1920, 1080, 2040),
        (1568, 1568, 2401),
        (2048, 1536, 2494),
        (64, 64, 64),
    ],
)
def test_a_qwen3_image_costs_its_squares_and_two_markers(width: int, height: int, tokens: int) -> None:
    assert estimate(width, height, "Qwen/Qwen3-VL-Plus") == tokens + 2


def test_a_photo_costs_a_fifth_when_it_is_shrunk_first() -> None:
    wide, high = smart_resize(4032, 3024, OPEN_QWEN3)
    small_wide, small_high = smart_resize(*shrink_size(4032, 3024, max_pixels=2_621_440, max_side=None), OPEN_QWEN3)
    assert ((wide // 32) * (high // 32), (small_wide // 32) * (small_high // 32)) == (11_844, 2_494)


@pytest.mark.parametrize(
    ("width", "height", "of", "size"),
    [
        (48, 80, ModelFamily(32, 1, 10**9, 10**9), (64, 64)),
        (1, 1, QWEN3, (256, 256)),
        (250, 262, QWEN3, (256, 256)),
        (2060, 1290, QWEN3, (2048, 1280)),
        (10, 400, QWEN3, (64, 1632)),
        (280, 280, QWEN2, (280, 280)),
        (1, 1, QWEN2, (56, 56)),
        (4000, 3000, QWEN2, (1148, 840)),
        (100_000, 20, QWEN2, (70_812, 28)),
    ],
)
def test_a_size_is_resized_to_multiples_of_the_factor(
    width: int, height: int, of: ModelFamily, size: tuple[int, int]
) -> None:
    assert smart_resize(width, height, of) == size


@pytest.mark.parametrize(
    ("model", "of"),
    [
        ("Qwen/Qwen3-VL-Plus", QWEN3),
        ("Qwen/Qwen3-VL-235B-A22B-Thinking", QWEN3),
        ("qwen3-vl:8b", QWEN3),
        ("qwen3vl", QWEN3),
        ("Qwen/Qwen3.5-397B-A17B", QWEN3),
        ("Qwen/Qwen2.5-VL-7B-Instruct", QWEN2),
        ("qwen2.5vl:7b", QWEN2),
        ("qwen/qwen-2.5-vl-72b-instruct", QWEN2),
        ("Qwen/Qwen2-VL-2B", QWEN2),
        ("Qwen/Qwen3-235B-A22B", None),
        ("gpt-4o", None),
        ("", None),
    ],
)
def test_the_family_is_recognized_by_the_name_of_the_model(model: str, of: ModelFamily | None) -> None:
    assert find_family(model) is of


@pytest.mark.parametrize(
    ("model", "width", "height", "detail", "tokens"),
    [
        # OpenAI, "Images and vision": the examples of the guide, and the multiplier of the mini.
        ("gpt-4o", 1024, 1024, None, 765),
        ("gpt-4o", 1024, 1024, "high", 765),
        ("gpt-4o", 2048, 4096, None, 1105),
        ("gpt-4o", 4096, 8192, "low", 85),
        ("gpt-4o", 100, 100, None, 255),
        ("openai/gpt-4o-2024-08-06", 1024, 1024, None, 765),
        ("chatgpt-4o-latest", 1024, 1024, None, 765),
        ("gpt-4o-mini", 1024, 1024, None, 2833 + 4 * 5667),
        ("openai/gpt-4o-mini-2024-07-18", 1024, 1024, "low", 2833),
        ("gpt-4.1", 1024, 1024, None, 765),
        ("gpt-5", 1024, 1024, None, 70 + 4 * 140),
        ("o3", 1024, 1024, None, 75 + 4 * 150),
        ("gpt-4.1-mini", 1024, 1024, None, 1659),
        ("gpt-4.1-nano-2025-04-14", 1024, 1024, None, 2520),
        ("o4-mini", 1024, 1024, "high", 1762),
        ("gpt-6-luna", 1024, 1024, None, 1229),
        ("gpt-6-luna", 1856, 1376, "auto", 2993),
        ("gpt-5.5", 1932, 1920, "low", 308),
        # Anthropic, "Vision": 1,568 tokens at most, from 4.7 on 4,784; the examples of the guide.
        ("claude-sonnet-4-6", 1000, 1000, None, 1296),
        ("anthropic/claude-3.5-sonnet", 1075, 1520, None, 33 * 47),
        ("claude-3-5-haiku-20241022", 1920, 1080, None, 52 * 30),
        ("claude-sonnet-4-20250514", 3000, 2999, "low", 39 * 39),
        ("claude-opus-4-7", 1932, 1920, None, 4761),
        ("anthropic/claude-opus-4.7", 4000, 4000, None, 69 * 69),
        ("claude-opus-5", 200, 100, None, 8 * 4),
        # Google, "Image understanding" and "Media resolution".
        ("gemini-2.5-flash", 384, 384, None, 258),
        ("Google/Gemini-2.5-Flash", 960, 540, None, 6 * 258),
        ("gemini-2.0-flash-001", 1024, 1024, None, 4 * 258),
        ("gemini-3-pro-preview", 4000, 3000, None, 1120),
    ],
)
def test_the_published_rule_of_a_model_gives_its_tokens(
    model: str, width: int, height: int, detail: str | None, tokens: int
) -> None:
    assert estimate(width, height, model, detail) == tokens
    assert detail is not None or estimate(height, width, model) == tokens


@pytest.mark.parametrize(
    ("model", "width", "height", "detail"),
    [
        ("llava:7b", 640, 480, None),
        ("", 640, 480, None),
        ("claude-instant", 640, 480, None),
        ("claude-2.1", 640, 480, None),
        ("my-gpt-4o-copy", 640, 480, None),
        ("gpt-4o-audio", 640, 480, None),
        ("gpt-5-mini", 640, 480, None),  # the editions of the guide differ
        ("OpenAI/GPT-5.4-Mini", 640, 480, None),
        ("gpt-4.1-mini", 1800, 2400, None),  # they differ in how far it is shrunk
        ("gpt-6-luna", 640, 480, "high"),
        ("gpt-4.1-mini", 640, 480, "low"),
        ("gpt-7", 640, 480, None),
        ("gemini-3-pro-preview", 640, 480, "low"),
        ("gemini-3-pro-image-preview", 640, 480, None),
        ("gemini-pro-vision", 640, 480, None),
        ("tencent/HunyuanOCR", 640, 480, None),
        ("moonshotai/Kimi-K2.5", 640, 480, None),
    ],
)
def test_nothing_is_estimated_without_a_rule(model: str, width: int, height: int, detail: str | None) -> None:
    assert estimate(width, height, model, detail) is None


@given(SIDES, SIDES, st.sampled_from(["gpt-4o", "gpt-6-luna", "claude-opus-4-7", "claude-3-opus", "gemini-2.5-pro"]))
@example(20_000, 1, "claude-3-opus")
@example(1, 20_000, "gpt-4o")
def test_any_size_has_an_estimate_or_none(width: int, height: int, model: str) -> None:
    tokens = estimate(width, height, model)
    assert tokens is None or tokens > 0


@given(SIDES, SIDES, MAX_PIXELS, MAX_SIDE)
def test_no_side_is_ever_enlarged(width: int, height: int, max_pixels: int | None, max_side: int | None) -> None:
    wide, high = shrink_size(width, height, max_pixels=max_pixels, max_side=max_side)
    assert 1 <= wide <= width
    assert 1 <= high <= height


@given(SIDES, SIDES, st.integers(1024, 20_000_000), MAX_SIDE)
@example(20_000, 33, 1024, None)
@example(20_000, 3, 1024, None)
@example(1, 20_000, 1024, None)
def test_no_more_pixels_are_sent_than_allowed(width: int, height: int, max_pixels: int, max_side: int | None) -> None:
    wide, high = shrink_size(width, height, max_pixels=max_pixels, max_side=max_side)
    assert wide * high <= max_pixels


@given(SIDES, SIDES, MAX_PIXELS, st.integers(32, 20_000))
def test_no_side_is_longer_than_allowed(width: int, height: int, max_pixels: int | None, max_side: int) -> None:
    assert max(shrink_size(width, height, max_pixels=max_pixels, max_side=max_side)) <= max_side


@given(st.integers(32, 20_000), st.integers(32, 20_000), MAX_PIXELS, MAX_SIDE)
def test_shrunk_sides_are_multiples_of_32(
    width: int, height: int, max_pixels: int | None, max_side: int | None
) -> None:
    size = shrink_size(width, height, max_pixels=max_pixels, max_side=max_side)
    assume(size != (width, height))
    assert (size[0] % 32, size[1] % 32) == (0, 0)


@given(SIDES, SIDES, MAX_PIXELS, MAX_SIDE)
@example(20_000, 100, 1_000_000, None)
@example(100, 20_000, None, 1000)
def test_a_shrunk_image_is_not_longer_than_model_studio_accepts(
    width: int, height: int, max_pixels: int | None, max_side: int | None
) -> None:
    size = shrink_size(width, height, max_pixels=max_pixels, max_side=max_side)
    assume(size != (width, height))
    assert max(size) <= 200 * min(size)


@given(st.integers(256, 20_000), st.integers(256, 20_000))
def test_qwen3_does_not_resize_a_shrunk_image(width: int, height: int) -> None:
    size = shrink_size(width, height, max_pixels=QWEN3.max_pixels, max_side=None)
    assume(size != (width, height))
    assert smart_resize(*size, QWEN3) == size


@pytest.mark.parametrize(
    ("size", "max_pixels", "max_side", "sent"),
    [
        ((4032, 3024), 2_621_440, None, (1856, 1376)),
        ((3000, 2000), None, 1024, (1024, 672)),
        ((2000, 3000), None, 1024, (672, 1024)),
        ((4032, 3024), 2_621_440, 512, (512, 384)),
        ((4032, 3024), None, None, (4032, 3024)),
        ((641, 479), 641 * 479, 641, (641, 479)),
        ((4000, 20), None, 1000, (992, 20)),
        ((100_000, 40), 1024, None, (32, 32)),
    ],
)
def test_an_image_is_shrunk_only_as_far_as_necessary(
    size: tuple[int, int], max_pixels: int | None, max_side: int | None, sent: tuple[int, int]
) -> None:
    assert shrink_size(*size, max_pixels=max_pixels, max_side=max_side) == sent


def test_a_long_shape_keeps_its_ratio_where_steps_of_32_would_lose_much_of_it() -> None:
    assert shrink_size(70_000, 400, max_pixels=2_621_440, max_side=None) == (16_800, 96)
    assert shrink_size(400, 70_000, max_pixels=2_621_440, max_side=None) == (96, 16_800)
