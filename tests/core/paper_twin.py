"""The preset `paper` once more, slowly: plain Python on lists, written from the paper's sections 3.3 and 3.4.

It shares no code with `nlft.core`. What the paper leaves open is as `docs/the-paper-in-code.md` says.
"""

import math

P0_CORRECT, P0_INCORRECT, R0 = 0.95, 0.01, 1.5
C1, C2, C3 = 5, 0.3, 0.6
SIMILAR, FILTER = 0.6, 0.06


def cosine(a, b):
    product = sum(x * y for x, y in zip(a, b, strict=True))
    length = math.sqrt(sum(x * x for x in a)) * math.sqrt(sum(x * x for x in b))
    return product / length if length else 0.0


def walk(salient, hidden, joins):
    cluster = list(salient)
    closest = math.inf  # how near any decision came to the threshold: too near, and rounding decides
    for start in range(len(salient)):
        if not salient[start]:
            continue
        centre = list(hidden[start])
        for step in (-1, 1):
            at = start + step
            while 0 <= at < len(salient):
                near = cosine(centre, hidden[at])
                joined, margin = joins(near)
                closest = min(closest, margin)
                if not joined:
                    break
                cluster[at] = True
                centre = [(c + h) / 2 for c, h in zip(centre, hidden[at], strict=True)]
                at += step
    return cluster, closest


def similar(near):
    return near > SIMILAR, abs(near - SIMILAR)


def correct(p_base, p_standard, hidden):
    """salient, cluster, scale, loss, margin."""
    salient = [p > P0_CORRECT for p in p_standard]
    cluster, margin = walk(salient, hidden, similar)
    scale = []
    for p, is_salient, is_near in zip(p_standard, salient, cluster, strict=True):
        if is_salient:
            scale.append(1 + ((p - P0_CORRECT) / (1 - P0_CORRECT)) ** C1)
        elif is_near:
            scale.append((p / P0_CORRECT) ** C2)
        else:
            scale.append((p / P0_CORRECT) ** C3)
    n = len(p_base)
    maximised = sum(s * math.log(p) for s, p in zip(scale, p_base, strict=True)) / n
    margin = min([margin, *(abs(p - P0_CORRECT) for p in p_standard)])
    return salient, cluster, scale, -maximised, margin


def incorrect(p_base, p_standard, p_judge, hidden):
    """salient, cluster, scale, excluded, loss, margin."""
    n = len(p_base)
    r1 = [j / b for j, b in zip(p_judge, p_base, strict=True)]
    r2 = [j / s for j, s in zip(p_judge, p_standard, strict=True)]
    salient = [a > R0 and b > R0 and p > P0_INCORRECT for a, b, p in zip(r1, r2, p_judge, strict=True)]
    cluster, margin = walk(salient, hidden, similar)
    excluded = sum(salient) / n > FILTER
    scale = [2 / (1 + math.exp(-(r - R0))) if s and not excluded else 0.0 for r, s in zip(r1, salient, strict=True)]
    maximised = sum(s * (1 - math.log(p)) for s, p in zip(scale, p_base, strict=True)) / n
    margin = min([margin, *(abs(r - R0) for r in r1 + r2), *(abs(p - P0_INCORRECT) for p in p_judge)])
    return salient, cluster, scale, excluded, -maximised, margin
