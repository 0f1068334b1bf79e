"""A language and a key in; the learning log's own words out, until they move to texts/."""

from __future__ import annotations

from collections.abc import Mapping

WORDS: Mapping[str, Mapping[str, str]] = {
    "en": {
        "title": "What was learnt",
        "lead": "Every decided experiment, with what it asked and what it found.",
        "caption": "Decided experiments, the newest first",
        "search": "Search the log",
        "hint": "a word of a title, question, family, arm or metric",
        "none": "No experiment fits.",
        "family": "Family",
        "effect": "Effect on the primary metric",
        "worth": "Likely true size",
        "families": "By family of incentive",
        "families_caption": "Mean relative effect of each family, with 95% intervals",
        "metric": "Metric",
        "mean": "Mean effect",
        "next": "The next one may be",
        "tests": "Experiments",
        "few": "Needs three experiments.",
        "over": "{n} over {arms} arms",
        "about": (
            "Pooled by a random-effects mean over all experiments of a family with the same "
            "metric, the losers too; a test with several arms counts with their mean. The largest "
            "of several effects owes something to luck: “likely true size” draws each towards its "
            "family’s mean, from four effects on."
        ),
    },
    "zh": {
        "title": "实验所得",
        "lead": "所有已有结论的实验：问了什么，得到了什么。",
        "caption": "已有结论的实验，最新的在前",
        "search": "搜索实验记录",
        "hint": "标题、问题、类别、组别或指标中的词",
        "none": "没有符合的实验。",
        "family": "类别",
        "effect": "对主要指标的影响",
        "worth": "可能的真实幅度",
        "families": "按激励类别汇总",
        "families_caption": "每个类别的平均相对影响，附 95% 区间",
        "metric": "指标",
        "mean": "平均影响",
        "next": "下一次实验可能是",
        "tests": "实验数",
        "few": "至少需要三个实验。",
        "over": "{n}（共 {arms} 个组）",
        "about": (
            "对同一类别、同一指标的全部实验（包括失败的）按随机效应取平均；"
            "含多个组的实验以各组均值计入。"
            "几个结果中最大的一个，部分是因运气好才被选中；"
            "“可能的真实幅度”把它向本类别的平均值收缩，至少需要四个结果。"
        ),
    },
}


def word(language: str, key: str) -> str:
    """The words of `key`; KeyError for an unknown language or key."""
    return WORDS[language][key]
