"""What docs/cluster.md tells producers is what the workers do."""

import re
from pathlib import Path

import pytask

TEXT = (Path(__file__).parents[2] / "docs" / "cluster.md").read_text()


def test_the_function_for_other_languages_gives_the_same_partitions():
    (source,) = re.findall(r"```python\n(def partition_of.*?)```", TEXT, re.DOTALL)
    shown = {}
    exec(source, shown)
    for number in range(500):
        task_id = f"täsk-{number}"
        for partitions in (1, 3, 4, 64):
            assert shown["partition_of"](task_id, partitions) == pytask.partition_of(task_id, partitions)


def test_the_example_says_what_it_gives():
    ((expression, value),) = re.findall(r'^space = (.*)  # "(.*)"$', TEXT, re.MULTILINE)
    names = {"namespace_of": pytask.namespace_of, "partition_of": pytask.partition_of}
    assert eval(expression, names) == value


def test_the_table_of_namespaces():
    rows = re.findall(r'^\| `namespace="(.*?)"`, `partitions=4` \| `(.*?)` \|', TEXT, re.MULTILINE)
    assert len(rows) == 2
    assert all(pytask.namespace_of(namespace, 2, 4) == begin for namespace, begin in rows)
