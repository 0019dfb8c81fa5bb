"""Slots of groups and functions, the lists of those who wait for one, and rates."""

import random

import pytest

from pytask.domain.lifecycle import RUNNING, STOPPED, WAIT, Trigger
from pytask.domain.limits import LONGEST_GROUP, Rule
from pytask.domain.messages import Command
from pytask.domain.record import Adoption, Change, RunRef, StartFields, Verdict
from tests.contract.benches import X, ended, words

OK, WAITING, DELAYED = Verdict.OK, Verdict.WAITING, Verdict.DELAYED
ONE = {"f": Rule(group_limit=1)}
TWO = {"f": Rule(group_limit=2)}
SINGLE = {"f": Rule(limit=1)}


def push(bench, *ids, group="g", **fields):
    for task_id in ids:
        bench.push(task_id, group=group, **fields)
    return [bench.ref(task_id) for task_id in ids]


def next_up(bench, count=1, rules=None, **options):
    """Claim what is at the tail of the queue; the answers."""
    ids = [raw.decode() for raw in bench.store.peek(count)]
    return bench.claim(*map(bench.ref, ids), rules=rules or {}, **options)


def end(bench, task_id, trigger=Trigger.END, **options):
    ref = RunRef(task_id, bench.runs()[task_id])
    assert bench.store.commit([ended(ref, trigger, **options)]) == [OK]


# -- a group ------------------------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_group_has_as_many_runs_as_its_limit_and_an_end_wakes_the_next(bench):
    refs = push(bench, "a", "b", "c")
    answers = bench.claim(*refs, rules=ONE)
    assert words(answers) == [OK, WAITING, WAITING]
    assert (bench.queue(), bench.line("group:g")) == ([], ["b", "c"])
    assert (bench.slots("group:g"), bench.slotted()) == ({"a"}, {"a": "1:g"})
    assert bench.hash("b") == {"function": "f", "data": '{"a":1}', "group": "g"}
    assert ("b", "waiting", {"kind": "group", "name": "g", "limit": 1}) in bench.events()
    end(bench, "a")
    assert (bench.queue(), bench.line("group:g"), bench.slots("group:g")) == (["b"], ["c"], set())
    assert words(next_up(bench, rules=ONE)) == [OK]
    end(bench, "b", Trigger.FAIL)
    assert words(next_up(bench, rules=ONE)) == [OK]
    end(bench, "c")
    assert (bench.queue(), bench.line("group:g"), bench.slotted()) == ([], [], {})


def test_groups_do_not_know_each_other_and_a_task_without_one_has_no_slot(bench):
    refs = [*push(bench, "a", "b"), *push(bench, "c", group="h"), *push(bench, "d", group="")]
    assert words(bench.claim(*refs, rules=ONE)) == [OK, WAITING, OK, OK]
    assert bench.slotted() == {"a": "1:g", "c": "1:h"}


def test_a_task_of_a_group_takes_a_slot_where_no_limit_is_so_that_one_can_be_set(bench):
    refs = push(bench, "a", "b")
    assert words(bench.claim(*refs)) == [OK, OK]
    bench.set_limit("group:g", 2)
    push(bench, "c")
    assert words(next_up(bench)) == [WAITING]
    end(bench, "a")
    assert words(next_up(bench)) == [OK]


@pytest.mark.parametrize(
    ("live", "expected"),
    [
        ({"group:g": "2"}, 2),
        ({"group:*": "3"}, 3),
        ({"group:*": "3", "group:g": "2"}, 2),
        ({"group:g": "many"}, 1),  # no number: the next one counts
        ({"group:g": "-1", "group:*": "1e9"}, 1),
        ({"group:g": "", "group:*": "4"}, 4),
        ({"group:g": "0"}, 0),
        ({"group:h": "4"}, 1),
        ({"group:g": "99999999999"}, 1),
    ],
)
def test_a_live_limit_comes_before_that_of_the_class_and_only_numbers_count(bench, live, expected):
    for entry, value in live.items():
        bench.set_limit(entry, value)
    refs = push(bench, *"abcdefg")
    assert words(bench.claim(*refs, rules=ONE)).count(OK) == expected


