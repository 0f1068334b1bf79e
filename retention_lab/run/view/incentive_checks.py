"""A run with an incentive in; what speaks against its result, check by check, out."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator

from markupsafe import Markup

from retention_lab.figures import balance_plot, overlap_plot, sensitivity_plot
from retention_lab.figures.incentive_rows import incentive_rows, many
from retention_lab.figures.observed import ALIKE, differences
from retention_lab.results import Row
from retention_lab.run.view.blocks import Block
from retention_lab.run.view.decisive import MISMATCH
from retention_lab.run.view.incentive_ledger import noted
from retention_lab.run.view.incentive_parts import difference, interval
from retention_lab.run.view.model import Draw
from retention_lab.run.view.source import Source, Tongue
from retention_lab.texts import kind_of, note_text
from retention_lab.texts.incentive import covariate_label
from retention_lab.texts.numbers import measure, number, p_text, share

CLEAR = 0.05
MOST_JUMPS = 3


def doubts(source: Source, tongue: Tongue, draw: Draw) -> tuple[Block, ...]:
    """Every check that this run made, those that failed first."""
    found = [*_split(source, tongue), *_first_stage(source, tongue)]
    rows = incentive_rows(source.results, "standardised_difference")
    arms = tuple(dict.fromkeys(r.arm for r in rows))
    for i, arm in enumerate(arms, 1):
        found += _of_arm(source, tongue, draw, arm, str(i) if many(arms) else "")
    found += [*_pretrend(source, tongue), *_few(source, tongue), *_limit(source, tongue)]
    return tuple(sorted(found, key=lambda b: b.good is not False))


def _split(source: Source, tongue: Tongue) -> Iterator[Block]:
    """Whether arms got as many customers as they should."""
    for row in source.results.where(estimand="sample_ratio").rows:
        if row.p_value is not None:
            good = row.p_value >= MISMATCH
            key = f"incentive.doubts.ratio_{'good' if good else 'bad'}"
            title = tongue.say("quality.ratio_title")
            yield Block(title, (tongue.say(key, p=p_text(row.p_value)),), good=good)


def _first_stage(source: Source, tongue: Tongue) -> Iterator[Block]:
    """Whether the offer made customers redeem."""
    metric = source.spec.primary[0]
    rows = incentive_rows(source.results, "first_stage", metric=metric)
    said, weak = [], False
    for row in rows:
        strength = incentive_rows(source.results, "first_stage_f", metric=metric, arm=row.arm)
        late = incentive_rows(source.results, "late", metric=metric, arm=row.arm)
        bad = any(noted(r, "weak_instrument", "ar_unbounded") for r in late)
        weak |= bad
        if row.estimate is None:
            continue
        shown = measure("difference", "proportion", row.ci_low, row.ci_high)
        f = strength[0].estimate if strength else None
        key = f"incentive.doubts.first_stage_{'bad' if bad else 'good'}"
        words = {"change": shown.text(row.estimate, tongue.language), "f": number(f, 0)}
        said.append(_named(tongue, row.arm, many(r.arm for r in rows), tongue.say(key, **words)))
    if said:
        yield Block(tongue.say("incentive.doubts.first_stage"), tuple(said), good=not weak)


def _named(tongue: Tongue, arm: str | None, several: bool, sentence: str) -> str:
    return (
        tongue.say("incentive.of_arm", arm=tongue.arm(arm), said=sentence) if several else sentence
    )


def _of_arm(
    source: Source, tongue: Tongue, draw: Draw, arm: str | None, mark: str
) -> Iterator[Block]:
    """Of customers whom nobody dealt by chance: balance, overlap, hidden causes, placebos."""
    end = f"-{mark}" if mark else ""
    yield _balance(source, tongue, draw, arm, end)
    yield from _overlap(source, tongue, draw, arm, end)
    yield from _sensitivity(source, tongue, draw, arm, end)
    yield from _placebos(source, tongue, arm)


def _title(tongue: Tongue, key: str, arm: str | None, end: str) -> str:
    title = tongue.say(f"incentive.doubts.{key}")
    return tongue.say("incentive.of_arm", arm=tongue.arm(arm), said=title) if end else title


def _balance(source: Source, tongue: Tongue, draw: Draw, arm: str | None, end: str) -> Block:
    found = differences(incentive_rows(source.results, "standardised_difference"), arm)
    after = [(name, abs(v)) for name, _, v in found if v is not None]
    before = max((abs(v) for _, v, _ in found if v is not None), default=0.0)
    good: bool | None = None
    if not after:
        said = tongue.say("incentive.doubts.balance_none")
        good = False
    else:
        worst = max(after, key=lambda pair: pair[1])
        good = worst[1] < ALIKE
        words = {
            "n": len(after),
            "before": number(before, 2),
            "after": number(worst[1], 2),
            "covariate": covariate_label(source.spec, worst[0], tongue.language),
        }
        said = tongue.say(f"incentive.doubts.balance_{'good' if good else 'bad'}", **words)
    figure = draw(f"balance{end}", balance_plot, arm=arm)
    return Block(_title(tongue, "balance", arm, end), (said,), good=good, figures=(figure,))


def _overlap(
    source: Source, tongue: Tongue, draw: Draw, arm: str | None, end: str
) -> Iterator[Block]:
    metric = source.spec.primary[0]
    rows = incentive_rows(source.results, "trimmed_share", metric=metric, arm=arm)
    said = []
    for r in rows[:1]:
        key = "overlap_some" if r.estimate else "overlap_all"
        n = number((r.n or 0) + (r.n_baseline or 0), 0)
        said.append(tongue.say(f"incentive.doubts.{key}", share=share(r.estimate), n=n))
    effect = incentive_rows(source.results, "average_effect", metric=metric, arm=arm)
    bad = any(noted(r, "no_overlap", "little_overlap") for r in effect)
    said += [note_text(r.note, tongue.language) for r in effect if noted(r, "no_overlap")]
    shown = incentive_rows(source.results, "propensity_share", term=arm)
    figures = (draw(f"overlap{end}", overlap_plot, arm=arm),) if shown else ()
    if said or figures:
        good = False if bad else True if rows else None
        yield Block(_title(tongue, "overlap", arm, end), tuple(said), good=good, figures=figures)


def _sensitivity(
    source: Source, tongue: Tongue, draw: Draw, arm: str | None, end: str
) -> Iterator[Block]:
    metric = source.spec.primary[0]
    where = {"metric": metric, "arm": arm}
    values = {r.term: r for r in incentive_rows(source.results, "robustness_value", **where)}
    effect = incentive_rows(source.results, "average_effect", term=None, **where)
    if values and any(_holds_zero(r) for r in effect):
        title = _title(tongue, "sensitivity", arm, end)
        yield Block(title, (tongue.say("incentive.doubts.no_effect"),))
        return
    said = []
    full, part = values.get("q=1"), values.get("alpha")
    if full is not None and full.estimate is not None and part is not None:
        words = {"q": share(full.estimate), "alpha": share(part.estimate)}
        said.append(tongue.say("incentive.doubts.robust", **words))
    plain = next(iter(incentive_rows(source.results, "regression_effect", **where)), None)
    if plain is not None and plain.estimate is not None:
        change = difference(source, plain).text(plain.estimate, tongue.language)
        words = {"change": change, "interval": interval(source, tongue, plain)}
        said.append(tongue.say("incentive.doubts.regression", **words))
    marks = [r for r in incentive_rows(source.results, "benchmark_bias", **where)
             if r.at in (None, "1") and r.estimate is not None]  # fmt: skip
    gone = any(r.ci_low is None or r.ci_high is None or r.ci_low <= 0 <= r.ci_high for r in marks)
    start = _whole_effect(source, plain, where)
    for r in sorted(marks, key=lambda r: -abs((r.estimate or 0.0) - start))[:1]:
        shown = difference(source, r)
        words = {
            "covariate": covariate_label(source.spec, r.term, tongue.language),
            "change": shown.text(r.estimate, tongue.language),
        }
        key = "benchmark_plain"
        if r.ci_low is not None and r.ci_high is not None:
            key, words["interval"] = "benchmark", interval(source, tongue, r)
        said.append(tongue.say(f"incentive.doubts.{key}", **words))
    e = {r.term: r.estimate for r in incentive_rows(source.results, "e_value", **where)}
    if e.get("estimate") is not None and e.get("limit") is not None:
        words = {"e": number(e["estimate"], 1), "limit": number(e["limit"], 1)}
        said.append(tongue.say("incentive.doubts.e_value", **words))
    figures: tuple[Markup, ...] = ()
    if incentive_rows(source.results, "sensitivity_contour", **where):
        figures = (draw(f"sensitivity{end}", sensitivity_plot, metric=metric, arm=arm),)
    if said:
        clear = any(_clear(r) for r in effect)
        good = not gone if marks and clear else None
        title = _title(tongue, "sensitivity", arm, end)
        yield Block(title, tuple(said), good=good, figures=figures)


def _whole_effect(source: Source, plain: Row | None, where: dict[str, str | None]) -> float:
    """The effect that known causes are taken from: the regression's, else the contour's at 0."""
    if plain is not None and plain.estimate is not None:
        return plain.estimate
    rows = incentive_rows(source.results, "sensitivity_contour", **where)
    return next((r.estimate for r in rows if r.at == "0,0" and r.estimate is not None), 0.0)


def _holds_zero(row: Row) -> bool:
    return row.ci_low is not None and row.ci_high is not None and row.ci_low <= 0 <= row.ci_high


def _placebos(source: Source, tongue: Tongue, arm: str | None) -> Iterator[Block]:
    """Effects that should be nothing: on another outcome, and of an incentive dealt by lot."""
    said: list[str] = []
    good: bool | None = True
    for r in incentive_rows(source.results, "placebo_outcome", arm=arm):
        name = tongue.metric(r.metric)
        if r.estimate is None or r.ci_low is None:
            note = note_text(r.note, tongue.language)
            said.append(tongue.say("incentive.doubts.placebo_none", metric=name, note=note))
            continue
        moved = r.p_value is not None and r.p_value < CLEAR
        good = good and not moved
        words = {
            "metric": name,
            "change": difference(source, r).text(r.estimate, tongue.language),
            "interval": interval(source, tongue, r),
            "p": p_text(r.p_value),
        }
        key = f"placebo_outcome_{'bad' if moved else 'good'}"
        said.append(tongue.say(f"incentive.doubts.{key}", **words))
    where = {"metric": source.spec.primary[0], "arm": arm}
    effect = next(iter(incentive_rows(source.results, "average_effect", term=None, **where)), None)
    for r in incentive_rows(source.results, "placebo_treatment", **where):
        if effect is None or effect.estimate is None or r.ci_low is None or r.ci_high is None:
            continue
        shown = measure("difference", kind_of(source.spec, r.metric), r.ci_low, r.ci_high)
        low, high = shown.ends(r.ci_low, r.ci_high, tongue.language)
        words = {"low": low, "high": high, "change": shown.text(effect.estimate, tongue.language)}
        luck = r.ci_low <= effect.estimate <= r.ci_high
        key = "placebo_luck" if luck else "placebo_treatment"
        said.append(tongue.say(f"incentive.doubts.{key}", **words))
        if luck and _clear(effect):
            good = False
        elif luck and good:
            good = None  # no effect to tell from chance: neither a pass nor a failure
    for r in incentive_rows(source.results, "random_common_cause", **where):
        if effect is not None and effect.estimate is not None and r.estimate is not None:
            shown = difference(source, effect)
            words = {
                "change": shown.text(r.estimate, tongue.language),
                "before": shown.text(effect.estimate, tongue.language),
            }
            said.append(tongue.say("incentive.doubts.common_cause", **words))
    if said:
        yield Block(tongue.say("incentive.doubts.placebo"), tuple(said), good=good)


def _clear(row: Row) -> bool:
    return row.p_value is not None and row.p_value < CLEAR


def _pretrend(source: Source, tongue: Tongue) -> Iterator[Block]:
    """Whether markets moved alike before, and what the test would have seen."""
    metric = source.spec.primary[0]
    for row in incentive_rows(source.results, "pretrend_test", metric=metric):
        if row.p_value is None:
            note = note_text(row.note, tongue.language)
            yield Block(tongue.say("incentive.doubts.pretrend"), (note,) if note else ())
            continue
        good = row.p_value >= CLEAR
        key = f"incentive.doubts.pretrend_{'good' if good else 'bad'}"
        said = [tongue.say(key, p=p_text(row.p_value))]
        power = {r.term: r for r in incentive_rows(source.results, "pretrend_power", metric=metric)}
        slope, bias = power.get(None), power.get("bias")
        if slope is not None and slope.estimate is not None:
            size = abs(slope.estimate)
            effect = incentive_rows(source.results, "average_effect", metric=metric, term=None)
            shown = measure("difference", kind_of(source.spec, metric), 0.0, size)
            shown = difference(source, effect[0]) if effect else shown  # as fine as the effect
            shown = dataclasses.replace(shown, signed=False)
            words = {"slope": shown.text(size, tongue.language)}
            key = "pretrend_power_plain"
            if bias is not None and bias.estimate is not None:
                key = "pretrend_power"
                words["bias"] = shown.text(abs(bias.estimate), tongue.language)
            said.append(tongue.say(f"incentive.doubts.{key}", **words))
        yield Block(tongue.say("incentive.doubts.pretrend"), tuple(said), good=good)


def _few(source: Source, tongue: Tongue) -> Iterator[Block]:
    """What allows for there being few markets."""
    metric = source.spec.primary[0]
    said = []
    for r in incentive_rows(source.results, "wild_bootstrap_p", metric=metric):
        if r.p_value is not None:
            said.append(tongue.say("incentive.doubts.wild", p=p_text(r.p_value)))
    for r in incentive_rows(source.results, "synthetic_difference", metric=metric):
        if r.estimate is not None:
            words = {"change": difference(source, r).text(r.estimate, tongue.language)}
            key = "synthetic_plain"
            if r.ci_low is not None:
                key, words["interval"] = "synthetic", interval(source, tongue, r)
            said.append(tongue.say(f"incentive.doubts.{key}", **words))
    effect = incentive_rows(source.results, "average_effect", metric=metric, term=None)
    said += [note_text(r.note, tongue.language) for r in effect if noted(r, "few_markets")]
    if said:
        yield Block(tongue.say("incentive.doubts.few"), tuple(said))


def _limit(source: Source, tongue: Tongue) -> Iterator[Block]:
    """About a limit: sorting, limits that do not exist, and what was known before."""
    for row in incentive_rows(source.results, "density_test"):
        if row.p_value is not None:
            good = row.p_value >= CLEAR
            key = f"incentive.doubts.density_{'good' if good else 'bad'}"
            title = tongue.say("incentive.doubts.density")
            yield Block(title, (tongue.say(key, p=p_text(row.p_value)),), good=good)
    metric = source.spec.primary[0]
    made_up = [r for r in incentive_rows(source.results, "placebo_cutoff", metric=metric)
               if r.p_value is not None]  # fmt: skip
    if made_up:
        bad = sum(1 for r in made_up if _clear(r))
        words = {"n": len(made_up), "bad": bad}
        key = f"incentive.doubts.placebo_cutoff_{'bad' if bad else 'good'}"
        title = tongue.say("incentive.doubts.placebo_cutoff")
        yield Block(title, (tongue.say(key, **words),), good=not bad)
    jumps = [r for r in incentive_rows(source.results, "covariate_jump") if r.p_value is not None]
    if jumps:
        bad_ones = [r for r in jumps if _clear(r)]
        key = "covariate_good_one" if len(jumps) == 1 else "covariate_good"
        said = [tongue.say(f"incentive.doubts.{key}", n=len(jumps))]
        if bad_ones:
            said = [
                tongue.say(
                    "incentive.doubts.covariate_bad",
                    covariate=covariate_label(source.spec, r.term, tongue.language),
                    p=p_text(r.p_value),
                )
                for r in bad_ones[:MOST_JUMPS]
            ]
        title = tongue.say("incentive.doubts.covariate_jump")
        yield Block(title, tuple(said), good=not bad_ones)
