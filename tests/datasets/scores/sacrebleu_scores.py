"""Reads cases {"hypotheses": [...], "references": [[...], ...]} as a JSON list and prints them with "scores" from
sacreBLEU: python3 sacrebleu_scores.py <cases.json. Made the figures of sacrebleu.json; the tests call it where
sacrebleu can be imported."""
import json
import logging
import sys

import sacrebleu
from sacrebleu.metrics import BLEU, CHRF

logging.disable(logging.CRITICAL)


def scores(hypotheses, references):
    result = {"bleu": {}, "chrf": {}, "tokens": {}}
    for tokenizer in ("13a", "intl", "none"):
        for lower_case in (False, True):
            name = f"{tokenizer} {'lc' if lower_case else 'mixed'}"
            metric = BLEU(tokenize=tokenizer, lowercase=lower_case)
            corpus = metric.corpus_score(hypotheses, references)
            single = BLEU(tokenize=tokenizer, lowercase=lower_case, effective_order=True)
            result["bleu"][name] = {
                "text": str(corpus),
                "score": corpus.score,
                "signature": str(metric.get_signature()),
                "sentences": [single.sentence_score(h, r).score for h, *r in zip(hypotheses, *references)],
            }
            result["tokens"][name] = [" ".join(metric._preprocess_segment(h).split()) for h in hypotheses]
    for word_order in (0, 2):
        for lower_case in (False, True):
            for white_space in (False, True):
                options = {"word_order": word_order, "lowercase": lower_case, "whitespace": white_space}
                metric = CHRF(**options)
                result["chrf"][json.dumps(list(map(int, options.values())))] = {
                    "score": metric.corpus_score(hypotheses, references).score,
                    "signature": str(metric.get_signature()),
                    "sentences": [CHRF(**options).sentence_score(h, r).score for h, *r in zip(hypotheses, *references)],
                }
    return result


cases = json.load(sys.stdin)
for case in cases:
    case["scores"] = scores(case["hypotheses"], case["references"])
json.dump({"version": sacrebleu.__version__, "cases": cases}, sys.stdout, ensure_ascii=True, indent=None)