@pytest.mark.parametrize("trigger", [Trigger.END, Trigger.FAIL, Trigger.STOP, Trigger.RETRY])
@pytest.mark.parametrize("keep", [None, 0])
def test_each_end_gives_the_slot_to_the_next(bench, trigger, keep):
    bench.claim(*push(bench, "a", "b"), rules=ONE)
    delay = 1000.0 if trigger is Trigger.RETRY else 0.0
    end(bench, "a", trigger, keep=keep, delay=delay)
    assert (bench.queue(), bench.slotted()) == (["b"], {})


@pytest.mark.parametrize("trigger", [Trigger.RELEASE, Trigger.ROLL_BACK])
def test_a_task_that_is_handed_back_keeps_its_turn(bench, trigger):
    bench.claim(*push(bench, "a", "b"), rules=ONE)
    end(bench, "a", trigger)
    assert (bench.queue(), bench.line("group:g")) == (["a"], ["b"])
    assert words(next_up(bench, rules=ONE)) == [OK]


def test_a_stop_that_takes_the_place_of_a_hand_back_wakes_the_next(bench):
    bench.claim(*push(bench, "a", "b"), rules=ONE)
    bench.store.control(Command.STOP, ["a"])
    end(bench, "a", Trigger.RELEASE)
    assert (bench.hash("a")["state"], bench.queue()) == (STOPPED, ["b"])


def test_the_slot_of_a_dead_worker_is_free_with_the_expiry_and_not_earlier(bench):
    (a, _) = push(bench, "a", "b")
    bench.claim(a, bench.ref("b"), rules=ONE)
    assert bench.store.expire([bench.expiry(RunRef("a", "other:1"))]) != [OK]
    assert (bench.line("group:g"), bench.slots("group:g")) == (["b"], {"a"})
    assert bench.store.expire([bench.expiry(a, poison=False)]) == [OK]
    assert (bench.queue()[-1], bench.slots("group:g")) == ("b", set())
    answers = next_up(bench, 2, rules=ONE)
    assert words(answers) == [OK, WAITING]
    assert (bench.hash("b")["state"], bench.line("group:g")) == (RUNNING, ["a"])


def test_a_reload_keeps_the_slot(bench):
    (a, _) = push(bench, "a", "b")
    bench.claim(a, bench.ref("b"), rules=ONE)
    new = bench.ref("a")
    assert bench.store.reload(a, new, "w", 100).won
    assert bench.slots("group:g") == {"a"}
    assert bench.store.commit([ended(new)]) == [OK]
    assert bench.queue() == ["b"]


def test_a_repeated_call_changes_nothing(bench):
    refs = push(bench, "a", "b")
    bench.claim(*refs, rules=ONE)
    again = bench.claim(*refs, rules=ONE)
    assert words(again) == [Verdict.ALREADY, Verdict.MOVED]
    change = ended(refs[0])
    bench.store.commit([change])
    assert bench.store.commit([change]) == [Verdict.ALREADY]
    assert (bench.queue(), bench.line("group:g")) == (["b"], [])


def test_a_finished_task_that_waits_for_a_slot_is_wait(bench):
    ref = bench.running("b", group="g")
    bench.store.commit([ended(ref, Trigger.FAIL)])
    bench.claim(*push(bench, "a"), rules=ONE)
    bench.lpush("b")
    assert words(next_up(bench, rules=ONE)) == [WAITING]
    bench.assert_at_rest("b", WAIT)
    assert bench.line("group:g") == ["b"]


def test_what_waits_longer_is_first(bench):
    bench.claim(*push(bench, *"abcd"), rules=ONE)
    bench.claim(*push(bench, *"ef"), rules=ONE)
    order = []
    for _ in range(6):
        order += bench.slots("group:g")
        end(bench, order[-1])
        if bench.queue():
            next_up(bench, rules=ONE)
    assert order == list("abcdef")


