"""An experiment's run in; when customers of each arm come back, in words and figures, out."""

from __future__ import annotations

from retention_lab.figures import repeat_plot, survival_plot
from retention_lab.figures.groups import came_rows, survival_rows
from retention_lab.run.view.blocks import Block
from retention_lab.run.view.group_tables import group_tables
from retention_lab.run.view.groups import said_of
from retention_lab.run.view.model import Draw, arm_ratios
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts.lives import is_comeback, kind


def lives(source: Source, tongue: Tongue, draw: Draw) -> Block | None:
    """Curves of the arms, the difference in days first, the hazard ratio second; None without.

    With competing events the difference in shares that had the event first stands for the days.
    The title says what is asked; tables are folded.
    """
    if not any(r.arm is not None for r in came_rows(source.results, source.spec)):
        return None
    ratios, model = arm_ratios(source, tongue)
    shown = group_tables(source, tongue, None)
    repeated = bool(survival_rows(source.results, "mean_cumulative"))
    clocks = any(m.within for m in source.spec.metrics)
    more = (tongue.say("lives.two_clocks"),) if clocks else ()
    return Block(
        tongue.say(f"lives.title{kind(source.spec)}"),
        (*said_of(source, tongue, None), *ratios, tongue.say("lives.intro_arms"), *more),
        (*shown, model) if model is not None else shown,
        figures=(draw("lives", survival_plot),),
        folded=(draw("repeats", repeat_plot),) if repeated else (),
        folded_title=tongue.say(
            "findings.repeats" if is_comeback(source.spec) else "findings.repeats_had"
        ),
    )
