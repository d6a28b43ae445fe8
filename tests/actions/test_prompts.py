"""Prompts are composed from the vocabulary, differ between classes and leave "others" out."""

import pytest

from dface_hf.actions import (
    ACTION_UNITS,
    CLASS_SCHEMES,
    EMOTION_PROTOTYPES,
    ClassScheme,
    action_unit_prompt,
    class_prompts,
    describe_action_units,
    emotion_prompt,
    parse_action_units,
)


def units_named_in(prompt: str) -> set[int]:
    return {number for number, unit in ACTION_UNITS.items() if unit.phrase in prompt}


@pytest.mark.parametrize("emotion", EMOTION_PROTOTYPES)
def test_emotion_prompt_holds_adjective_and_units(emotion):
    prompt, prototype = emotion_prompt(emotion), EMOTION_PROTOTYPES[emotion]
    assert prototype.adjective in prompt
    assert units_named_in(prompt) == set(prototype.units)
    assert ("one side only" in prompt) == prototype.one_sided


def test_emotion_prompt_text():
    expected = "a happy face: the lip corners are pulled up and out, and the cheeks are lifted"
    assert emotion_prompt("happiness") == emotion_prompt("happy") == expected
    assert emotion_prompt("anger").startswith("an angry face: ")


@pytest.mark.parametrize("scheme", CLASS_SCHEMES.values(), ids=lambda scheme: scheme.name)
def test_class_prompts(scheme):
    prompts = class_prompts(scheme)
    assert tuple(prompts) == scheme.named_labels
    assert len(set(prompts.values())) == len(prompts)
    # 77 tokens is the room of a CLIP text tower; a word or comma of these prompts is about one token.
    assert all(len(prompt.replace(",", " ,").split()) <= 70 for prompt in prompts.values())
    assert class_prompts(scheme.name) == prompts


def test_coarse_class_is_composed_from_all_its_emotions():
    scheme = CLASS_SCHEMES["casme3_3"]
    prompt = emotion_prompt("negative", scheme)
    prototypes = [EMOTION_PROTOTYPES[emotion] for emotion in scheme.emotions_of("negative")]
    assert units_named_in(prompt) == {unit for prototype in prototypes for unit in prototype.signature}
    assert all(prototype.adjective in prompt for prototype in prototypes)
    assert "contemptuous" not in prompt and "contemptuous" in emotion_prompt("negative", "composite3")
    assert emotion_prompt("negative") == emotion_prompt("negative", "composite3")


def test_a_new_scheme_has_prompts_at_once():
    scheme = ClassScheme(
        "mine", ("hostile", "sadness"), {"anger": "hostile", "disgust": "hostile", "sadness": "sadness"}
    )
    prompts = class_prompts(scheme)
    assert prompts["hostile"].startswith("a hostile face, disgusted, or angry: ")
    assert prompts["sadness"] == emotion_prompt("sadness")


@pytest.mark.parametrize("scheme", [None, "default4", "casme2_5", "mmew_7"])
def test_others_has_no_prompt(scheme):
    with pytest.raises(ValueError, match="'others' has no prompt"):
        emotion_prompt("others", scheme)


def test_unknown_words_are_errors():
    with pytest.raises(ValueError, match="unknown emotion"):
        emotion_prompt("joy")
    with pytest.raises(ValueError, match="has no class 'disgust'"):
        emotion_prompt("disgust", "composite3")
    with pytest.raises(ValueError, match="unknown class scheme"):
        class_prompts("nothing")


def test_action_unit_prompts_contrast_presence_and_absence():
    assert action_unit_prompt(25) == "a face in which the lips are parted"
    assert action_unit_prompt(25, present=False) == "a face in which the lips are not parted"
    assert action_unit_prompt(9, present=False) == "a face in which the nose is not wrinkled"
    prompts = [action_unit_prompt(number, present) for number in ACTION_UNITS for present in (True, False)]
    assert len(set(prompts)) == 2 * len(ACTION_UNITS)
    assert sum(" not " in prompt for prompt in prompts) == len(ACTION_UNITS)
    with pytest.raises(ValueError, match="action unit 3 "):
        action_unit_prompt(3)


def test_describe_action_units():
    assert describe_action_units(()) == "the face is at rest"
    assert describe_action_units((25,)) == "the lips are parted"
    assert (
        describe_action_units((4, 25, 4)) == "the brows are drawn down and together, and the lips are parted"
    )
    text = describe_action_units(parse_action_units("L10A+R12+25"))
    assert text == (
        "the upper lip is hitched upward on the left side, "
        "the lip corners are pulled up and out on the right side, and the lips are parted"
    )
    with pytest.raises(ValueError, match="action unit 56 "):
        describe_action_units((4, 56))