def test_a_fresh_one_does_not_take_the_slot_that_another_was_woken_for(bench):
    bench.claim(*push(bench, "a", "b", "c"), rules=ONE)
    end(bench, "a")
    late = push(bench, "d")  # of another worker, which does not look at the tail
    assert words(bench.claim(*late, rules=ONE)) == [WAITING]
    assert bench.line("group:g") == ["c", "d"]
    # The last one that was woken has nobody behind it: it may be overtaken, and is then the first one again.
    end_order = []
    for task_id in "bcd":
        next_up(bench, rules=ONE)
        end(bench, task_id)
        end_order.append(task_id)
    assert end_order == ["b", "c", "d"]
    bench.claim(*push(bench, "e", "f"), rules=ONE)
    end(bench, "e")
    assert bench.queue() == ["f"]
    assert words(bench.claim(*push(bench, "x"), rules=ONE)) == [OK]
    bench.claim(*push(bench, "y"), rules=ONE)
    assert words(next_up(bench, rules=ONE)) == [WAITING]
    assert bench.line("group:g") == ["f", "y"]


# -- where the id is ----------------------------------------------------------------------------------------


def test_stop_takes_it_out_of_the_waiting_list(bench):
    bench.claim(*push(bench, "a", "b", "c"), rules=ONE)
    assert bench.store.control(Command.STOP, ["b"]) == [OK]
    assert (bench.hash("b")["state"], bench.line("group:g")) == (STOPPED, ["c"])
    assert bench.store.control(Command.START, ["c"]) == [Verdict.STATE]
    assert bench.line("group:g") == ["c"]


def test_a_stop_of_the_one_that_got_its_turn_passes_the_turn_on(bench):
    bench.claim(*push(bench, "a", "b", "c"), rules=ONE)
    end(bench, "a")
    assert bench.queue() == ["b"]
    bench.store.control(Command.STOP, ["b"])
    assert (bench.queue(), bench.line("group:g")) == (["c"], [])


def test_an_adoption_takes_slots_and_leaves_the_list(bench):
    bench.claim(*push(bench, "a", "b"), rules=ONE)
    assert bench.store.adopt([Adoption("b", "s:9", 5)], "w") == [OK]
    assert (bench.slots("group:g"), bench.line("group:g")) == ({"a", "b"}, [])


def test_an_adoption_brings_the_group_that_a_lost_claim_had_found_in_the_data(bench):
    bench.push("a")  # as a failover left it: no field `group`
    assert bench.store.adopt([Adoption("a", "s:9", 5, group="g")], "w") == [OK]
    assert (bench.slots("group:g"), bench.hash("a")["group"]) == ({"a"}, "g")
    assert words(bench.claim(*push(bench, "b"), rules=ONE)) == [WAITING]
    assert bench.line("group:g") == ["b"]


def test_a_renewal_that_registers_a_run_again_takes_its_slot(bench):
    (a,) = push(bench, "a")
    bench.claim(a, rules=ONE)
    bench.drop("runs")
    bench.drop_slots()
    assert bench.store.renew([a]) == {}
    assert bench.slots("group:g") == {"a"}


def test_a_claim_that_finds_a_run_that_the_registry_lost_takes_its_slot(bench):
    (a,) = push(bench, "a")
    bench.claim(a, rules=ONE)
    bench.drop("runs")
    bench.drop_slots()
    bench.lpush("a")
    assert words(bench.claim(bench.ref("a"), rules=ONE)) == [Verdict.DUPLICATE]
    assert bench.slots("group:g") == {"a"}


def test_the_slow_sweep_gives_and_frees_slots(bench):
    (a,) = push(bench, "a")
    bench.claim(a)
    bench.drop_slots()
    bench.take_slot("group:g", "gone")
    bench.store.repair(0, 90)
    assert (bench.slots("group:g"), bench.slotted()) == ({"a"}, {"a": "1:g"})


