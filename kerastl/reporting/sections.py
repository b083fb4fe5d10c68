"""The sections of the report, each a function of a record and its figures."""

from collections.abc import Callable

from kerastl.diagnosis.records import Verdict
from kerastl.evaluation.layout import format_share, html_table
from kerastl.evaluation.scores import Scores
from kerastl.evaluation.sentences import describe, quote
from kerastl.reporting import page
from kerastl.reporting.embeddings import choose_named
from kerastl.reporting.fonts import choose_lettering
from kerastl.reporting.predictions import count_mixups, worst_predictions
from kerastl.reporting.records import RunRecord
from kerastl.reporting.tables import NOT_READ, chosen_note, stage_rows

_FOLDED_CLASSES = 40
_LISTED_MISTAKES = 20
_HEATMAPS = (
    "Bright places raised the score of a class most; each map has a scale of its own. "
    "They say what the model used, not that it was right to: look for a background, a "
    "frame or a watermark that gives the class away."
)
_MAPS = (
    "What the head gets for each image, on its two main directions. Rings are images taken "
    "for another class: inside a foreign group they are odd, or wrongly labelled. "
    'run.map_embeddings(method="tsne") draws neighbourhoods instead.'
)


def say_summary(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return the headline: what was scored and what that means."""
    scores = record.main_scores
    if scores is None:
        return page.paragraph("This run has no scores yet.", "lead")
    lead = page.paragraph(describe(scores), "lead")
    notes = map(page.paragraph, record.metrics.get("notes") or ())
    return "\n".join((lead, *_say_unread(scores), *notes))


def _say_unread(scores: Scores) -> tuple[str, ...]:
    return () if scores.split == "test" else (page.paragraph(NOT_READ),)


def show_training(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return the table of stages and the curves."""
    header, rows = stage_rows(record.stages, record.history, record.metrics.get("best"))
    table = html_table(header, rows, right=range(2, 7)) if rows else ""
    chosen = page.paragraph(chosen_note(record.metrics), "note")
    hint = choose_lettering([row[0] for row in rows]).hint
    curves = page.picture(figures.get("history.png"), "Loss and accuracy per epoch")
    return page.section(
        "Training",
        table,
        chosen if rows and record.history is not None else "",
        curves,
        page.paragraph("Stages are numbered as in the table.", "note") if hint else "",
    )


def show_scores(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return all measures, the confusion matrix and the table of classes."""
    scores = record.main_scores
    if scores is None:
        return ""
    return page.section(
        "Scores",
        _tabulate_measures(record.scores),
        page.subsection(
            f"Classes on the {scores.split} split",
            _show_confusion(scores, figures),
            _tabulate_classes(scores),
        ),
    )


def _show_confusion(scores: Scores, figures: dict[str, bytes]) -> str:
    if scores.multi_label:
        note = "An image may carry several labels, so there is no confusion matrix."
        return page.paragraph(note, "note")
    said = "Which class was taken for which; the table below has the numbers per class"
    picture = page.picture(figures.get("confusion_matrix.png"), said)
    if choose_lettering(scores.class_names).hint:
        picture += page.paragraph("Classes are numbered as in the table below.", "note")
    return picture


def _tabulate_measures(scores: dict[str, Scores]) -> str:
    uses = {
        "test": "test (nothing selected on it)",
        "validation": "validation (selected on it)",
    }
    listed = [_list_measures(each) for each in scores.values()]
    names = list(dict.fromkeys(name for each in listed for name in each))
    rows = [[name, *(each.get(name, "–") for each in listed)] for name in names]
    caption = "In brackets the 95 % interval that the true value is believed to lie in."
    return html_table(["measure", *(uses[split] for split in scores)], rows, (), caption)


def _list_measures(scores: Scores) -> dict[str, str]:
    listed = {
        "images": f"{scores.n:,}",
        "accuracy": scores.accuracy,
        "always answering the commonest": (
            f"{scores.baseline.value:.3f}, {quote(scores.baseline_class)}"
        ),
        "balanced accuracy": scores.balanced_accuracy,
        "micro F1": scores.micro_f1,
        "macro F1": scores.macro_f1,
        **{f"top-{k} accuracy": measure for k, measure in scores.top_k.items()},
        "Matthews correlation": scores.matthews,
        "log loss": scores.log_loss,
    }
    return {name: _show(value) for name, value in listed.items() if value is not None}


def _show(value: object) -> str:
    return format_share(value) if isinstance(value, float) else str(value)


def _tabulate_classes(scores: Scores) -> str:
    rows = [
        [
            str(number),
            row[0],
            f"{row[1]:,}",
            *map(format_share, row[2:4]),
            f"{row[4]:.3f} to {row[5]:.3f}",
            format_share(row[6]),
        ]
        for number, row in enumerate(scores.per_class.itertuples(index=False, name=None), 1)
    ]
    header = ["", "class", "images", "precision", "recall", "95 % interval", "F1"]
    table = html_table(header, rows, right=(0, 2, 3, 4, 5, 6))
    many = len(rows) > _FOLDED_CLASSES
    return page.folded(f"All {len(rows):,} classes", table) if many else table


def show_diagnosis(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return why validation is below training, where that was asked."""
    found = record.diagnosis
    if found is None:
        return ""
    rows = [[each.name, each.holds, each.evidence, each.next] for each in found.ranked]
    return page.section(
        "Diagnosis",
        page.paragraph(found.headline),
        html_table(["cause", "holds", "evidence", "next"], rows),
        *map(_list_suspects, found.ranked),
        *(page.paragraph(note, "note") for note in found.notes),
    )


def _list_suspects(verdict: Verdict) -> str:
    if not verdict.suspects:
        return ""
    rows = [[suspect.name, suspect.reason] for suspect in verdict.suspects]
    title = f"{verdict.name}: {len(rows)} images to look at"
    return page.folded(title, html_table(["image", "why"], rows))


def show_calibration(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return how sure the model is against how often it is right, where it was measured."""
    if record.calibration is None:
        return ""
    built_in = "The model has this temperature built in." * record.calibration.applied
    said = "Confidence against the share that is right, before and after the temperature"
    return page.section(
        "Calibration",
        page.paragraph(" ".join(filter(None, (str(record.calibration), built_in)))),
        page.picture(figures.get("reliability.png"), said),
    )


def show_mistakes(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return the worst predictions as figure and table, and the commonest mix-ups."""
    return page.section(
        "Mistakes",
        page.picture(
            figures.get("worst_predictions.png"),
            "The images the model was most sure about and wrong",
        ),
        _list_titles(record, "worst"),
        *_tabulate_mistakes(record),
    )


def _list_titles(record: RunRecord, name: str) -> str:
    """Return the titles as a list where the figure could only number its images."""
    titles = record.sample(name)[1]
    if not titles or not choose_lettering(titles).hint:
        return ""
    return page.numbered_list(title.replace("\n", ", ") for title in titles)


def _tabulate_mistakes(record: RunRecord) -> tuple[str, ...]:
    if record.predictions is None or record.predictions.empty:
        return ()
    splits = set(record.predictions["split"])
    split = "test" if "test" in splits else min(splits)
    rows = record.predictions[record.predictions["split"] == split]
    worst = worst_predictions(rows, _LISTED_MISTAKES)
    if worst.empty:
        return (page.paragraph(f"No mistake among the {len(rows):,} {split} images."),)
    listed = worst[["name", "label", "predicted", "confidence"]]
    cells = [[*row[:3], format_share(row[3])] for row in listed.itertuples(index=False)]
    sure = html_table(["image", "label", "predicted", "confidence"], cells, right=(3,))
    mixed = html_table(["label", "taken for", "images"], count_mixups(rows), right=(2,))
    return (
        page.subsection(f"Most confident mistakes on the {split} split", sure),
        page.subsection("Commonest mix-ups", mixed),
    )


def show_heatmaps(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return where the model looked, for mistakes and for what it was surest of."""
    wrong, right = (figures.get(f"heatmaps_{name}.png") for name in ("wrong", "right"))
    if wrong is None and right is None:
        return ""
    said = "Bright places raised the score of a class (Grad-CAM)"
    return page.section(
        "Where the model looks",
        page.paragraph(_HEATMAPS, "note"),
        page.paragraph(record.maps_note, "note") if record.maps_note else "",
        *_show_pair("Most confident mistakes", wrong, f"{said}; mistakes"),
        *_show_pair("Surest and right, the classes in turn", right, f"{said}; right"),
    )


def _show_pair(heading: str, png: bytes | None, said: str) -> tuple[str, ...]:
    return () if png is None else (page.subsection(heading, page.picture(png, said)),)


def show_maps(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return the map of the features."""
    png = figures.get("embedding.png")
    said = "Features of the images as points, a colour and a marker per class"
    names = choose_named(record.maps)
    lettering = choose_lettering(names)
    return page.section(
        "Map of the features",
        page.paragraph(_MAPS, "note") if png else "",
        page.picture(png, said),
        page.numbered_list(names) if png and lettering.hint else "",
    )


def show_batch(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return the training batch as the model saw it."""
    said = "Images of the first training batch, augmented as the model sees them"
    batch = page.picture(figures.get("train_batch.png"), said)
    titles = _list_titles(record, "train_batch")
    return page.section("A training batch", batch, titles)


def show_settings(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return config.toml as it stands, home folders shortened."""
    return page.section("Settings", page.preformatted(page.hide_home(record.config)))


def show_environment(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return versions and machine."""
    rows = [
        [page.hide_home(text) for text in pair] for pair in _flatten(record.environment)
    ]
    return page.section("Environment", html_table(["what", "value"], rows) if rows else "")


def _flatten(facts: dict[str, object]) -> list[tuple[str, str]]:
    pairs: list[tuple[str, str]] = []
    for name, value in sorted(facts.items()):
        if isinstance(value, dict):
            pairs += [(f"{name}: {key}", text) for key, text in _flatten(value)]
        else:
            pairs.append((str(name), str(value)))
    return pairs


def show_missing(record: RunRecord, figures: dict[str, bytes]) -> str:
    """Return what could not be shown and why."""
    return page.section("Missing", *map(page.paragraph, record.missing))


ORDER: tuple[Callable[[RunRecord, dict[str, bytes]], str], ...] = (
    say_summary,
    show_training,
    show_scores,
    show_diagnosis,
    show_calibration,
    show_mistakes,
    show_heatmaps,
    show_maps,
    show_batch,
    show_settings,
    show_environment,
    show_missing,
)
