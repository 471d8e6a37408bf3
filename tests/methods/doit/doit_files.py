"""The files of a small DoIT release."""

from __future__ import annotations

from typing import Any

QUESTION = "细胞的能量工厂是什么?\nA. 线粒体\nB. 叶绿体\nC. 核糖体\nD. 高尔基体"


def turns(*contents: str) -> list[dict[str, str]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(contents)]


FILES: dict[str, list[dict[str, Any]]] = {
    "curated/full/biology.json": [
        {"messages": turns(QUESTION, "A"), "idx": 7, "type": "biology", "question_format": 0},
        {"messages": turns("光合作用在哪进行?\nA. 根\nB. 叶", "B"), "idx": 8, "type": "biology", "question_format": 0},
    ],
    "curated/full/understanding.json": [
        {"messages": turns("男：几点了？女：八点。\n现在几点？", "八点", "谁问的？", "男的"), "idx": 0,
         "type": "understanding", "question_format": 0},
    ],
    "curated/1000/biology.json": [
        {"messages": turns(QUESTION, "A"), "idx": 7, "type": "biology", "question_format": 0},
    ],
    "curated/valid/math.json": [
        {"messages": turns("一加一等于几？"), "idx": 0, "type": "math", "question_format": 0, "answer": "2"},
    ],
    "curated/valid/role_play.json": [
        {"messages": turns("你好，老师"), "idx": 3, "type": "role_play", "question_format": 1,
         "choices": ["同学你好", "同学再见", "今天下雨"]},
    ],
    "curated/test/biology.json": [
        {"messages": turns("细菌有细胞核吗？\nA. 有\nB. 没有", "B"), "idx": 1, "type": "biology", "question_format": 0},
    ],
    "synthetic/40960/synthetic_41k.json": [
        {"messages": turns("写一首诗", "床前明月光"), "idx": 0, "type": "general", "question_format": 1},
    ],
}  # fmt: skip