def test_a_task_of_a_deleted_list_is_put_back(bench):
    bench.write("a", function="f", state=WAIT, group="g", last_update="1")
    bench.write("b", function="f", state=WAIT, group="g", last_update="1")
    bench.line_up("group:g", "b")
    bench.store.repair(0, 90)
    assert (bench.queue(), bench.line("group:g")) == (["a"], ["b"])


def test_one_that_waits_no_more_only_leaves(bench):
    bench.claim(*push(bench, *"abcde"), rules=ONE)
    bench.delete("b")
    bench.write("c", state=STOPPED)
    bench.write("d", group="h")
    end(bench, "a")
    assert (bench.queue(), bench.line("group:g")) == (["e"], [])


def test_a_task_before_its_time_passes_the_turn_on(bench):
    bench.claim(*push(bench, *"abc"), rules=ONE)
    bench.write("b", not_before="9999999999")
    end(bench, "a")
    assert words(next_up(bench, rules=ONE)) == [DELAYED]
    assert (bench.queue(), bench.line("group:g")) == (["c"], [])


def test_an_unknown_function_passes_the_turn_on(bench):
    bench.claim(*push(bench, *"abc"), rules=ONE)
    bench.write("b", function="g")
    end(bench, "a")
    assert words(next_up(bench, rules=ONE)) == [Verdict.UNKNOWN]
    assert sorted(bench.queue()) == ["b", "c"]


# -- a function ---------------------------------------------------------------------------------------------


def counted(bench, rules=SINGLE):
    """The slots of f are kept from now on."""
    bench.push("first")
    assert words(bench.claim(bench.ref("first"), rules=rules)) == [WAITING]
    assert bench.store.due().lines
    assert bench.store.serve(rules) is False
    assert words(next_up(bench, rules=rules)) == [OK]


@pytest.mark.wire
def test_a_function_has_as_many_runs_as_its_limit(bench):
    counted(bench)
    bench.push("b")
    bench.push("c")
    assert words(next_up(bench, 2, rules=SINGLE)) == [WAITING, WAITING]
    assert (bench.slots("function:f"), bench.slotted()) == ({"first"}, {"first": "0:f"})
    end(bench, "first")
    assert (bench.queue(), bench.line("function:f")) == (["b"], ["c"])


def test_a_run_whose_hash_was_made_anew_keeps_its_slots_until_it_is_over(bench):
    (ref,) = push(bench, "a")
    assert words(bench.claim(ref)) == [OK]
    bench.delete("a")
    bench.push("a")  # without its group
    bench.set_limit("function:f", 1)
    push(bench, "b", group="")
    next_up(bench, 2)
    bench.store.serve({})  # counts the runs of the function
    assert bench.slotted()["a"] == "1:gf"
    bench.store.expire([bench.expiry(ref)])
    assert bench.slots("group:g") == set()
    assert "a" not in bench.slots("function:f")


def test_a_limit_that_is_set_live_counts_the_runs_there_are_before_the_next_begins(bench):
    for task_id in "ab":
        bench.running(task_id)
    bench.running("x", function="f", group="g")
    bench.set_limit("function:f", 3)
    bench.push("c")
    (answer,) = next_up(bench)
    assert (answer.verdict, answer.delay) == (WAITING, 0.0)  # somebody should look now
    assert bench.store.serve({}) is False
    assert bench.slots("function:f") == {"a", "b", "x"}
    assert bench.slotted() == {"a": "0:f", "b": "0:f", "x": "1:gf"}
    assert bench.queue() == []
    end(bench, "x")
    assert (bench.queue(), bench.slots("group:g")) == (["c"], set())
    assert words(next_up(bench)) == [OK]
    bench.push("d")
    (answer,) = next_up(bench)
    assert (answer.verdict, answer.delay) == (WAITING, -1.0)


def test_slots_that_are_kept_are_kept_by_workers_without_the_limit_too(bench):
    counted(bench)
    bench.push("b")
    assert words(next_up(bench)) == [OK]
    assert bench.slots("function:f") == {"first", "b"}


