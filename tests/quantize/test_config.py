import pytest

from tvmcomp.errors import ConfigError
from tvmcomp.quantize.config import CalibrationConfig, OperatorConfig, QuantConfig
from tvmcomp.quantize.images import EXAMPLE
from tvmcomp.quantize.observers import OBSERVERS


def load(tmp_path, text):
    path = tmp_path / "quant.toml"
    path.write_text(text)
    return QuantConfig.load(path)


FULL = """
observer = "minmax"
min_sqnr_db = 30
round = "nearest"
keep_float = ["/head/*", "conv[0]"]

[operators."nn.conv2d"]
observer = "entropy"

[operators."/stem/*"]
dtype = "float"

[calibration]
max_samples = 64
"""


def test_reads_every_key(tmp_path):
    config = load(tmp_path, FULL + EXAMPLE)
    assert config.observer == "minmax"
    assert config.min_sqnr_db == 30
    assert (config.round, QuantConfig().round) == ("nearest", "best")
    assert config.keep_float == ("/head/*", "conv[0]")
    assert config.operators == {
        "nn.conv2d": OperatorConfig(observer="entropy"),
        "/stem/*": OperatorConfig(dtype="float"),
    }
    assert config.calibration.max_samples == 64
    images = config.calibration.images
    assert images.resize_shorter == 256 and images.std == (0.229, 0.224, 0.225)


def test_empty_file_is_the_default(tmp_path):
    assert load(tmp_path, "") == QuantConfig()
    assert QuantConfig().observer in OBSERVERS


def test_guard_can_be_off(tmp_path):
    assert load(tmp_path, 'min_sqnr_db = "off"').min_sqnr_db is None


IMAGES = '[calibration.images]\nlayout = "NCHW"\ncolor = "RGB"\nscale = 1.0\n'


@pytest.mark.parametrize(
    "text, expected",
    [
        ('obsever = "mse"', ["`obsever`", "Allowed keys: observer, min_sqnr_db"]),
        ('observer = "best"', ["observer 'best'", "minmax, percentile, entropy, mse"]),
        ("observer = 3", [", observer:", "Expected `str`, got `int`"]),
        ('min_sqnr_db = "of"', [", min_sqnr_db:", "'off'"]),
        ("min_sqnr_db = nan", ["min_sqnr_db must be"]),
        ("min_sqnr_db = -3", ["min_sqnr_db must be"]),
        ("min_sqnr_db = true", [", min_sqnr_db:", "Expected `float`, got `bool`"]),
        ('keep_float = "conv"', [", keep_float:", "Expected `array`"]),
        ("keep_float = [3]", ["keep_float[0]"]),
        ("operators = 3", [", operators:", "Expected `object`"]),
        ("operators = { a = 3 }", ['operators."a"', "Expected `object`"]),
        (
            '[operators."a.b*"]\ndtype = "int4"',
            ['operators."a.b*", dtype', "Allowed values: 'int8', 'float'"],
        ),
        ("[operators.x]\nbits = 4", ['operators."x"', "`bits`", "dtype, observer"]),
        ('[operators.x]\nobserver = "best"', ['operators."x"', "'best'", "known are"]),
        ('keep_float = ["a"]\n[operators.a]\ndtype = "int8"', ["'a' is int8"]),
        ("[calibration]\nmax_samples = 0", ["calibration", "at least 1"]),
        ('[calibration]\nmax_samples = "a"', ["calibration.max_samples", "Expected `int`"]),
        ('[calibration.images]\ncolor = "RGB"', ["missing required field `layout`"]),
        (IMAGES.replace("NCHW", "HWC"), ["calibration.images.layout", "'NCHW', 'NHWC'"]),
        (IMAGES + "mean = [1.0, 2.0]", ["mean has 2 values", "3 channels"]),
        (IMAGES + "std = 0.0", ["std must not be 0"]),
        (IMAGES + 'resize = "center-crop"', ["resize_shorter"]),
        ("observer =", ["not valid TOML"]),
    ],
)
def test_errors_name_file_key_and_what_is_allowed(tmp_path, text, expected):
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text)
    for part in ["quant.toml", *expected]:
        assert part in str(caught.value)


def test_missing_file(tmp_path):
    with pytest.raises(ConfigError, match=r"none\.toml.*can't be read"):
        QuantConfig.load(tmp_path / "none.toml")


def test_not_utf8(tmp_path):
    path = tmp_path / "quant.toml"
    path.write_bytes(b'observer = "\xff"')
    with pytest.raises(ConfigError, match="not valid TOML"):
        QuantConfig.load(path)


def test_most_specific_rule_wins_setting_by_setting():
    config = QuantConfig(
        observer="minmax",
        keep_float=("/stem/*", "conv[0]"),
        operators={
            "nn.conv2d": OperatorConfig(observer="entropy"),
            "nn.*": OperatorConfig(observer="percentile", dtype="float"),
            "*": OperatorConfig(observer="mse"),
            "/stem/conv1": OperatorConfig(dtype="int8"),
            "/body/*": OperatorConfig(dtype="int8"),
        },
    )

    def settings(name, kind):
        operator = config.for_operator(name, kind)
        return operator.dtype, operator.observer

    # "*" matches the name, so it comes before rules that match only the kind.
    assert settings("/body/conv9", "nn.conv2d") == ("int8", "mse")
    assert settings("/stem/conv2", "nn.conv2d") == ("float", "mse")
    assert settings("/stem/conv1", "nn.conv2d") == ("int8", "mse")
    assert settings("/other", "nn.relu") == ("float", "mse")
    assert settings("conv[0]", "add") == ("float", "mse")  # brackets in a name are no glob


def test_kind_rules_rank_exact_before_glob():
    config = QuantConfig(
        operators={
            "nn.conv2d": OperatorConfig(observer="entropy"),
            "nn.*": OperatorConfig(observer="percentile", dtype="float"),
        }
    )
    assert config.for_operator("a", "nn.conv2d") == OperatorConfig("float", "entropy")
    assert config.for_operator("a", "nn.relu") == OperatorConfig("float", "percentile")
    assert config.for_operator("a", "add") == OperatorConfig("int8", config.observer)


def test_later_of_equal_rules_wins():
    rules = {"a?": OperatorConfig(observer="entropy"), "?b": OperatorConfig(observer="minmax")}
    assert QuantConfig(operators=rules).for_operator("ab", "add").observer == "minmax"


def test_unmatched_patterns_are_listed():
    config = QuantConfig(
        keep_float=("conv1", "typo*"),
        operators={"nn.conv2d": OperatorConfig(), "nn.conv3d": OperatorConfig()},
    )
    operators = [("conv1", "nn.conv2d"), ("conv2", "nn.conv2d")]
    assert config.unmatched(operators) == ["nn.conv3d", "typo*"]
    assert CalibrationConfig().max_samples is None


@pytest.mark.parametrize(
    "text",
    ["observer = " + "9" * 5000, "observer = " + "[" * 20_000, "observer = " + "{a = " * 5000],
)
def test_a_file_that_no_reader_takes_is_refused(tmp_path, text):
    (tmp_path / "q.toml").write_text(text)
    with pytest.raises(ConfigError, match="not valid TOML"):
        QuantConfig.load(tmp_path / "q.toml")
