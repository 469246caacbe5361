"""The comparison as text: a line for each group, a column for each proxy."""


def _cell(outcomes):
    judged = [outcome for outcome in outcomes if outcome != "n/a"]
    if not judged:
        return "n/a"
    text = f"{judged.count('passed')}/{len(judged)}"
    left_out = len(outcomes) - len(judged)
    return f"{text} ({left_out} n/a)" if left_out else text


def table(results):
    names = list(results)
    groups = list(dict.fromkeys(case.group for rows in results.values() for case, _, _ in rows))
    lines = [["group", *names]]
    for group in groups:
        lines.append([group, *(_cell([o for case, o, _ in results[name] if case.group == group]) for name in names)])
    lines.append(["all", *(_cell([o for _, o, _ in results[name]]) for name in names)])
    widths = [max(len(line[column]) for line in lines) for column in range(len(lines[0]))]
    text = ["  ".join(cell.ljust(width) for cell, width in zip(line, widths)).rstrip() for line in lines]
    text.insert(1, "-" * len(text[0]))
    text.insert(-1, text[1])
    return "\n".join(text) + "\npassed/total; n/a: the proxy declares no such feature"