def test_one_that_meets_another_limit_passes_the_turn_on(bench):
    rules = {"f": Rule(group_limit=1, limit=2)}
    counted(bench, rules)
    bench.claim(*push(bench, "a", "b"), rules=rules)
    bench.claim(*push(bench, "c", group="h"), rules=rules)
    assert (bench.line("group:g"), bench.line("function:f")) == (["b"], ["c"])
    bench.push("x", function="k", group="h")
    end(bench, "a")  # frees a slot of g and one of f: b and c get their turn
    assert sorted(bench.queue()) == ["b", "c", "x"]
    answers = bench.claim(*map(bench.ref, "bcx"), rules=rules, functions=("f", "k"))
    assert sorted(words(answers)) == [OK, OK, WAITING]


def test_a_run_that_is_put_back_after_a_failover_passes_its_turn_on(bench):
    """The new server has the queue of before its claim: the others of the group would follow it for ever."""
    start_many(bench, "g", "a", "b")
    assert (bench.queue(), bench.runners()) == (["a"], {"g": "a"})
    assert bench.store.adopt([Adoption("a", "s:9", 5)], "w") == [OK]
    assert (bench.queue(), bench.runners()) == (["b"], {"g": "b"})
    assert bench.store.adopt([Adoption("b", "s:8", 5)], "w") == [OK]
    assert (bench.queue(), bench.runners()) == ([], {})


@pytest.mark.parametrize("word", [Command.STOP, Command.PAUSE])
def test_the_turn_of_a_task_that_was_handed_back_ends_with_its_place_in_the_queue(bench, word):
    (ref,) = push(bench, "a")
    bench.claim(ref, rules=ONE)
    end(bench, "a", Trigger.RELEASE)
    assert bench.woken().keys() == {"a"}
    bench.store.control(word, ["a"])
    assert (bench.queue(), bench.woken()) == ([], {})


# -- fairness -----------------------------------------------------------------------------------------------


def start_many(bench, group, *ids):
    """As `Client.start_many` does."""
    if hasattr(bench, "state"):
        pytest.skip("a client needs a server")
    from pytask.client.batches import Batch, Start, script

    class Space:
        keys = (bench.keys,)

    batch = Batch(0, "f", check=False, later=True)
    for task_id in ids:
        batch.add(task_id, b"{}", Start(group=group))
    call = script(Space, batch)
    assert bench.raw.execute_command(*call.command(whole=True)) == []


def test_groups_that_clients_start_take_turns(bench):
    start_many(bench, "a", *[f"a{n}" for n in range(50)])
    start_many(bench, "b", *[f"b{n}" for n in range(3)])
    start_many(bench, "a", "a50")
    bench.push("plain")
    assert bench.queue() == ["plain", "b0", "a0"]
    assert bench.line("group:a")[-1] == "a50"
    order = []
    while bench.queue():
        (claim,) = next_up(bench)
        order.append(claim.id)
    assert order[:8] == ["a0", "b0", "plain", "a1", "b1", "a2", "b2", "a3"]
    assert order[8:] == [f"a{n}" for n in range(4, 51)]
    assert (bench.runners(), bench.line("group:a")) == ({}, [])


def test_groups_with_limits_take_turns(bench):
    start_many(bench, "a", *[f"a{n}" for n in range(5)])
    start_many(bench, "b", *[f"b{n}" for n in range(2)])
    assert words(next_up(bench, 2, rules=ONE)) == [OK, OK]
    assert (bench.queue(), bench.runners()) == ([], {})
    end(bench, "a0")
    end(bench, "b0")
    assert bench.queue() == ["b1", "a1"]
    assert words(next_up(bench, 2, rules=TWO)) == [OK, OK]
    assert bench.queue() == []


def test_a_lost_runner_is_replaced_by_a_look(bench):
    start_many(bench, "a", "a0", "a1", "a2")
    bench.drop("queue")
    bench.look_again()
    assert bench.store.due().lines
    bench.store.serve({})
    assert bench.queue() == ["a1"]
    bench.look_again()
    bench.store.serve({})
    assert (bench.queue(), bench.line("group:a")) == (["a1"], ["a2"])
    assert bench.store.due().lines is False


