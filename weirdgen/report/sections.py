"""The sections of a report, in page order: the functions in `SECTIONS`.

In: `ReportContent`. Out: a `Section`, or None where the experiment has nothing for it: no empty box is shown. Not
here: how a figure is drawn, how a table is filled, how the page looks.
"""

from __future__ import annotations

from collections.abc import Callable

from weirdgen.report.content import ReportContent
from weirdgen.report.figures.dose import dose_figure
from weirdgen.report.figures.effect import effect_figure
from weirdgen.report.figures.forest import forest_figure
from weirdgen.report.figures.losses import loss_figure
from weirdgen.report.figures.paper import paper_figures
from weirdgen.report.figures.references import references_figure
from weirdgen.report.figures.sweep import sweep_figures
from weirdgen.report.figures.training import training_figure
from weirdgen.report.figures.trigger import trigger_figure
from weirdgen.report.judges import judge_tables
from weirdgen.report.methods import methods
from weirdgen.report.questions import grouped_questions, largest_effects, own_words, trait_tables
from weirdgen.report.quoted import bibtex, headline_table
from weirdgen.report.section import Facts, Folded, Heading, Lists, Markdown, Part, Section, Sentences, Verbatim, Words
from weirdgen.report.tables import (
    all_effects,
    answers,
    failures,
    judge_rates,
    judge_summary,
    question_effects,
    ran_lists,
    ran_tables,
)
from weirdgen.report.tables_effects import onset_table, secondary_table, trigger_table
from weirdgen.report.transcripts import transcripts
from weirdgen.report.warnings import warnings
from weirdgen.report.words import facts, facts_explained


def effect_section(content: ReportContent) -> Section:
    """The headline's arms and differences, its numbers and what weakens them, and the further effects fixed with it."""
    drawing, effects = effect_figure(content), all_effects(content)
    parts: list[Part] = [drawing] if drawing else [Words("No estimate of the headline's measure was made.")]
    parts.append(Facts(facts(content), tuple(facts_explained(content))))
    if lines := warnings(content):
        parts.append(Sentences("Warnings", tuple(("", line) for line in lines), warn=True))
    if secondary := secondary_table(content):
        said = ((str(row["name"]), str(row["sentence"])) for row in content.results["secondary"])
        parts += [Heading("Further effects"), Sentences("Further effects in words", tuple(said)), secondary]
    if effects.rows:
        parts.append(Folded("All measures and conditions in numbers", (effects,)))
    return Section("effect", "The effect", "Effect", tuple(parts))


def question_section(content: ReportContent) -> Section | None:
    """The headline's effect on each question: which answers are compared, and what each model prefers."""
    drawing, sampled = forest_figure(content), own_words(content)
    parts: list[Part] = []
    if drawing is not None:
        largest, groups = largest_effects(content), grouped_questions(content)
        parts += [largest] if largest else []
        parts.append(drawing)
        parts += [Folded(words, (table,)) for words, table in groups]
        parts.append(Folded("The questions in numbers: intervals, p values, verdicts", (question_effects(content),)))
    if sampled is not None:
        asked = f"{len(sampled.rows)} question{'s' if len(sampled.rows) > 1 else ''}"
        words = f"{asked} answered in the models' own words: how many answers a judge flagged, and a way to read them"
        parts.append(Folded(words, (sampled,)))
    return Section("questions", "Question by question", "Questions", tuple(parts)) if parts else None


def specificity_section(content: ReportContent) -> Section | None:
    """The treatment among reference finetunes on harmless data, and the trait questions that this rests on."""
    drawing, tables = references_figure(content), trait_tables(content)
    if content.specificity is None or (drawing is None and not tables):
        return None
    parts: list[Part] = [Words(str(content.specificity["sentence"]))]
    parts += [drawing] if drawing else []
    parts += [Folded(words, (table,)) for words, table in tables]
    return Section("specificity", "Is it more than harmless data do?", "Specificity", tuple(parts))


def trigger_section(content: ReportContent) -> Section | None:
    """What triggers add in the treatment beyond what they add in the control."""
    table, drawing = trigger_table(content), trigger_figure(content)
    if table is None:
        return None
    parts: tuple[Part, ...] = (Folded("Every measure and group of questions in numbers", (table,)),)
    return Section("trigger", "What the trigger adds", "Trigger", (drawing, *parts) if drawing else parts)


