"""Label rules: templates, patterns, bins and their errors."""

import pytest

from kerastl.data.labels import apply_rule, parse_bin, parse_rule, path_fields
from kerastl.errors import DataError, UsageError

MASK_RULE = (
    r"re:(?P<id>\d+)_(?P<gender>male|female)_[^_]+_(?P<age>\d+)/"
    r"(?P<wear>incorrect|mask|normal) -> {gender}-{age:<30,30-59,60+}-{wear}"
)


@pytest.mark.parametrize(
    ("name", "label"),
    [
        ("000001_female_Asian_45/mask1.jpg", "female-30-59-mask"),
        ("000002_male_Asian_29/incorrect_mask.png", "male-<30-incorrect"),
        ("images/000003_male_Asian_60/normal.jpeg", "male-60+-normal"),
    ],
)
def test_mask_rule_builds_the_label_from_folder_and_file(name, label):
    assert parse_rule("label_rule", MASK_RULE)(name) == label


def test_columns_and_pattern_can_be_mixed():
    rule = parse_rule("label_rule", "re:/(?P<wear>mask|normal) -> {gender}-{wear}")
    assert rule("p1/mask3.jpg", {"gender": "female"}) == "female-mask"


def test_single_group_needs_no_template():
    assert parse_rule("group_rule", r"re:(?P<id>\d+)_")("0017_male/x.jpg") == "0017"


def test_fields_win_in_the_order_pattern_column_path():
    rule = parse_rule("label_rule", "{parent}-{stem}")
    assert rule("a/b.jpg") == "a-b"
    assert rule("a/b.jpg", {"stem": "column"}) == "a-column"


@pytest.mark.parametrize(
    ("text", "inside", "outside"),
    [
        ("<30", 29.9, 30),
        ("<=30", 30, 30.1),
        ("60+", 60, 59),
        (">60", 61, 60),
        (">=60", 60, 59),
        ("30-59", 59, 60),
        ("-5--1", -1, 0),
        ("7", 7, 7.5),
    ],
)
def test_bins_hold_what_they_say(text, inside, outside):
    assert parse_bin(text).holds(inside)
    assert not parse_bin(text).holds(outside)


@pytest.mark.parametrize("text", ["", "old", "<30+", "30-", "<30-40"])
def test_bins_that_cannot_be_read_are_named(text):
    with pytest.raises(UsageError, match="The bin '" + text.replace("+", r"\+")):
        parse_bin(text)


def test_number_outside_all_bins_is_named_with_its_path():
    rule = parse_rule("label_rule", "{age:<30,30-59}")
    with pytest.raises(DataError, match="'a/b.jpg'.*age=60 fits no bin of <30,30-59"):
        apply_rule("label_rule", rule, "a/b.jpg", {"age": "60"})
    with pytest.raises(DataError, match="age='old' is not a number"):
        apply_rule("label_rule", rule, "a/b.jpg", {"age": "old"})


def test_first_path_that_does_not_match_is_named():
    with pytest.raises(DataError, match="'other/readme.jpg'.*does not match"):
        apply_rule("label_rule", parse_rule("label_rule", MASK_RULE), "other/readme.jpg")


def test_unknown_field_lists_fields_and_the_nearest():
    rule = parse_rule("label_rule", "{gendr}")
    with pytest.raises(UsageError, match=r"\{gendr\}.*gender.*Did you mean 'gender'"):
        apply_rule("label_rule", rule, "a.jpg", {"gender": "male"})


def test_empty_value_is_an_error_not_a_class():
    rule = parse_rule("label_rule", "{gender}")
    with pytest.raises(DataError, match="'a.jpg': gender is empty"):
        apply_rule("label_rule", rule, "a.jpg", {"gender": " "})


@pytest.mark.parametrize(
    ("rule", "match"),
    [
        ("gender", r"'gender' has no field: write a template such as '\{gender\}'"),
        ("re:(?P<a>x", r"\(\?P<a>x.*not a regular expression"),
        ("re:(?P<a>x)(?P<b>y)", "needs ' -> '"),
        ("{age:young}", "The bin 'young'"),
    ],
)
def test_bad_rules_are_refused_before_any_file(rule, match):
    with pytest.raises(UsageError, match=match):
        parse_rule("label_rule", rule)


def test_functions_may_skip_and_must_return_text():
    assert apply_rule("label_rule", lambda name: name[0], "a.jpg") == "a"
    assert apply_rule("label_rule", lambda name: None, "a.jpg") is None
    for wrong in (7, " "):
        with pytest.raises(UsageError, match=f"label_rule returned {wrong!r} for"):
            apply_rule("label_rule", {"a.jpg": wrong}.get, "a.jpg")


def test_path_fields_of_a_file_without_folder():
    assert "parent" not in path_fields("a.jpg")
    assert path_fields("사진/꽃.jpg")["parent"] == "사진"
