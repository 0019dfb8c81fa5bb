"""Generates the reference of the errors from the program: `python docs/make_errors.py > docs/errors.md`."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

HEAD = """\
# Errors

Generated from the program: `python docs/make_errors.py > docs/errors.md`. A test checks that it is up to
date, and that each test in the last column exists and covers the code.

An error has a stable code and a message that says what happened, where, why, and how to fix it.
`pytask explain CODE` prints the texts below. The column "Seen as" shows the exit code of a command, "doctor"
for findings of `pytask doctor` (exit code 3 if a fix is needed), "log" for log lines of a worker, and "field"
for the `error` of a task. The tests provoke the error in a real deployment and apply the printed fix.
"""

# Where each is provoked and fixed: a file of tests/integration without `test_`, or another path; and the
# test.
PROOFS: dict[str, str] = {
    "PT010": "mistakes::test_a_process_that_is_not_patched",
    "PT011": "tests/unit/runtime/test_patched.py::test_a_patch_that_cannot_be",
    "PT012": "patching::test_an_agent_that_imports_before_the_patch_is_named",
    "PT013": "patching::test_modules_imported_before_a_late_patch_are_named",
    "PT014": "blocking::test_what_belongs_to_the_loop_says_so",
    "PT020": "fixes::test_a_setting_that_cannot_be_and_where_it_came_from",
    "PT021": "mistakes::test_a_task_class_that_cannot_be_one",
    "PT022": "fixes::test_a_name_that_no_class_has",
    "PT023": "mistakes_live::test_a_wrong_target_and_the_one_that_is_proposed",
    "PT024": "doctor::test_a_client_library_that_is_too_old",
    "PT025": "doctor::test_the_other_project_of_our_name",
    "PT026": "fixes::test_a_module_that_raises",
    "PT027": "tests/unit/adapters/test_server_checks.py::test_an_old_redis_is_refused_with_the_fix",
    "PT028": "tests/unit/cli/test_config.py::test_a_broken_file_is_reported_and_the_fix_fixes_it",
    "PT030": "mistakes::test_data_that_is_no_json_points_at_the_byte",
    "PT040": "tests/integration/control/test_bulk.py::test_failed_tasks_go_back_to_the_queue",
    "PT041": "mistakes_live::test_a_task_that_holds_the_loop_and_both_ways_out",
    "PT042": "mistakes_live::test_a_stop_that_hangs_and_one_that_only_asks",
    "PT043": "mistakes::test_an_unknown_control_word",
    "PT044": "tests/unit/domain/test_task.py::test_a_task_that_no_worker_runs_says_so",
    "PT045": "threads::test_the_thread_that_keeps_a_task_from_ending_is_named",
    "PT046": "tests/unit/runtime/test_blocking_libraries.py"
    "::test_an_imported_one_is_named_once_with_what_helps",
    "PT047": "tests/unit/runtime/test_native_threads.py"
    "::test_who_waits_for_long_and_who_has_the_threads_is_said",
    "PT048": "blocking::test_a_function_that_never_returns_keeps_neither_a_stop_nor_the_exit",
    "PT049": "reload::test_a_reload_with_data_that_does_not_fit_and_its_fix",
    "PT051": "mistakes_live::test_the_countdown_while_redis_is_lost",
    "PT052": "mistakes::test_a_full_server",
    "PT053": "mistakes::test_a_missing_password",
    "PT054": "mistakes::test_the_queue_is_no_list",
    "PT055": "tests/contract/test_failover.py::test_a_claim_meant_for_another_server_does_nothing",
    "PT060": "fixes::test_no_server_to_start_and_one_that_does_not_come_up",
    "PT061": "fixes::test_no_server_to_start_and_one_that_does_not_come_up",
    "PT070": "fixes::test_a_user_that_may_not_look_at_the_server",
    "PT071": "fixes::test_a_user_that_may_not_look_at_the_server",
    "PT072": "doctor::test_a_replica_and_its_primary",
    "PT073": "fixes::test_a_primary_that_can_lose_what_it_acknowledged",
    "PT074": "fixes::test_a_primary_that_can_lose_what_it_acknowledged",
    "PT075": "doctor::test_a_server_that_evicts_and_keeps_nothing_on_disk",
    "PT076": "doctor::test_a_server_that_evicts_and_keeps_nothing_on_disk",
    "PT077": "console::test_settings_of_the_server_and_their_fixes",
    "PT078": "fixes::test_a_server_that_takes_less_than_a_task_may_bring",
    "PT080": "fixes::test_an_id_that_is_none_and_one_that_may_be_several",
    "PT081": "fixes::test_an_id_that_is_none_and_one_that_may_be_several",
    "PT082": "fixes::test_what_takes_too_long_and_an_unhealthy_machine",
    "PT083": "fixes::test_what_takes_too_long_and_an_unhealthy_machine",
    "PT084": "fixes::test_an_id_that_is_taken",
    "PT085": "fixes::test_what_takes_too_long_and_an_unhealthy_machine",
    "PT086": "doctor::test_runs_of_a_dead_worker_and_a_control_that_nobody_received",
    "PT087": "fixes::test_a_cursor_of_another_list",
    "PT088": "tests/integration/control/test_control.py"
    "::test_reload_of_what_does_not_run_fails_and_names_what_does_it",
    "PT090": "doctor::test_a_clock_that_is_off",
    "PT091": "doctor::test_runs_of_a_dead_worker_and_a_control_that_nobody_received",
    "PT092": "mistakes::test_an_unknown_function_is_kept_and_the_near_one_named",
    "PT093": "doctor::test_no_monitor_and_a_task_that_nobody_takes",
    "PT094": "doctor::test_a_worker_of_another_release",
    "PT095": "mistakes::test_an_id_pushed_without_a_hash",
    "PT096": "doctor::test_no_monitor_and_a_task_that_nobody_takes",
    "PT097": "story::test_a_killed_worker_is_marked_and_the_doctor_says_what_becomes_of_its_runs",
    "PT120": "kernel_timer::test_a_script_of_its_own_as_pid_1",
    "PT123": "leaving::test_a_task_that_handles_signals_does_not_keep_the_worker",
    "PT124": "hangup::test_a_file_that_does_not_import_leaves_all_as_it_was",
    "PT125": "leaving::test_what_hangs_at_the_exit_is_cut_short_and_shown",
    "PT129": "doctor::test_a_dead_run_of_which_no_registry_and_no_lease_tells",
    "PT132": "size_limit::test_an_end_that_the_server_never_takes_is_an_error_and_others_go_on",
    "PT133": "size_limit::test_a_task_whose_data_never_comes_is_an_error_and_others_go_on",
    "PT134": "tests/contract/client/test_start.py"
    "::test_of_many_only_what_the_server_never_takes_is_not_queued",
    "PT135": "hung_sentinel::test_a_worker_starts_and_comes_back_with_a_log_line",
    "PT137": "leaving::test_run_returns_in_a_program_of_ones_own_and_names_what_is_left",
    "PT145": "shared_redis::test_a_write_whose_reply_was_lost_says_so_and_is_done_once",
    "PT146": "doctor::test_a_worker_with_few_files_and_a_server_with_few_connections",
    "PT147": "shared_redis::test_a_long_wait_is_reported_once",
    "PT148": "doctor::test_a_worker_with_few_files_and_a_server_with_few_connections",
    "PT138": "databases::test_a_second_db_number_is_refused_until_it_has_a_namespace",
    "PT139": "fixes::test_a_user_that_may_not_look_at_the_server",
    "PT142": "console::test_failed_tasks_are_reported_and_do_not_make_it_unhealthy",
    "PT140": "tests/unit/adapters/test_folders.py::test_a_folder_that_others_may_write_to_is_refused",
    "PT141": "tests/integration/control/test_control.py::test_a_start_that_ends_in_error_is_not_done",
    "PT144": "debugger::test_a_breakpoint_at_a_terminal_is_not_ended_by_the_kernel_timer",
    "PT143": "console::test_a_place_where_nothing_is_names_one_where_something_is",
    "PT149": "logs::test_output_and_errors_of_threads_are_in_the_log_of_the_task",
    "PT163": "restarts::test_a_give_up_is_seen_and_a_start_begins_again",
    "PT164": "reload::test_a_run_that_fails_soon_after_its_reload_is_rolled_back",
    "PT165": "reload::test_a_task_that_does_not_take_the_data_goes_on_with_its_own",
    "PT150": "busy::test_a_polite_spinner_is_named_by_doctor_and_by_a_signal",
    "PT151": "save::test_a_value_that_cannot_be_kept_raises_in_the_task",
    "PT152": "save::test_a_saved_value_that_is_no_json_is_an_error_with_its_fix",
    "PT153": "pause_client::test_doctor_names_a_paused_function_for_which_tasks_wait",
    "PT154": "pause_client::test_doctor_names_a_worker_that_knows_no_pauses",
    "PT155": "schedules::test_a_bad_schedule_is_reported_with_its_fix",
    "PT156": "schedules::test_no_such_schedule",
    "PT157": "schedules::test_a_schedule_that_vanished_from_all_code",
    "PT158": "schedules::test_a_schedule_of_an_unknown_function",
    "PT159": "schedules::test_which_time_zone_data_is_read",
    "PT160": "schedules::test_a_time_that_is_too_late",
    "PT161": "schedules::test_an_overdue_schedule",
    "PT184": "proof::test_doctor_names_a_worker_without_a_lock",
    "PT167": "doctor::test_a_worker_of_an_older_wire_protocol",
    "PT168": "doctor::test_a_delayed_task_that_nobody_moves",
    "PT170": "limits::test_doctor_names_a_limit_that_is_no_number",
    "PT171": "limits::test_doctor_names_slots_without_runs",
    "PT172": "limits::test_doctor_names_more_runs_than_the_limit",
    "PT173": "limits::test_doctor_names_a_worker_that_knows_no_limits",
    "PT175": "schedules::test_a_schedule_that_two_programs_define_differently",
    "PT176": "limits::test_doctor_names_an_entry_that_limits_nothing",
    "PT177": "limits::test_doctor_names_a_limit_of_a_function_that_no_worker_knows",
    "PT178": "limits::test_doctor_says_that_each_partition_has_a_limit_for_itself",
    "PT179": "tests/unit/runtime/test_executor.py"
    "::test_a_stop_that_ends_nothing_costs_the_grace_and_that_is_said_once_per_class",
    "PT195": "web::test_a_missing_package_is_named_with_the_extra",
    "PT196": "web::test_other_machines_reach_it_with_a_login_only",
    "PT197": "web::test_a_broken_file_of_users_and_its_fix",
    "PT198": "tests/unit/web/test_guard.py::test_the_process_of_a_worker_is_refused_with_the_fix",
    "PT206": "metrics::test_an_address_in_use_ends_no_worker_and_is_tried_again",
    "PT190": "tests/unit/domain/test_failover.py::test_what_is_too_short_too_long_or_no_number_is_refused",
    "PT215": "tests/unit/runtime/test_aio.py::test_programs_signals_and_loops_within_say_what_to_do_instead",
    "PT217": "tests/unit/runtime/test_lag_watch.py"
    "::test_a_coroutine_that_blocks_the_loop_is_named_with_its_line",
    "PT218": "tests/unit/runtime/test_lag_watch.py::test_after_a_lease_of_silence_its_runs_count_as_blocked",
    "PT216": "tests/unit/runtime/test_aio.py"
    "::test_emits_that_are_awaited_wait_for_room_and_others_are_refused",
    "PT250": "tests/django/test_backend.py::test_settings_that_a_worker_cannot_use",
    "PT251": "tests/django/test_backend.py::test_what_cannot_be_queued_is_refused_with_the_reason",
    "PT252": "tests/django/test_backend.py::test_a_stopped_task_has_failed_and_says_so",
    "PT225": "tests/unit/testing/test_memory_app.py::test_coroutines_need_real_time",
    "PT240": "data_checks::test_data_that_fits_no_worker_is_refused_before_it_is_sent",
    "PT235": "dev::test_code_that_cannot_run_leaves_the_old_one_running_until_it_is_repaired",
    "PT236": "tests/unit/dev/test_sources.py::test_what_cannot_be_watched_is_said",
}
# These have no fix of their own: bugs in pytask, and the base class of others.
WITHOUT = ("PT000", "PT001", "PT050")
LOGGED = dict.fromkeys(
    [f"PT{n:03}" for n in (13, 41, 42, 43, 46, 47, 48, 55, 123, 124, 125, 135, 137, 147, 149, 217, 218)],
    "log",
)
LOGGED |= {
    "PT045": "log, why",
    "PT052": "1, log, doctor",
    "PT055": "log, doctor",
    "PT049": "log, why",
    "PT095": "log, doctor",
    "PT132": "log, field",
    "PT133": "log, field",
    "PT163": "log, field",
    "PT164": "log, why",
    "PT165": "log",
    "PT184": "log, doctor",
    "PT206": "log",
    "PT235": "log",
}
FIELDS = {
    "PT030": "field",
    "PT040": "field",
    "PT151": "field",
    "PT152": "field",
    "PT215": "field",
    "PT216": "field",
    "PT251": "field",
    "PT252": "field",
}


def proof(code: str) -> tuple[str, str]:
    """The file, from the root of the project, and the name of the test."""
    place, _, name = PROOFS[code].partition("::")
    return (place if "/" in place else f"tests/integration/test_{place}.py"), name


def page() -> str:
    """The whole page, as Markdown."""
    from pytask.cli.messages import explanations

    return "\n".join([HEAD, *_table(explanations()), "", *_texts(explanations())])


def _table(known: dict[str, str]) -> Iterator[str]:
    yield "| code | | seen as | test |\n| --- | --- | --- | --- |"
    for code, text in known.items():
        shown = ""
        if code in PROOFS:
            file, name = proof(code)
            shown = f"[{name}](../{file})"
        yield f"| {code} | {text.partition(chr(10))[0]} | {_seen(code)} | {shown} |"


def _seen(code: str) -> str:
    from pytask.cli.main import EXIT_CODES
    from pytask.domain import errors

    if code in LOGGED:
        return LOGGED[code]
    if code in FIELDS:
        return FIELDS[code]
    kinds = [
        kind for _, kind in inspect.getmembers(errors, inspect.isclass) if getattr(kind, "code", "") == code
    ]
    return next(
        (str(number) for kind, number in EXIT_CODES if kinds and issubclass(kinds[0], kind)), "doctor"
    )


def _texts(known: dict[str, str]) -> Iterator[str]:
    for code, text in known.items():
        title, _, body = text.partition("\n")
        yield f"## {code} {title}\n\n```\n{body}\n```\n"


if __name__ == "__main__":
    print(page(), end="")