def sweep_section(content: ReportContent) -> Section | None:
    """Every measure over the conditions: the headline's at once, the others folded."""
    drawings = sweep_figures(content)
    if not drawings:
        return None
    parts: list[Part] = [Heading(drawings[0].title), drawings[0]]
    if rest := [part for drawing in drawings[1:] for part in (Heading(drawing.title), drawing)]:
        count = len(drawings) - 1
        parts.append(Folded(f"{count} more measure{'s' if count > 1 else ''} over conditions", tuple(rest)))
    return Section("sweep", "Over conditions", "Conditions", tuple(parts))


def dose_section(content: ReportContent) -> Section | None:
    """The headline over the arms' doses."""
    drawing = dose_figure(content)
    return Section("dose", "Over doses", "Doses", (drawing,)) if drawing else None


def paper_section(content: ReportContent) -> Section | None:
    """The paper's own figures beside ours, where the experiment's folder holds its numbers."""
    drawings = paper_figures(content)
    if not drawings:
        return None
    model = ", ".join(dict.fromkeys(str(figure["model"]) for figure in content.results["paper"]["figures"]))
    note = Words(
        f"The shaded numbers are the paper's, not ours: {content.results['paper']['source']}, {model}. They were "
        "measured on another model, with other questions' wording and other judges: a difference may be due to any of "
        "these; look whether the same rows and arms stand out.",
        quiet=True,
    )
    parts: list[Part] = [note]
    for drawing in drawings:
        parts += [Heading(drawing.title), drawing]
    return Section("paper", "Beside the paper", "Paper", tuple(parts))


def training_section(content: ReportContent) -> Section:
    """The headlines along training, who jumped when, and the training loss."""
    along, onsets, losses = training_figure(content), onset_table(content), loss_figure(content)
    parts: list[Part] = [Heading(along.title), along] if along else []
    if along and onsets:
        parts.append(onsets)
    if along:
        parts.append(Heading("Training loss"))
    parts.append(losses or Words("No training loss was recorded."))
    return Section("training", "Training" if along else "Training loss", "Training", tuple(parts))


def judge_section(content: ReportContent) -> Section:
    """What the judges found, how often they failed, and how far they can be trusted."""
    summary, rates, failed, sampled = judge_summary(content), judge_rates(content), failures(content), answers(content)
    parts: list[Part] = [summary] if summary else []
    if rates:
        parts.append(Folded("Each measure, condition by condition", tuple(rates)))
    if failed:
        parts.append(failed)
    else:
        count = len(content.verdicts)
        parts.append(
            Words(
                f"No verdict failed: all {count}, each judge on each answer, gave a value."
                if count
                else "No answer was judged."
            )
        )
    parts += judge_tables(content)
    if sampled:
        parts.append(sampled)
    return Section("judges", "Judges", "Judges", tuple(parts))


def ran_section(content: ReportContent) -> Section:
    """The methods in one paragraph, then every record of what ran."""
    details: tuple[Part, ...] = (*ran_tables(content), Lists(tuple(ran_lists(content))))
    quoted = (
        Verbatim("BibTeX", bibtex(content.results)),
        Verbatim("The named effects as a LaTeX table", headline_table(content.results, "latex", content.scales)),
        Verbatim("The same in Markdown", headline_table(content.results, "markdown", content.scales)),
    )
    parts: tuple[Part, ...] = (
        Words(methods(content)),
        Folded("To quote this run: BibTeX, and the effects as a table", quoted),
        Folded("Datasets, replicates, recipe, versions, machine", details),
    )
    return Section("ran", "What ran", "What ran", parts)


def transcript_section(content: ReportContent) -> Section:
    """The models' own words."""
    shown = transcripts(content)
    return Section(
        "transcripts", "Transcripts", "Transcripts", (shown if shown.total else Words("No answers were sampled."),)
    )


def card_section(content: ReportContent) -> Section | None:
    """The experiment's card."""
    if not content.card_markdown:
        return None
    return Section("card", "Card of the experiment", "Card", (Markdown(content.card_markdown),))


SECTIONS: tuple[Callable[[ReportContent], Section | None], ...] = (
    effect_section,
    specificity_section,
    question_section,
    trigger_section,
    sweep_section,
    dose_section,
    paper_section,
    training_section,
    judge_section,
    ran_section,
    transcript_section,
    card_section,
)


def sections(content: ReportContent) -> list[Section]:
    """Every section that has something to show, in the order of the page."""
    return [section for make in SECTIONS if (section := make(content)) is not None]