# -- the look -----------------------------------------------------------------------------------------------


def test_a_limit_that_was_raised_is_noticed_by_a_look(bench):
    bench.claim(*push(bench, *"abcd"), rules=ONE)
    bench.set_limit("group:g", 3)
    bench.look_again()
    bench.store.serve(ONE)
    assert bench.queue() == ["b"]
    started = words(next_up(bench, rules=ONE)) + words(next_up(bench, rules=ONE))
    assert started == [OK, OK]
    assert (bench.queue(), bench.line("group:g"), bench.slots("group:g")) == ([], ["d"], {"a", "b", "c"})


def test_a_clock_that_is_set_back_keeps_no_look_away(bench):
    """The last look was by the clock before: two hours ahead."""
    bench.claim(*push(bench, *"ab"), rules=ONE)
    bench.set_limit("group:g", 2)
    bench.store.serve(ONE)
    bench.look_again(bench.now() // 1_000_000 + 7200)
    assert bench.store.due().lines
    bench.store.serve(ONE)
    assert (bench.queue(), bench.store.due().lines) == (["b"], False)


def test_a_look_frees_a_slot_without_a_run(bench):
    bench.take_slot("group:g", "gone")
    bench.claim(*push(bench, "a"), rules=ONE)
    assert bench.line("group:g") == ["a"]
    bench.look_again()
    bench.store.serve(ONE)
    assert (bench.queue(), bench.slots("group:g"), bench.slotted()) == (["a"], set(), {})


def test_a_look_at_what_is_full_does_nothing(bench):
    bench.claim(*push(bench, "a", "b"), rules=ONE)
    bench.look_again()
    bench.store.serve(ONE)
    assert (bench.queue(), bench.line("group:g")) == ([], ["b"])
    assert bench.store.due().lines is False
    end(bench, "a")
    bench.look_again()
    bench.store.serve(ONE)
    assert bench.groups() == set()


# -- what is no group ---------------------------------------------------------------------------------------


def test_a_group_that_cannot_be_used_starts_the_run_that_fails_for_it(bench):
    for task_id, group in {"long": "x" * 257, "good": "ü" * 128}.items():
        bench.push(task_id, group=group)
    long, good = bench.claim(bench.ref("long"), bench.ref("good"), rules=ONE)
    assert (long.verdict, long.fields.group_fault) == (OK, "long 257")
    assert good.fields == StartFields(group="ü" * 128)
    assert bench.slots("group:" + "ü" * 128) == {"good"}
    assert LONGEST_GROUP == 256


@pytest.mark.parametrize(
    "raw", [b"\xff", b"a\xc3", b"\xc0\x80", b"\xed\xa0\x80", b"\xf4\x90\x80\x80", b"\xe0\x80\x80", b"\x80"]
)
def test_a_group_must_be_text(bench, raw):
    bench.push("a", group=raw)
    bench.push("b", group="größe €𝄞")
    a, b = bench.claim(bench.ref("a"), bench.ref("b"), rules=ONE)
    assert (a.fields.group_fault, b.fields.group_fault, bench.slotted().keys()) == ("bytes", "", {"b"})


@pytest.mark.parametrize(
    ("data", "group"),
    [
        ('{"api":{"tenant":"acme"}}', "acme"),
        ('{"api":{"tenant":17}}', "17"),
        ('{"api":{"tenant":17.0}}', "17"),
        ('{"api":{"tenant":null}}', None),
        ('{"api":{}}', None),
        ('{"api":[]}', None),
        ("{}", None),
        ("[1", None),
        ('{"api":{"tenant":""}}', None),
    ],
)
def test_the_group_may_be_in_the_data(bench, data, group):
    rules = {"f": Rule(group_limit=1, path=("api", "tenant"))}
    bench.push("a", data=data)
    (claim,) = bench.claim(bench.ref("a"), rules=rules)
    assert claim.fields == (StartFields(group=group) if group else None)
    assert bench.hash("a").get("group") == group
    assert bench.slots(f"group:{group}") == ({"a"} if group else set())


@pytest.mark.parametrize("value", ['{"x":1}', "[]", "true", "1.5", "1e300"])
def test_a_group_in_the_data_must_be_a_text_or_a_whole_number(bench, value):
    bench.push("a", data='{"t":' + value + "}")
    (claim,) = bench.claim(bench.ref("a"), rules={"f": Rule(path=("t",))})
    assert (claim.verdict, claim.fields.group_fault) == (OK, "data")
    assert "group" not in bench.hash("a")


def test_the_field_comes_before_the_data_and_large_data_is_not_read(bench):
    rules = {"f": Rule(path=("t",))}
    bench.push("a", data='{"t":"x"}', group="g")
    bench.push("b", data='{"t":"' + "x" * 1024 * 1024 + '"}')
    a, b = bench.claim(bench.ref("a"), bench.ref("b"), rules=rules)
    assert (a.fields.group, bench.hash("a")["group"], b.fields.group_fault) == ("g", "g", "large")


# -- the rate -----------------------------------------------------------------------------------------------


def test_a_rate_lets_so_many_start_and_puts_off_the_others_each_to_a_time_of_its_own(bench):
    rules = {"f": Rule(rate=(2, 20.0))}
    for task_id in "abcd":
        bench.push(task_id)
    answers = bench.claim(*map(bench.ref, "abcd"), rules=rules)
    assert words(answers) == [OK, OK, DELAYED, DELAYED]
    assert [round(one.delay) for one in answers[2:]] == [10, 20]
    assert (bench.hash("c")["state"], bench.timers().keys()) == (WAIT, {"c", "d"})
    # Nobody overtakes those who wait; a start by hand brings none forward.
    bench.push("e")
    (claim,) = bench.claim(bench.ref("e"), rules=rules)
    assert round(claim.delay) == 30
    bench.store.control(Command.START, ["c"])
    (claim,) = bench.claim(bench.ref("c"), rules=rules)
    assert (claim.verdict, round(claim.delay)) == (DELAYED, 10)


def test_a_turn_that_has_come_is_taken_and_one_that_nobody_takes_is_free(bench):
    rules = {"f": Rule(rate=(1, 1000.0))}
    for task_id in "abc":
        bench.push(task_id)
    bench.claim(*map(bench.ref, "abc"), rules=rules)
    now = bench.now()
    bench.set_arrival("f", now - 5)
    bench.set_rated("f", "b", now - 1)
    bench.lpush("b")
    assert words(bench.claim(bench.ref("b"), rules=rules)) == [OK]
    assert bench.rated("f").keys() == {"c"}
    # c was stopped: its turn is the next one's.
    bench.store.control(Command.STOP, ["c"])
    bench.push("d")
    (claim,) = bench.claim(bench.ref("d"), rules=rules)
    assert (claim.verdict, round(claim.delay)) == (DELAYED, 1000)
    assert bench.rated("f").keys() == {"d"}


def test_a_clock_that_was_ahead_closes_no_rate(bench):
    rules = {"f": Rule(rate=(1, 10.0))}
    for task_id in "abc":
        bench.push(task_id)
    bench.claim(*map(bench.ref, "abc"), rules=rules)
    ahead = bench.now() + 3_600_000_000
    bench.set_arrival("f", ahead)
    bench.set_rated("f", "b", ahead)
    bench.set_rated("f", "c", ahead + 10_000_000)
    bench.store.control(Command.START, ["b", "c"])
    first, second = bench.claim(bench.ref("b"), bench.ref("c"), rules=rules)
    assert [first.verdict, second.verdict] == [DELAYED, DELAYED]
    assert [round(first.delay), round(second.delay)] == [10, 20]


def test_a_start_that_a_clock_ahead_has_put_off_is_put_off_once(bench):
    """Not again each time that it is looked at, until the clock has caught up."""
    rules = {"f": Rule(rate=(1, 0.05))}
    bench.push("a")
    bench.set_arrival("f", bench.now() + 3_600_000_000)
    (first,) = bench.claim(bench.ref("a"), rules=rules)
    assert first.verdict is DELAYED
    while bench.now() < bench.timers()["a"] * 1000:
        pass
    bench.store.control(Command.START, ["a"])
    assert words(bench.claim(bench.ref("a"), rules=rules)) == [OK]


# -- at random ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("seed", range(6))
def test_never_more_runs_than_the_limit_and_all_run(bench, seed):
    rng = random.Random(seed)
    rules = {"f": Rule(group_limit=rng.choice([1, 2, None]), limit=rng.choice([3, None]))}
    ids = [f"t{n}" for n in range(30)]
    groups = {i: rng.choice("gh") for i in ids}
    left, done = list(ids), set()
    for _ in range(4000):
        act = rng.random()
        if left and act < 0.25:
            task_id = left.pop()
            bench.push(task_id, group=groups[task_id])
        elif act < 0.5:
            next_up(bench, rng.choice([1, 2, 5]), rules=rules)
        elif act < 0.8 and bench.runs():
            task_id = rng.choice(sorted(bench.runs()))
            trigger = rng.choice([Trigger.END, Trigger.END, Trigger.FAIL, Trigger.RELEASE])
            ref = RunRef(task_id, bench.runs()[task_id])
            if rng.random() < 0.2:
                bench.store.expire([bench.expiry(ref)])
            else:
                bench.store.commit([Change(task_id, ref.run, X, trigger)])
                done |= {task_id} if trigger in (Trigger.END, Trigger.FAIL) else set()
        elif bench.store.due().lines or rng.random() < 0.05:
            bench.look_again()
            bench.store.serve(rules)
        live = bench.runs()
        for group in "gh":
            mine = {i for i in live if groups[i] == group}
            assert bench.slots(f"group:{group}") == mine
            assert len(mine) <= (rules["f"].group_limit or 99)
        assert len(live) <= (rules["f"].limit or 99)
        if len(done) == len(ids):
            break
    assert done == set(ids)
    assert (bench.slotted(), bench.queue(), bench.line("group:g")) == ({}, [], [])


# -- a loss of data -----------------------------------------------------------------------------------------


@pytest.mark.wire
def test_a_task_that_is_restored_is_in_its_group_again(bench):
    answers = bench.claim(*push(bench, "a", "b", "c", restart="always", scheduled="{}", restarts="2"))
    fields = StartFields(group="g", restart="always", scheduled=b"{}", restarts=2)
    assert [answer.fields for answer in answers] == [fields] * 3
    bench.clear()
    for answer in answers:
        assert bench.store.restore(answer.id, "f", b"{}", fields=answer.fields) is OK
    found = bench.hash("a")
    assert {name: found[name] for name in ("group", "restart", "scheduled", "restarts")} == {
        "group": "g", "restart": "always", "scheduled": "{}", "restarts": "2",
    }  # fmt: skip
    again = [bench.ref(task_id, "later") for task_id in "abc"]
    found = bench.claim(*again, rules=ONE)
    assert (words(found), found[0].fields) == ([OK, WAITING, WAITING], fields)
    assert (bench.slots("group:g"), bench.line("group:g")) == ({"a"}, ["b", "c"])


@pytest.mark.wire
def test_a_claim_answers_with_the_group_also_where_its_data_names_it(bench):
    bench.push("a", data='{"tenant": "t"}')
    bench.push("b", group="x" * (LONGEST_GROUP + 1))
    bench.push("c", group="")
    rules = {"f": Rule(path=("tenant",))}
    refs = [bench.ref(task_id) for task_id in "abc"]
    expected = [StartFields(group="t"), StartFields(group_fault=f"long {LONGEST_GROUP + 1}"), None]
    assert [answer.fields for answer in bench.claim(*refs, rules=rules)] == expected
    assert [answer.fields for answer in bench.claim(*refs, rules=rules)] == expected  # its reply was lost
